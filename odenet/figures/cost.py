"""Figure 3: what a solve costs, and how exact it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from odenet.figures.style import GREY, legend_above, level_of, look_of, new_figure, note


def evaluations_by_epoch(epochs: Sequence[int], curves: Mapping[str, Sequence[Any]]) -> Figure:
    """Figure 3d: forward evaluations on one fixed batch after each epoch (0: before training).

    `curves` maps a label, such as the tolerance, to one row of evaluations per seed.
    """
    figure, ax = new_figure(3.9)
    for index, seeds in enumerate(curves.values()):
        for nfe in seeds:
            ax.plot(epochs, nfe, **look_of(index), clip_on=False, zorder=3)
    ax.set(xlabel="epochs of training", ylabel="forward evaluations of f")
    ax.set(xlim=(0, max(epochs)), ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.grid(axis="y")
    handles = [Line2D([], [], **look_of(index), label=label) for index, label in enumerate(curves)]
    legend_above(figure, handles, 3)
    return figure


def cost_by_tolerance(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Figure 3a-c and the accuracy that each tolerance buys: one mark per minibatch.

    Each row maps `tolerance`, `nfe_forward`, `nfe_backward`, `error` (relative; None or 0 for the
    reference itself), `seconds_forward` and `error_pct`.
    """
    figure, axes = new_figure(6.6, 2, 2)
    error, seconds, backward, wrong = axes.flat
    tolerances = sorted({row["tolerance"] for row in rows}, reverse=True)
    handles = []
    for index, tolerance in enumerate(tolerances):
        look = level_of(index, len(tolerances))
        for row in rows:
            if row["tolerance"] != tolerance:
                continue
            nfe = row["nfe_forward"]
            error.plot(nfe, row["error"] or np.nan, **look)
            seconds.plot(nfe, 1e3 * row["seconds_forward"], **look)
            backward.plot(nfe, row["nfe_backward"], **look)
            wrong.plot(tolerance, row["error_pct"], **look)
        error.axhline(tolerance, color=look["color"], lw=1, ls="--", alpha=0.8)
        handles.append(Line2D([], [], **look, label=_power(tolerance)))
    _finish_cost(axes)
    legend_above(figure, handles, 6, title="tolerance", handlelength=1)
    return figure


def _finish_cost(axes: Any) -> None:
    """Axes, units and reference lines of the four panels of `cost_by_tolerance`."""
    error, seconds, backward, wrong = axes.flat
    error.set(title="(a) numerical error", ylabel="relative error", yscale="log")
    seconds.set(title="(b) forward time", ylabel="ms per batch", ylim=(0, None))
    backward.set(title="(c) backward cost", ylabel="backward evaluations", yscale="log")
    wrong.set(title="(d) accuracy", ylabel="test error (%)", ylim=(0, None))
    wrong.set(xlabel="tolerance", xscale="log")
    wrong.invert_xaxis()
    wrong.xaxis.set_major_locator(LogLocator(numticks=9))
    wrong.xaxis.set_minor_locator(NullLocator())
    for ax in (error, seconds, backward):
        ax.set(xlabel="forward evaluations", xlim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    most = backward.get_xlim()[1]
    counts = np.linspace(6, most, 50)  # from one step on; the lines are curves on a log axis
    for slope, line, label, rise in ((1.0, "-", "equal", 5), (0.5, ":", "half", -14)):
        backward.plot(counts, slope * counts, color=GREY, lw=1, ls=line)
        note(backward, label, (most, slope * most), (-2, rise))
    backward.set_xlim(0, most)
    for ax in axes.flat:
        ax.grid(axis="y")


def _power(value: float) -> str:
    """A tolerance as it is written in the text: 1e-3."""
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("+", "")
