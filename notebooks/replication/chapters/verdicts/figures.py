"""The measured numbers beside what the claims need and what the paper prints."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from replication import style

VERDICTS = {
    "supported": {"color": style.PALETTE[0], "marker": "o"},
    "not supported": {"color": style.PALETTE[1], "marker": "X"},
    "inconclusive": {"color": style.PALETTE[3], "marker": "D"},
    "stale": {"color": style.GREY, "marker": "v"},
}
BAND: dict[str, Any] = {"color": style.PALETTE[2], "alpha": 0.25}
Row = Mapping[str, Any]


def against_paper(rows: Sequence[Row]) -> Figure:
    """Every claim on one logarithmic scale, in units of the value that the paper prints.

    Each row maps `number`, `id`, `verdict`, `printed` (above zero), `accept`, `value`, `low` and
    `high`, the last two None where missing. What lies beyond the scale is drawn at its end.
    """
    if not rows:
        return _nothing()
    figure, ax = style.new_figure(0.42 * len(rows) + 1.3)
    limits = _factors(rows)
    for place, row in enumerate(rows):
        ends = np.clip(np.divide(row["accept"], row["printed"]), *limits)
        ax.plot(ends, [place, place], lw=15, solid_capstyle="butt", **BAND)
        _draw(ax, place, row, limits, row["printed"])
    ax.axvline(1, color=style.GREY, lw=1.2, ls="--", zorder=0)
    labels = [f"{row['id']}  {row['number']}" for row in rows]
    ax.set(xscale="log", xlim=limits, ylim=(len(rows) - 0.4, -0.6), xlabel="measured / printed")
    ax.set(yticks=range(len(rows)), yticklabels=labels)
    style.plain_log(ax.xaxis)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    printed = Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="the paper's value")
    style.legend_above(figure, [*_legend(rows), printed], 3)
    return figure


def forest(rows: Sequence[Row]) -> Figure:
    """Every claim on its own scale: the measured interval against the band that supports it.

    Each row maps `number`, `id`, `where`, `verdict`, `accept`, the (low, high) of the band,
    infinite where it is open, and `value`, `low` and `high`, None where missing.
    """
    if not rows:
        return _nothing()
    figure, axes = style.new_figure(0.62 * len(rows) + 0.9, len(rows), 1, squeeze=False)
    for ax, row in zip(axes[:, 0], rows, strict=True):
        limits = _limits(row)
        if row["value"] is None:
            ax.text(0.5, 0.5, row["verdict"], transform=ax.transAxes, ha="center", va="center")
        else:
            ax.axvspan(*np.clip(row["accept"], *limits), lw=0, **BAND)
            _draw(ax, 0.0, row, limits)
        label = [f"{row['id']}  {row['number']}", *textwrap.wrap(row["where"], 28)]
        ax.set(xlim=limits, ylim=(-1, 1), yticks=[0], yticklabels=["\n".join(label)])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=2))
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=9, length=3, pad=1.5)
        ax.spines["left"].set_visible(False)
    style.legend_above(figure, _legend(rows), 4)
    return figure


def _draw(ax: Axes, place: float, row: Row, limits: tuple[float, float], unit: float = 1.0) -> None:
    """What was measured, with its interval, cut off at the limits."""
    given = {"mean": row["value"], "low": row["low"], "high": row["high"]}
    ends = {k: None if x is None else np.clip(x / unit, *limits) for k, x in given.items()}
    style.draw_estimate(ax, place, ends, upright=False, aside=0.0, look=VERDICTS[row["verdict"]])


def _legend(rows: Sequence[Row]) -> list[Line2D]:
    given = {row["verdict"] for row in rows}
    looks = [(name, look) for name, look in VERDICTS.items() if name in given]
    handles = [style.mark(look["marker"], look["color"], name) for name, look in looks]
    return [*handles, Line2D([], [], lw=9, label="supports the claim", **BAND)]


def _nothing() -> Figure:
    """What stands in the place of a figure that has no row."""
    figure, ax = style.new_figure(0.8)
    ax.set_axis_off()
    ax.text(0.5, 0.5, "nothing was measured yet", ha="center", va="center")
    return figure


def _factors(rows: Sequence[Row]) -> tuple[float, float]:
    """Limits around 1 that show every value and every finite edge, up to a factor of a thousand."""
    shown = [x / row["printed"] for row in rows for x in (row["value"], *row["accept"])]
    factors = [x for x in shown if 0 < x < np.inf]
    low, high = min([0.5, *factors]) / 1.25, max([2.0, *factors]) * 1.25
    return max(low, 1e-3), min(high, 1e3)


def _limits(row: Row) -> tuple[float, float]:
    """Limits that show the estimate and the finite ends of the band with air around them."""
    shown = [row["value"], row["low"], row["high"], *row["accept"]]
    finite = [float(value) for value in shown if value is not None and np.isfinite(value)]
    air = 0.25 * (max(finite) - min(finite)) or 0.25 * abs(finite[0]) or 1.0
    return min(finite) - air, max(finite) + air
