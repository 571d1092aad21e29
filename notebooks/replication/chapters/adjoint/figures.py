"""The adjoint drawn (Figure 2 of the paper), and what a gradient is worth and costs."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from replication.plots import few_ticks, guide, legend, line_of, medians
from replication.style import GREY, PALETTE, look_of, new_figure

PARTS = {
    "y0": r"initial state $y_0$",
    "theta": r"parameters $\theta$",
    "t0": r"start $t_0$",
    "t1": r"end $t_1$",
}
COORDINATES = ("angle | friction", "velocity | gravity")
Rows: TypeAlias = Sequence[Mapping[str, Any]] | pd.DataFrame


def three_integrals(
    pieces: Sequence[Mapping[str, Any]], observed: Mapping[str, Any], autograd: Mapping[str, Any]
) -> Figure:
    """Figure 2: state, adjoint and parameter gradient of one backward solve, a panel for each.

    Each piece lies between two observations and maps `t` (n,) and `state`, `adjoint`, `gradient`
    (n, 2), in the order in which it was solved. `observed` maps `t` (m,) and `state` (m, 2);
    `autograd` maps `adjoint` and `gradient`, two values each, where the solve should end.
    """
    figure, axes = new_figure(6.6, 3, 1, sharex=True)
    labels = ("state z", "adjoint a", "gradient so far")
    for ax, name, label in zip(axes, ("state", "adjoint", "gradient"), labels, strict=True):
        for piece, (index, coordinate) in product(pieces, enumerate(COORDINATES)):
            values = np.asarray(piece[name])[:, index]
            ax.plot(piece["t"], values, **line_of(index), label=coordinate)
        for time in observed["t"]:
            ax.axvline(time, color=GREY, lw=0.8, ls=":", zorder=0)
        ax.set_ylabel(label)
        ax.grid(axis="y")
    start = pieces[-1]["t"][-1]
    for values, color in zip(np.transpose(observed["state"]), PALETTE, strict=False):
        axes[0].plot(observed["t"], values, "o", mfc="none", color=color, ms=8, mew=1.6)
    for ax, name in ((axes[1], "adjoint"), (axes[2], "gradient")):
        for end, color in zip(autograd[name], PALETTE, strict=False):
            ax.plot(start, end, "X", color=color, ms=9, clip_on=False, zorder=4)
    _draw_jumps(axes[1], pieces)
    axes[2].plot([], [], "o", color=GREY, mfc="none", label="observed")
    axes[2].plot([], [], "X", color=GREY, label="autograd")
    axes[2].set_xlabel("time t, solved from right to left")
    legend(figure, 4)
    return figure


def _draw_jumps(ax: Axes, pieces: Sequence[Mapping[str, Any]]) -> None:
    """An arrow at each observation: from zero at the last one, elsewhere between two pieces."""
    before = np.zeros(2)
    for piece in pieces:
        time = piece["t"][0]
        for low, high, color in zip(before, piece["adjoint"][0], PALETTE, strict=False):
            arrow = {"arrowstyle": "->", "color": color, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (time, high), (time, low), arrowprops=arrow)
        before = piece["adjoint"][-1]


def error_against_tolerance(rows: Rows) -> Figure:
    """Relative error of the gradient in four parts against the tolerance of the solve.

    Each row maps `way`, `tolerance` and the errors `y0`, `theta`, `t0`, `t1` of one seed.
    """
    figure, axes = new_figure(6.4, 2, 2, sharex=True, sharey=True)
    for ax, (part, title) in zip(axes.flat, PARTS.items(), strict=True):
        _draw(ax, rows, "way", "tolerance", part)
        _finish_tolerance(ax, rows)
        ax.set(title=title, ylabel="relative error")
        ax.label_outer()
    legend(figure, 3)
    return figure


def against_scale(problems: Mapping[str, Rows]) -> Figure:
    """Backward evaluations and gradient error against the constant that multiplies the loss.

    Each problem maps to rows of `way`, `scale`, `nfe_backward` and `error`, one for each seed.
    """
    figure, axes = new_figure(6.0, 2, len(problems), sharex=True, squeeze=False)
    for (above, below), (title, rows) in zip(axes.T, problems.items(), strict=True):
        _draw(above, rows, "way", "scale", "nfe_backward")
        _draw(below, rows, "way", "scale", "error")
        above.set(title=title, ylim=(0, None))
        above.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        below.set(xscale="log", yscale="log", xlabel="loss multiplied by")
        few_ticks(below.yaxis)
        for ax in (above, below):
            ax.grid(axis="y")
    axes[0, 0].set_ylabel("backward evaluations")
    axes[1, 0].set_ylabel("relative error")
    legend(figure, 3)
    return figure


def bytes_kept(by_nfe: Rows, by_outputs: Rows, evaluation: float) -> Figure:
    """Megabytes kept between the passes (filled) and at the peak of both (hollow), by rule.

    Against evaluations and against output times; rows map `rule`, `nfe`, `outputs`, `kept` and
    `peak`, the last two in bytes. `evaluation` is what one evaluation keeps, in bytes.
    """
    figure, (left, right) = new_figure(4.3, 1, 2)
    for ax, rows, along in ((left, by_nfe, "nfe"), (right, by_outputs, "outputs")):
        frame = pd.DataFrame(rows)
        for index, (rule, own) in enumerate(frame.groupby("rule", sort=False)):
            median = own.groupby(along)[["kept", "peak"]].median() / 1e6
            ax.plot(median["kept"], **look_of(index), label=rule)
            ax.plot(median["peak"], **look_of(index), mfc="none", lw=0.8)
        ax.axhline(evaluation / 1e6, color=GREY, lw=1, ls=":", label="one evaluation")
        ax.grid(axis="y")
    left.set(xlabel="forward evaluations", ylabel="MB", xlim=(0, None), ylim=(0, None))
    right.set(xlabel="output times", ylabel="MB", xscale="log", yscale="log")
    few_ticks(right.yaxis)
    right.plot([], [], "o", color=GREY, label="between the passes")
    right.plot([], [], "o", color=GREY, mfc="none", label="at the peak")
    legend(figure, 3)
    return figure


def drift_against_tolerance(fields: Mapping[str, Rows], ways: Mapping[str, str]) -> Figure:
    """The distance from the start, relative to it, of a state solved there and back.

    A panel for each of `ways`, which maps its title to the `way` of its rows. Each field maps to
    rows of `way`, `tolerance` and `drift`, one for each seed.
    """
    figure, axes = new_figure(4.6, 1, len(ways), sharex=True, sharey=True, squeeze=False)
    rows = _stacked("field", fields)
    for ax, (title, way) in zip(axes[0], ways.items(), strict=True):
        chosen = rows[rows["way"] == way]
        _draw(ax, chosen, "field", "tolerance", "drift")
        _finish_tolerance(ax, chosen)
        ax.set_title(title)
    axes[0, 0].set_ylabel("distance from the start, relative")
    legend(figure, 4)
    return figure


def error_by_field(fields: Mapping[str, Rows]) -> Figure:
    """Gradient error against tolerance where the state is solved again, read, or kept.

    Each field maps to rows of `way`, `tolerance` and `error`, one for each seed.
    """
    figure, axes = new_figure(3.9, 1, len(fields), squeeze=False, sharey=True)
    for ax, (title, rows) in zip(axes[0], fields.items(), strict=True):
        _draw(ax, rows, "way", "tolerance", "error")
        _finish_tolerance(ax, rows)
        ax.set_title(title)
    axes[0, 0].set_ylabel("relative error of the gradient")
    legend(figure, 4)
    return figure


def gap_against_tolerance(blocks: Mapping[str, Rows]) -> Figure:
    """The relative gap between two gradients of the same parameters against the tolerance.

    Each block maps to rows of `tolerance` and `gap`, one for each network.
    """
    figure, ax = new_figure(4.2)
    rows = _stacked("block", blocks)
    _draw(ax, rows, "block", "tolerance", "gap")
    _finish_tolerance(ax, rows)
    ax.set_ylabel("gap between the gradients, relative")
    legend(figure, 4)
    return figure


def _stacked(name: str, groups: Mapping[str, Rows]) -> pd.DataFrame:
    """The rows of all groups, each with its group in the column ``name``."""
    return pd.concat([pd.DataFrame(rows).assign(**{name: key}) for key, rows in groups.items()])


def _draw(ax: Axes, rows: Rows, by: str, along: str, value: str) -> None:
    """A curve for each group of rows, with markers of falling size, so that all show."""
    groups = pd.DataFrame(rows).groupby(by, sort=False)
    for index, (name, own) in enumerate(groups):
        seeds = [list(some) for _, some in own.groupby(along)[value]]
        places = sorted(own[along].unique())
        look = {**look_of(index), "mfc": "none", "ms": 10 - 1.5 * index, "mew": 1.5}
        medians(ax, places, np.transpose(seeds), **look, label=name)


def _finish_tolerance(ax: Axes, rows: Rows) -> None:
    """Logarithmic axes, and the line where the value is the tolerance."""
    tolerances = pd.DataFrame(rows)["tolerance"]
    guide(ax, [min(tolerances), max(tolerances)], "the tolerance")
    ax.set(xscale="log", yscale="log", xlabel="tolerance")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
    ax.grid(axis="y")
