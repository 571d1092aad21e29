"""Figure 3: what a solve costs, and how exact it is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from replication.plots import few_ticks, guide, legend, medians
from replication.style import GREY, PALETTE, level_of, look_of, new_figure

Row = Mapping[str, Any]
Span = tuple[float, float]  # lowest and highest
Curve = Sequence[tuple[float, float]]  # the (epoch, evaluations) pairs of Figure 3d


def evaluations_by_epoch(
    epochs: Sequence[int],
    nfe: Mapping[float, Sequence[Sequence[int]]],
    there_and_back: Mapping[float, Sequence[Sequence[float]]],
    paper: Curve,
) -> Figure:
    """Forward evaluations on one fixed batch after each epoch (0: before training).

    Below them, how far solving back misses the start. Both map a tolerance to one row per seed;
    `paper` holds the printed curve.
    """
    figure, (upper, lower) = new_figure(6.4, 2, 1, sharex=True, height_ratios=(3, 2))
    for ax, curves in ((upper, nfe), (lower, there_and_back)):
        for index, (tolerance, seeds) in enumerate(curves.items()):
            look = {**look_of(index), "ms": 5, "lw": 1.3, "clip_on": False}
            ax.plot(epochs, np.transpose(seeds), **look, label=power(tolerance))
        ax.set_yscale("log")
        ax.grid(axis="y")
    upper.plot(*np.transpose(paper), color=GREY, lw=3, alpha=0.5, label="paper (Adams)")
    few_ticks(upper.yaxis)
    few_ticks(lower.yaxis)
    upper.set(ylabel="forward evaluations of f")
    lower.set(xlabel="epochs of training", ylabel="there and back, rel. error")
    lower.set(xlim=(0, max(epochs)))
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    legend(figure, 3, title="tolerance")
    return figure


def evaluations_while_learning(
    courses: Sequence[pd.DataFrame],
    published: Sequence[pd.DataFrame],
    logs: Sequence[Curve],
    paper: Curve,
) -> Figure:
    """Figure 3d: forward evaluations within the first epoch, and from its end on.

    A course, one per seed, is as `analysis.course` gives it, by epochs of all digits; those that
    are published are drawn fainter, behind. `logs` are the counts that others reported of the same
    recipe. The numbers are the means over the seeds, at the start and at the end.
    """
    ends = max(at for curve in (*logs, paper) for at, _ in curve)
    figure, axes = new_figure(5.2, 1, 2, sharey=True, width_ratios=(2, 3))
    looks = _looks_of_a_course([*published, *courses])
    for ax, (first, last) in zip(axes, ((0, 1), (1, ends)), strict=True):
        for course in courses:
            _draw_course(ax, course.loc[first:last], looks, {"ms": 4, "lw": 1.2})
        for course in published:
            faint = {"alpha": 0.35, "marker": "", "lw": 3, "zorder": 1}
            _draw_course(ax, course.loc[first:last], looks, faint)
        for curve in logs:
            reported = [(at, nfe) for at, nfe in curve if first <= at <= last]
            look = {"color": PALETTE[4], "marker": "v", "ms": 4, "lw": 1, "clip_on": False}
            look["ls"] = "-" if first else ""  # within the first epoch they have no points
            ax.plot(*np.transpose(reported), **look, label="logs of others, 1e-3")
        at = np.geomspace(1, ends, 100) if first else np.array([0, 1])
        at = at[at <= max(epoch for epoch, _ in paper)]
        printed = np.interp(at, *np.transpose(paper))
        ax.plot(at, printed, color=GREY, lw=4, alpha=0.5, label="the paper's curve")
        ax.set_yscale("log")
        ax.grid(axis="y")
    within, after = axes
    within.set(xlabel="epochs", ylabel="forward evaluations of f")
    after.set(xlabel="epochs, logarithmic", xscale="log", xlim=(1, ends))
    within.set(xlim=(0, 1), xticks=(0, 0.5, 1), xticklabels=("0", "½", "1"))
    few_ticks(within.yaxis)
    few_ticks(after.xaxis)
    _write_ends(axes, published or courses, looks)
    if published:
        within.plot([], [], color=GREY, lw=3, alpha=0.35, label="faint: published run")
    for ax, title in zip(axes, ("the first epoch", "after it"), strict=True):
        ax.set_title(title, size=13)  # larger than elsewhere: this one is looked at on phones
        ax.tick_params(labelsize=12)
        ax.xaxis.label.set_size(13)
        ax.yaxis.label.set_size(13)
    legend(figure, 2, fontsize=12)
    return figure


def _looks_of_a_course(courses: Sequence[pd.DataFrame]) -> dict[tuple[str, Any], dict[str, Any]]:
    """Column -> the look and label of its curve."""
    tolerances = sorted({at for course in courses for at in course["nfe"]}, reverse=True)
    looks: dict[tuple[str, Any], dict[str, Any]] = {
        ("nfe", at): {**look_of(i), "label": f"tolerance {power(at)}"}
        for i, at in enumerate(tolerances)
    }
    mean = {"color": PALETTE[3], "marker": "D", "ls": ":"}
    looks["batches", "nfe"] = {**mean, "label": "mean over training batches"}
    return looks


def _draw_course(ax: Axes, course: pd.DataFrame, looks: Mapping[Any, Row], more: Row) -> None:
    for column in (column for column in looks if column in course):
        curve = course[column].dropna()
        if len(curve):  # an empty one that is not clipped would leave the layout no room
            ax.plot(curve.index, curve, clip_on=False, **{**looks[column], **more})


def _write_ends(axes: Sequence[Axes], courses: Sequence[pd.DataFrame], looks: Any) -> None:
    """The counts of the untrained network on the left, those of the last epoch on the right."""
    for column in (column for column in looks if column[0] == "nfe"):
        curve = pd.concat([one[column] for one in courses if column in one], axis=1).mean(axis=1)
        color = looks[column]["color"]
        words = {"textcoords": "offset points", "color": color, "weight": "bold", "size": 13}
        for ax, at in zip(axes, (curve.index[0], curve.index[-1]), strict=True):
            if at == 0 or at > 1:
                ax.annotate(f"{curve[at]:.0f}", (at, curve[at]), (5, 5), **words)


def evaluations_by_quotient(
    courses: Sequence[pd.DataFrame], others: Mapping[str, Sequence[pd.DataFrame]], at: float
) -> Figure:
    """Evaluations against the size of f(0, h) over that of h, a mark for each count of a training.

    Left by tolerance; right at the tolerance `at` alone, beside `others`: trainings by name. The
    untrained networks are hollow.
    """
    figure, (left, right) = new_figure(4.6, 1, 2)
    tolerances = sorted({at for course in courses for at in course["nfe"]}, reverse=True)
    for index, tolerance in enumerate(tolerances):
        _scatter(left, courses, tolerance, {**look_of(index), "label": power(tolerance)})
    for index, (name, trained) in enumerate({"recipe": courses, **others}.items()):
        _scatter(right, trained, at, {**look_of(index), "label": name})
    left.set(title="by tolerance", ylabel="forward evaluations of f")
    right.set(title=f"one thing changed, at {power(at)}")
    for ax in (left, right):
        ax.set(xlabel="size of f over size of h", xscale="log", yscale="log")
        ax.grid()
        for axis in (ax.xaxis, ax.yaxis):
            _widen(axis, 3)
            few_ticks(axis)
        ax.legend(handlelength=1)
    return figure


def _widen(axis: Any, factor: float) -> None:
    """A logarithmic axis that ends at least so many times higher than it begins."""
    low, high = axis.get_view_interval()
    more = max((factor * low / high) ** 0.5, 1.0)
    axis.set_view_interval(low / more, high * more, ignore=True)


def _scatter(ax: Axes, courses: Iterable[pd.DataFrame], tolerance: float, look: Row) -> None:
    look = {**look, "linestyle": "", "ms": 5}
    for course in courses:
        quotient, nfe = course["rms", "quotient"], course["nfe", tolerance]
        ax.plot(quotient.iloc[1:], nfe.iloc[1:], **look)
        ax.plot(quotient.iloc[:1], nfe.iloc[:1], **{**look, "mfc": "none", "label": ""})
        look = {**look, "label": ""}


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
    looks = _looks(rows)
    longest = max(row["seconds"] for row in rows)
    for tolerance, look in looks.items():
        for row in (row for row in rows if row["tolerance"] == tolerance):
            error.plot(row["nfe"], row["error"], **look, label=power(tolerance))
            seconds.plot(row["nfe"], row["seconds"] / longest, **look)
            back.plot(tolerance, row["there_and_back"], **look)
        for errors in test_errors:
            wrong.plot(tolerance, errors[f"{tolerance:g}"], **look)
        error.axhline(tolerance, color=look["color"], lw=1, ls="--", alpha=0.8)
    for tolerance, look in looks.items():
        printed = paper.get(tolerance, {})
        _draw_box(error, printed, "nfe", "error", look["color"])
        _draw_box(seconds, printed, "nfe", "time", look["color"])
    guide(back, [min(looks), max(looks)], "")
    error.set(title="(a) numerical error", ylabel="relative error", yscale="log")
    seconds.set(title="(b) forward time", ylabel="time / longest time", ylim=(0, None))
    back.set(title="there and back", ylabel="relative error", yscale="log")
    wrong.set(title="accuracy", ylabel="test error (%)", ylim=(0, 1.15 * wrong.get_ylim()[1]))
    for ax in (error, seconds):
        ax.set(xlabel="forward evaluations of f", xlim=(0, None))
    for ax in (back, wrong):
        ax.set(xlabel="tolerance", xscale="log")
        ax.invert_xaxis()
    for ax in axes.flat:
        ax.grid(axis="y")
    legend(figure, 4, title="tolerance", handlelength=1)
    return figure


def backward_against_forward(
    clean: Sequence[Row], leaky: Sequence[Row], paper: Mapping[float, Mapping[str, Span]]
) -> Figure:
    """Figure 3c twice: with the counts as they are, and with those of a counter that leaks.

    A row maps `tolerance`, `way` (the name of a solver), `nfe_forward` and `nfe_backward`; `paper`
    maps a tolerance to the printed spans of `nfe` and `backward`.
    """
    figure, axes = new_figure(4.3, 1, 2, sharex=True, sharey=True)
    ways = list(dict.fromkeys(row["way"] for row in clean))
    looks = _looks([*clean, *leaky])
    titles = ("counted cleanly", "with the counter that leaks")
    for ax, part, title in zip(axes, (clean, leaky), titles, strict=True):
        for row in part:
            marker = look_of(ways.index(row["way"]))["marker"]
            look = {**looks[row["tolerance"]], "marker": marker}
            ax.plot(row["nfe_forward"], row["nfe_backward"], **look)
        ax.set(title=title, xlabel="forward evaluations", xscale="log", yscale="log")
    for tolerance, look in looks.items():
        axes[0].plot([], [], "s", color=look["color"], label=power(tolerance))
        _draw_box(axes[1], paper.get(tolerance, {}), "nfe", "backward", look["color"])
    for index, way in enumerate(ways):
        axes[0].plot([], [], look_of(index)["marker"], color=GREY, label=way)
    axes[0].set_ylabel("backward evaluations")
    ends = axes[0].get_xlim()
    for ax in axes:
        guide(ax, ends, "equal", line="-")
        guide(ax, ends, "half", 0.5, ":")
        ax.set_xlim(ends)
        ax.grid()
        for axis in (ax.xaxis, ax.yaxis):
            few_ticks(axis)
    legend(figure, 4)
    return figure


def ways_compared(
    tolerances: Sequence[float], ways: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]
) -> Figure:
    """Backward over forward evaluations, and the error of the gradient, by tolerance and way.

    Each way maps `ratio` and `gradient_error` to one row per seed, in the order of `tolerances`.
    """
    figure, (ratio, error) = new_figure(4.8, 1, 2)
    for index, (name, measured) in enumerate(ways.items()):
        medians(ratio, tolerances, measured["ratio"], **look_of(index), label=name)
        medians(error, tolerances, measured["gradient_error"], **look_of(index))
    ratio.axhline(1, color=GREY, lw=1, zorder=1, label="equal")
    ratio.axhline(0.5, color=GREY, lw=1, ls=":", zorder=1, label="half")
    ratio.set(title="evaluations", ylabel="backward over forward")
    error.set(title="gradient", ylabel="relative error of the gradient")
    for ax in (ratio, error):
        ax.set(xlabel="tolerance", xscale="log", yscale="log")
        ax.invert_xaxis()
        ax.grid(axis="y")
    few_ticks(ratio.yaxis)
    legend(figure, 2)
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
            left.plot(states, times, color=PALETTE[0], lw=1)
            left.plot(states, times, "o", color=PALETTE[1], ms=2.5, zorder=3, label="f evaluated")
        for index, row in enumerate(rows):
            look = {**look_of(index), "lw": 1.2, "ms": 4}
            label = f"seed {index + 1} of {len(rows)}"
            right.plot(row["inputs"], row["nfe"], **look, label=label)
        inputs = rows[0]["inputs"]
        third = len(inputs) // 3
        ends = inputs[third], inputs[-third - 1]
        right.axvspan(*ends, color=GREY, alpha=0.12, lw=0, label="middle third")
        left.set(title=name, xlabel="state", ylabel="time")
        right.set(xlabel="input", ylabel="evaluations of f", ylim=(0, None))
        right.grid(axis="y")
    legend(figure, 3)
    return figure


def _looks(rows: Iterable[Row]) -> dict[float, dict[str, Any]]:
    """The colour and marker of each tolerance of rows, the loosest first."""
    tolerances = sorted({row["tolerance"] for row in rows}, reverse=True)
    return {at: level_of(i, len(tolerances)) for i, at in enumerate(tolerances)}


def _draw_box(ax: Axes, spans: Mapping[str, Span], across: str, up: str, colour: Any) -> None:
    """What the paper prints, as the box of its marks; nothing where it prints nothing."""
    if across in spans and up in spans:
        (left, right), (low, high) = spans[across], spans[up]
        # A span of one value would be a line too thin to see.
        wide, tall = max(right - left, 0.06 * right), max(high - low, 0.06 * high)
        box = Rectangle((left, low), wide, tall, fill=False, edgecolor=colour, lw=1.2)
        ax.add_patch(box)
        ax.plot([left, left + wide], [low, low + tall], alpha=0)  # so that the axes reach it
        ax.plot([], [], "s", ms=9, mfc="none", color=GREY, label="paper, by eye")


def power(value: float) -> str:
    """A tolerance as it is written in the text: 1e-3."""
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("+", "")
