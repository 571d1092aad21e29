"""The measured numbers beside what the claims need."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from odenet.figures.style import GREY, PALETTE, draw_estimate, legend_above, mark, new_figure

VERDICTS = {
    "supported": {"color": PALETTE[0], "marker": "o"},
    "not supported": {"color": PALETTE[1], "marker": "X"},
    "inconclusive": {"color": PALETTE[3], "marker": "D"},
    "stale": {"color": GREY, "marker": "v"},
}


def forest(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Every claim on its own scale: the measured interval against the band that supports it.

    Each row maps `id`, `where`, `verdict`, `accept`, the (low, high) of the band, infinite where it
    is open, and `value`, `low` and `high`, None where missing.
    """
    figure, axes = new_figure(0.62 * len(rows) + 0.9, len(rows), 1, squeeze=False)
    for ax, row in zip(axes[:, 0], rows, strict=True):
        limits = _limits(row)
        if row["value"] is None:
            ax.text(0.5, 0.5, row["verdict"], transform=ax.transAxes, ha="center", va="center")
        else:
            ax.axvspan(*np.clip(row["accept"], *limits), color=PALETTE[2], alpha=0.25, lw=0)
            estimate = {**row, "mean": row["value"]}
            look = VERDICTS[row["verdict"]]
            draw_estimate(ax, 0.0, estimate, upright=False, aside=0.0, look=look)
        label = [row["id"], *textwrap.wrap(row["where"], 24)]
        ax.set(xlim=limits, ylim=(-1, 1), yticks=[0], yticklabels=["\n".join(label)])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=2))
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=9, length=3, pad=1.5)
        ax.spines["left"].set_visible(False)
    given = {row["verdict"] for row in rows}
    handles = [
        mark(look["marker"], look["color"], verdict)
        for verdict, look in VERDICTS.items()
        if verdict in given
    ]
    handles.append(Line2D([], [], color=PALETTE[2], lw=9, alpha=0.25, label="supports the claim"))
    legend_above(figure, handles, 4)
    return figure


def _limits(row: Mapping[str, Any]) -> tuple[float, float]:
    """Limits that show the estimate and the finite ends of the band with air around them."""
    shown = [row["value"], row["low"], row["high"], *row["accept"]]
    finite = [float(value) for value in shown if value is not None and np.isfinite(value)]
    air = 0.25 * (max(finite) - min(finite)) or 0.25 * abs(finite[0]) or 1.0
    return min(finite) - air, max(finite) + air
