"""Figure 3: what a solve costs, and how exact it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from replication.style import (
    GREY,
    legend_above,
    level_of,
    look_of,
    mark,
    new_figure,
    note,
    plain_log,
)

Row = Mapping[str, Any]
Span = tuple[float, float]  # lowest and highest


def evaluations_by_epoch(
    epochs: Sequence[int],
    nfe: Mapping[float, Sequence[Sequence[int]]],
    there_and_back: Mapping[float, Sequence[Sequence[float]]],
    paper: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Figure 3d: forward evaluations on one fixed batch after each epoch (0: before training).

    Below them, how far solving back misses the start. Both map a tolerance to one row per seed;
    `paper` holds the (epoch, evaluations) pairs of the printed curve.
    """
    figure, (upper, lower) = new_figure(6.4, 2, 1, sharex=True, height_ratios=(3, 2))
    for ax, curves in ((upper, nfe), (lower, there_and_back)):
        for index, seeds in enumerate(curves.values()):
            for values in seeds:
                ax.plot(epochs, values, **look_of(index), ms=5, lw=1.3, clip_on=False)
        ax.set_yscale("log")
        ax.grid(axis="y")
    if paper:
        upper.plot(*zip(*paper, strict=True), color=GREY, lw=3, alpha=0.5)
    plain_log(upper.yaxis)
    upper.set(ylabel="forward evaluations of f")
    lower.set(xlabel="epochs of training", ylabel="there and back, rel. error")
    lower.set(xlim=(0, max(epochs)))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    handles = [Line2D([], [], **look_of(i), label=power(at)) for i, at in enumerate(nfe)]
    if paper:
        handles.append(Line2D([], [], color=GREY, lw=3, alpha=0.5, label="paper (Adams)"))
    legend_above(figure, handles, 3, title="tolerance")
    return figure


def cost_by_tolerance(
    rows: Sequence[Row],
    test_errors: Sequence[Mapping[str, float]],
    paper: Mapping[float, Mapping[str, Span]],
) -> Figure:
    """Figure 3a and b, and what each tolerance buys: one mark per minibatch, or per seed.

    A row maps `tolerance`, `nfe`, `error` (relative), `seconds` and `there_and_back`;
    `test_errors` has one mapping per seed, from tolerance to percent. `paper` maps a tolerance to
    the printed spans of `nfe`, `error` (where there is one) and relative `time`.
    """
    figure, axes = new_figure(6.8, 2, 2)
    error, seconds, back, wrong = axes.flat
    tolerances = sorted({row["tolerance"] for row in rows}, reverse=True)
    longest = max(row["seconds"] for row in rows)
    handles = []
    for index, tolerance in enumerate(tolerances):
        look = level_of(index, len(tolerances))
        for row in (row for row in rows if row["tolerance"] == tolerance):
            error.plot(row["nfe"], row["error"], **look)
            seconds.plot(row["nfe"], row["seconds"] / longest, **look)
            back.plot(tolerance, row["there_and_back"], **look)
        for errors in test_errors:
            wrong.plot(tolerance, errors[f"{tolerance:g}"], **look)
        for ax, name in ((error, "error"), (seconds, "time")):
            _draw_box(ax, paper.get(tolerance, {}), "nfe", name, look["color"])
        error.axhline(tolerance, color=look["color"], lw=1, ls="--", alpha=0.8)
        handles.append(Line2D([], [], **look, label=power(tolerance)))
    _finish_cost(error, seconds, back, wrong)
    _draw_identity(back)
    handles += [_printed()] if paper else []
    legend_above(figure, handles, 4, title="tolerance", handlelength=1)
    return figure


def _finish_cost(error: Axes, seconds: Axes, back: Axes, wrong: Axes) -> None:
    """Titles, units and scales of the four panels of `cost_by_tolerance`."""
    error.set(title="(a) numerical error", ylabel="relative error", yscale="log")
    seconds.set(title="(b) forward time", ylabel="time / longest time", ylim=(0, None))
    back.set(title="there and back", ylabel="relative error", yscale="log")
    wrong.set(title="accuracy", ylabel="test error (%)", ylim=(0, 1.15 * wrong.get_ylim()[1]))
    for ax in (error, seconds):
        ax.set(xlabel="forward evaluations of f", xlim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for ax in (back, wrong):
        ax.set(xlabel="tolerance", xscale="log")
        ax.invert_xaxis()
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
        ax.xaxis.set_minor_locator(NullLocator())
    for ax in (error, seconds, back, wrong):
        ax.grid(axis="y")


def _draw_identity(ax: Axes) -> None:
    """Where the error equals the tolerance."""
    ends = sorted(ax.get_xlim())
    ax.plot(ends, ends, color=GREY, lw=1, ls="--")
    ax.set_xlim(*reversed(ends))


def backward_against_forward(
    clean: Sequence[Row], leaky: Sequence[Row], paper: Mapping[float, Mapping[str, Span]]
) -> Figure:
    """Figure 3c twice: with the counts as they are, and with those of a counter that leaks.

    A row maps `tolerance`, `way` (the name of a solver), `nfe_forward` and `nfe_backward`; `paper`
    maps a tolerance to the printed spans of `nfe` and `backward`.
    """
    figure, axes = new_figure(4.3, 1, 2, sharex=True, sharey=True)
    rows = [*clean, *leaky]
    tolerances = sorted({row["tolerance"] for row in rows}, reverse=True)
    ways = list(dict.fromkeys(row["way"] for row in rows))
    colours = [level_of(i, len(tolerances))["color"] for i in range(len(tolerances))]
    titles = ("counted cleanly", "with the counter that leaks")
    for ax, part, title in zip(axes, (clean, leaky), titles, strict=True):
        for row in part:
            look = level_of(ways.index(row["way"]), len(ways))
            look["color"] = colours[tolerances.index(row["tolerance"])]
            ax.plot(row["nfe_forward"], row["nfe_backward"], **look)
        ax.set(title=title, xlabel="forward evaluations", xscale="log", yscale="log")
    for tolerance, colour in zip(tolerances, colours, strict=True):
        _draw_box(axes[1], paper.get(tolerance, {}), "nfe", "backward", colour)
    axes[0].set_ylabel("backward evaluations")
    for ax in axes:
        _draw_slopes(ax, axes[0].get_xlim())
        ax.grid()
        for axis in (ax.xaxis, ax.yaxis):
            plain_log(axis)
    levels = [mark("s", c, power(t)) for t, c in zip(tolerances, colours, strict=True)]
    kinds = [
        Line2D([], [], **{**level_of(i, len(ways)), "color": GREY}, label=way)
        for i, way in enumerate(ways)
    ]
    legend_above(figure, levels + kinds + ([_printed()] if paper else []), 4)
    return figure


def _draw_slopes(ax: Axes, ends: Span) -> None:
    """The lines of as many backward evaluations, and of half as many."""
    for slope, line, label in ((1.0, "-", "equal"), (0.5, ":", "half")):
        ax.plot(ends, [slope * x for x in ends], color=GREY, lw=1, ls=line, zorder=1)
        note(ax, label, (ends[1], slope * ends[1]), (3, 0), ha="left")
    ax.set_xlim(*ends)


def ways_compared(
    tolerances: Sequence[float], ways: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]
) -> Figure:
    """Backward over forward evaluations, and the error of the gradient, by tolerance and way.

    Each way maps `ratio` and `gradient_error` to one row per seed, in the order of `tolerances`:
    seeds are dots, the line is their mean.
    """
    figure, (ratio, error) = new_figure(4.8, 1, 2)
    handles = []
    for index, (name, measured) in enumerate(ways.items()):
        look = look_of(index)
        for ax, key in ((ratio, "ratio"), (error, "gradient_error")):
            seeds = np.asarray(measured[key])
            ax.loglog(tolerances, np.exp(np.log(seeds).mean(0)), **look)
            if len(seeds) > 1:
                for values in seeds:
                    ax.loglog(tolerances, values, ".", color=look["color"], ms=4, alpha=0.7)
        handles.append(Line2D([], [], **look, label=name))
    ratio.set(title="evaluations", ylabel="backward over forward")
    error.set(title="gradient", ylabel="relative error of the gradient")
    plain_log(ratio.yaxis)
    for ax in (ratio, error):
        ax.set(xlabel="tolerance")
        ax.invert_xaxis()
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y")
    for level, line, label in ((1, "-", "equal"), (0.5, ":", "half")):
        ratio.axhline(level, color=GREY, lw=1, ls=line, zorder=1)
        note(ratio, label, (ratio.get_xlim()[1], level), (3, 0), ha="left")
    legend_above(figure, handles, 2)
    return figure


def evaluations_by_input(maps: Mapping[str, Sequence[Row]]) -> Figure:
    """One-dimensional ODE nets: the ways of a few inputs, and the evaluations that each took.

    A name maps to one row per seed: `ways` (lists of (time, state) pairs at which f was called;
    those of the first seed are drawn), `inputs` and their `nfe`.
    """
    figure, axes = new_figure(6.6, len(maps), 2, squeeze=False)
    for (left, right), (name, rows) in zip(axes, maps.items(), strict=True):
        for way in rows[0]["ways"]:
            times, states = zip(*way, strict=True)
            left.plot(states, times, color=look_of(0)["color"], lw=1)
            left.plot(states, times, "o", color=look_of(1)["color"], ms=2.5, zorder=3)
        for index, row in enumerate(rows):
            right.plot(row["inputs"], row["nfe"], **{**look_of(index), "lw": 1.2}, ms=4)
        inputs = rows[0]["inputs"]
        third = len(inputs) // 3
        right.axvspan(inputs[third], inputs[-third - 1], color=GREY, alpha=0.12, lw=0)
        left.set(title=name, xlabel="state", ylabel="time")
        right.set(xlabel="input", ylabel="evaluations of f", ylim=(0, None))
        right.yaxis.set_major_locator(MaxNLocator(integer=True))
        right.grid(axis="y")
    seeds = max(len(rows) for rows in maps.values())
    handles = [
        mark("o", look_of(1)["color"], "f evaluated", size=4),
        *(Line2D([], [], **look_of(i), label=f"seed {i + 1} of {seeds}") for i in range(seeds)),
        Line2D([], [], color=GREY, alpha=0.12, lw=9, label="middle third"),
    ]
    legend_above(figure, handles, 3)
    return figure


def _draw_box(ax: Axes, spans: Mapping[str, Span], across: str, up: str, colour: Any) -> None:
    """What the paper prints, as the box of its marks; nothing where it prints nothing."""
    if across in spans and up in spans:
        (left, right), (low, high) = spans[across], spans[up]
        # A span of one value would be a line too thin to see.
        wide, tall = max(right - left, 0.06 * right), max(high - low, 0.06 * high)
        box = Rectangle((left, low), wide, tall, fill=False, edgecolor=colour, lw=1.2)
        ax.add_patch(box)
        ax.plot([left, left + wide], [low, low + tall], alpha=0)  # so that the axes reach it


def _printed() -> Line2D:
    return Line2D([], [], ls="", marker="s", ms=9, mfc="none", color=GREY, label="paper, by eye")


def power(value: float) -> str:
    """A tolerance as it is written in the text: 1e-3."""
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("+", "")
