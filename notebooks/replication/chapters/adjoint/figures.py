"""The adjoint drawn (Figure 2 of the paper), and what a gradient is worth and costs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from replication.style import GREY, PALETTE, legend_above, look_of, mark, new_figure

PARTS = {
    "y0": r"initial state $y_0$",
    "theta": r"parameters $\theta$",
    "t0": r"start $t_0$",
    "t1": r"end $t_1$",
}
TOLERANCE = Line2D([], [], color=GREY, lw=1.2, ls="--", label="the tolerance")
Rows = Sequence[Mapping[str, Any]]


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
        for piece in pieces:
            for index, values in enumerate(np.transpose(piece[name])):
                ax.plot(piece["t"], values, **_plain(index))
        for time in observed["t"]:
            ax.axvline(time, color=GREY, lw=0.8, ls=":", zorder=0)
        ax.set_ylabel(label)
        ax.grid(axis="y")
    start = pieces[-1]["t"][-1]
    for index in (0, 1):
        color = PALETTE[index]
        values = np.asarray(observed["state"])[:, index]
        axes[0].plot(observed["t"], values, "o", mfc="none", color=color, ms=8, mew=1.6)
        for ax, name in ((axes[1], "adjoint"), (axes[2], "gradient")):
            ax.plot(start, autograd[name][index], "X", color=color, ms=9, clip_on=False, zorder=4)
    _draw_jumps(axes[1], pieces)
    axes[2].set_xlabel("time t, solved from right to left")
    handles = [
        Line2D([], [], **_plain(0), label="angle | friction"),
        Line2D([], [], **_plain(1), label="velocity | gravity"),
        Line2D([], [], ls="", marker="o", mfc="none", mew=1.6, ms=8, color=GREY, label="observed"),
        mark("X", GREY, "autograd", size=9),
    ]
    legend_above(figure, handles, 4)
    return figure


def _plain(index: int) -> dict[str, Any]:
    return {**look_of(index), "marker": ""}


def _draw_jumps(ax: Axes, pieces: Sequence[Mapping[str, Any]]) -> None:
    """An arrow at each observation: from zero at the last one, elsewhere between two pieces."""
    before = np.zeros(2)
    for piece in pieces:
        time = piece["t"][0]
        for index, (low, high) in enumerate(zip(before, piece["adjoint"][0], strict=True)):
            arrow = {"arrowstyle": "->", "color": PALETTE[index], "lw": 1.3, "shrinkA": 0}
            ax.annotate("", (time, high), (time, low), arrowprops={**arrow, "shrinkB": 0})
        before = piece["adjoint"][-1]


def error_against_tolerance(rows: Rows) -> Figure:
    """Relative error of the gradient in four parts against the tolerance of the solve.

    Each row maps `way`, `tolerance` and the errors `y0`, `theta`, `t0`, `t1` of one seed.
    """
    figure, axes = new_figure(6.4, 2, 2, sharex=True, sharey=True)
    ways = list(dict.fromkeys(row["way"] for row in rows))
    for ax, (part, title) in zip(axes.flat, PARTS.items(), strict=True):
        for index, way in enumerate(ways):
            _draw_seeds(ax, rows, {"way": way}, "tolerance", part, _hollow(index))
        _finish_tolerance(ax, rows)
        ax.set_title(title)
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error")
    for ax in axes[1]:
        ax.set_xlabel("tolerance")
    legend_above(figure, [*_handles(ways), TOLERANCE], 3)
    return figure


def against_scale(problems: Mapping[str, Rows]) -> Figure:
    """Backward evaluations and gradient error against the constant that multiplies the loss.

    Each problem maps to rows of `way`, `scale`, `nfe_backward` and `error`, one for each seed.
    """
    figure, axes = new_figure(6.0, 2, len(problems), sharex=True, squeeze=False)
    ways = list(dict.fromkeys(row["way"] for rows in problems.values() for row in rows))
    for (above, below), (title, rows) in zip(axes.T, problems.items(), strict=True):
        for index, way in enumerate(ways):
            _draw_seeds(above, rows, {"way": way}, "scale", "nfe_backward", _hollow(index))
            _draw_seeds(below, rows, {"way": way}, "scale", "error", _hollow(index))
        above.set(title=title, ylim=(0, None))
        below.set(xscale="log", yscale="log", xlabel="loss multiplied by")
        above.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        below.xaxis.set_major_locator(LogLocator(numticks=6))
        below.xaxis.set_minor_locator(NullLocator())
        _label_few(below.yaxis)
        for ax in (above, below):
            ax.grid(axis="y")
    axes[0, 0].set_ylabel("backward evaluations")
    axes[1, 0].set_ylabel("relative error")
    legend_above(figure, _handles(ways), 3)
    return figure


def bytes_kept(by_nfe: Rows, by_outputs: Rows, evaluation: float) -> Figure:
    """Megabytes kept between the passes (filled) and at the peak of both (hollow), by rule.

    Against evaluations and against output times; rows map `rule`, `nfe`, `outputs`, `kept` and
    `peak`, the last two in bytes. `evaluation` is what one evaluation keeps, in bytes.
    """
    figure, (left, right) = new_figure(4.3, 1, 2)
    rules = list(dict.fromkeys(row["rule"] for row in by_nfe))
    for ax, rows, along in ((left, by_nfe, "nfe"), (right, by_outputs, "outputs")):
        for index, rule in enumerate(rules):
            look = look_of(index)
            megabytes = [{**row, **{k: row[k] / 1e6 for k in ("kept", "peak")}} for row in rows]
            _draw_seeds(ax, megabytes, {"rule": rule}, along, "kept", look)
            hollow = {**look, "mfc": "none", "lw": 0.8}
            _draw_seeds(ax, megabytes, {"rule": rule}, along, "peak", hollow)
        ax.axhline(evaluation / 1e6, color=GREY, lw=1, ls=":")
        ax.grid(axis="y")
    left.set(xlabel="forward evaluations", ylabel="MB", xlim=(0, None), ylim=(0, None))
    right.set(xlabel="output times", ylabel="MB", xscale="log", yscale="log")
    right.xaxis.set_minor_locator(NullLocator())
    _label_few(right.yaxis)
    handles = [Line2D([], [], **look_of(i), label=rule) for i, rule in enumerate(rules)]
    handles += [
        mark("o", GREY, "between the passes"),
        Line2D([], [], ls="", marker="o", ms=8, mfc="none", color=GREY, label="at the peak"),
        Line2D([], [], color=GREY, lw=1, ls=":", label="one evaluation"),
    ]
    legend_above(figure, handles, 3)
    return figure


def drift_against_tolerance(fields: Mapping[str, Rows]) -> Figure:
    """The distance from the start, relative to it, of a state solved there and back.

    Each field maps to rows of `tolerance` and `drift`, one for each seed; None is left out.
    """
    figure, ax = new_figure(4.6)
    everything = []
    for index, rows in enumerate(fields.values()):
        known = [row for row in rows if row["drift"] is not None]
        everything += known
        _draw_seeds(ax, known, {}, "tolerance", "drift", _hollow(index))
    _finish_tolerance(ax, everything)
    ax.set(xlabel="tolerance", ylabel="distance from the start, relative")
    legend_above(figure, [*_handles(fields), TOLERANCE], 4)
    return figure


def error_by_field(fields: Mapping[str, Rows]) -> Figure:
    """Gradient error against tolerance where the state is solved again, read, or kept.

    Each field maps to rows of `way`, `tolerance` and `error`, one for each seed.
    """
    figure, axes = new_figure(3.9, 1, len(fields), squeeze=False, sharey=True)
    ways = list(dict.fromkeys(row["way"] for rows in fields.values() for row in rows))
    for ax, (title, rows) in zip(axes[0], fields.items(), strict=True):
        for index, way in enumerate(ways):
            _draw_seeds(ax, rows, {"way": way}, "tolerance", "error", _hollow(index))
        _finish_tolerance(ax, rows, ticks=4)
        ax.set(title=title, xlabel="tolerance")
    axes[0, 0].set_ylabel("relative error of the gradient")
    legend_above(figure, [*_handles(ways), TOLERANCE], 4)
    return figure


def _hollow(index: int) -> dict[str, Any]:
    """The look of a curve that others may hide: markers of falling size, so that all show."""
    return {**look_of(index), "mfc": "none", "ms": 10 - 1.5 * index, "mew": 1.5}


def _handles(names: Iterable[str]) -> list[Line2D]:
    return [Line2D([], [], **_hollow(index), label=name) for index, name in enumerate(names)]


def _draw_seeds(
    ax: Axes, rows: Rows, only: Mapping[str, Any], along: str, value: str, look: Mapping[str, Any]
) -> None:
    """The median of the seeds as a curve, and a thin bar from the least to the largest."""
    chosen = [row for row in rows if all(row[key] == at for key, at in only.items())]
    places = sorted({row[along] for row in chosen})
    values = [[row[value] for row in chosen if row[along] == place] for place in places]
    ax.plot(places, [np.median(x) for x in values], **{**look, "zorder": 3})
    ax.vlines(places, [min(x) for x in values], [max(x) for x in values], look["color"], lw=1)


def _label_few(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis that spans a few decades at most."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _finish_tolerance(ax: Axes, rows: Rows, ticks: int = 6) -> None:
    """Logarithmic axes with few ticks, and the line where the value is the tolerance."""
    ends = [min(row["tolerance"] for row in rows), max(row["tolerance"] for row in rows)]
    ax.plot(ends, ends, color=GREY, lw=1.2, ls="--", zorder=1)
    ax.set(xscale="log", yscale="log")
    for axis, most in ((ax.xaxis, ticks), (ax.yaxis, 6)):
        axis.set_major_locator(LogLocator(numticks=most))
        axis.set_minor_locator(NullLocator())
    ax.grid(axis="y")
