"""The book's figures and tables: one style, one function per recurring plot, from plain arrays.

Nothing is measured or fitted here: arrays come in, a matplotlib `Figure` goes out. The style is
made for transparent SVG on white and on dark pages: axes and text are mid-grey, colours are
colour-blind safe, and whatever a colour tells is also told by a marker or a line style.

An *estimate* is a mapping with `mean`, `low`, `high` and `values` (one value per seed); `low` and
`high` are None where there is no interval.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
)

GREY = "#777777"
# Okabe and Ito's colours that stand out from a white page as well as from a dark one.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
WIDTH = 6.4  # inches: 614 px on the page, so that 11 pt text stays legible on a phone

STYLE: dict[str, Any] = {
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "savefig.facecolor": "none",
    "svg.hashsalt": "odenet",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlelocation": "left",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}

VERDICTS = {
    "supported": {"color": PALETTE[0], "marker": "o"},
    "not supported": {"color": PALETTE[1], "marker": "X"},
    "inconclusive": {"color": PALETTE[3], "marker": "D"},
    "stale": {"color": GREY, "marker": "v"},
}

Estimate = Mapping[str, Any]


def style() -> None:
    """Every figure drawn afterwards in this process has the style of the book."""
    matplotlib.style.use(STYLE)


# Figure 1 of the paper, and the convergence of the methods


def depth_against_state(
    residual: Mapping[str, Any], ode: Mapping[str, Any], *, limits: tuple[float, float]
) -> Figure:
    """Figure 1: hidden states along the depth of a residual network beside an ODE network.

    Each network is a mapping of `paths`, one (depths, states) pair of sequences per input;
    `evaluated` (n, 2), the (depth, state) pairs at which f was called; and the arrows of its
    field: `arrow_depth`, `arrow_state` and `arrow_slope`, of equal shapes.
    """
    figure, axes = _figure(4.7, 1, 2, sharey=True, sharex=True)
    panels = zip(axes, (residual, ode), ("Residual network", "ODE network"), strict=True)
    for ax, network, title in panels:
        _draw_field(ax, network)
        for depths, states in network["paths"]:
            ax.plot(states, depths, color=PALETTE[0], lw=1.5)
        depths, states = np.asarray(network["evaluated"]).T
        ax.plot(states, depths, "o", color=PALETTE[1], ms=3, zorder=3)
        ax.set(title=title, xlabel="hidden state h", xlim=limits)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes[0].set_ylabel("depth t")
    handles = [
        Line2D([], [], color=PALETTE[0], label="hidden state"),
        _mark("o", PALETTE[1], "f evaluated", size=5),
        _mark(r"$\rightarrow$", GREY, "field f", size=13),
    ]
    _legend_above(figure, handles, 3)
    return figure


def _draw_field(ax: Axes, network: Mapping[str, Any]) -> None:
    """Arrows of equal length along (1, f), pinned where the field was sampled."""
    slope = np.asarray(network["arrow_slope"])
    length = np.hypot(slope, 1.0)
    ax.quiver(
        network["arrow_state"],
        network["arrow_depth"],
        slope / length,
        1 / length,
        color=GREY,
        alpha=0.5,
        scale=22,
        width=0.005,
    )


def error_against_step(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Global error against step size on logarithmic axes, with a line of the fitted order.

    Each curve maps `step` and `error` (equal lengths, largest step first; the same steps for all)
    and `order`, its fitted slope.
    """
    figure, ax = _figure(4.6)
    for index, (name, curve) in enumerate(curves.items()):
        look = {**_look(index), "linestyle": "-"}
        step, error = np.asarray(curve["step"]), np.asarray(curve["error"])
        ax.loglog(step, error, **look)
        guide = error[-1] * (step / step[-1]) ** curve["order"]
        ax.loglog(step, guide, color=GREY, lw=0.9, ls="--", zorder=1)
        label = f"{name}, slope {curve['order']:.2f}"
        _note(ax, label, (step[-1], error[-1]), (-9, 0), color=look["color"], fontsize=10)
    room = (step[-1] / step[0]) ** 0.65
    ax.set(xlabel="step size h (units of time)", ylabel="error at the end point")
    ax.set_xlim(step[-1] * room, step[0] * 1.25)
    ax.xaxis.set_major_locator(FixedLocator(step.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(_fraction)
    ax.grid(axis="y")
    return figure


def work_and_precision(
    adaptive: Mapping[str, Mapping[str, Any]], fixed: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Achieved error against the tolerance asked for, and against the evaluations it cost.

    Adaptive curves map `tolerance`, `error` and `nfe`; fixed-step ones `error` and `nfe`.
    """
    figure, (left, right) = _figure(4.4, 1, 2, sharey=True)
    looks = {name: {**_look(index), "linestyle": "-"} for index, name in enumerate(fixed)}
    for name, curve in fixed.items():
        right.loglog(curve["nfe"], curve["error"], **{**looks[name], "linestyle": ":"}, mfc="none")
    for name, curve in adaptive.items():
        left.loglog(curve["tolerance"], curve["error"], **looks[name])
        right.loglog(curve["nfe"], curve["error"], **looks[name])
        asked = curve["tolerance"]
    left.loglog(asked, asked, color=GREY, lw=1, ls="--")
    _note(left, "error = tolerance", (asked[len(asked) // 2],) * 2, (7, -7), ha="left")
    left.set(xlabel="tolerance asked for", ylabel="error at the end point")
    right.set(xlabel="evaluations of f")
    for ax in (left, right):
        ax.grid(axis="y")
    handles = [Line2D([], [], **look, label=name) for name, look in looks.items()]
    handles += [Line2D([], [], ls="", label=" ")] * (len(handles) % 2)  # the kinds get a column
    handles.append(Line2D([], [], color=GREY, marker="o", label="adaptive"))
    handles.append(Line2D([], [], color=GREY, marker="o", ls=":", mfc="none", label="fixed step"))
    _legend_above(figure, handles, len(handles) // 2)
    return figure


# Table 1 and Figure 3


def classification_errors(
    models: Sequence[str], estimates: Sequence[Estimate], paper: Sequence[float | None]
) -> Figure:
    """Table 1 as a picture: test error of each model in percent, beside the paper's value."""
    figure, ax = _figure(1.3 + 0.52 * len(models))
    for row, estimate in enumerate(estimates):
        _draw_estimate(ax, row, estimate, upright=False, aside=0.25, look=_look(row))
        if paper[row] is not None:
            ax.plot(paper[row], row, "|", color=GREY, ms=20, mew=2.2)
    ax.set(xlabel="test error (%)", yticks=range(len(models)), yticklabels=models)
    ax.set(xlim=(0, None), ylim=(len(models) - 0.5, -0.5))
    ax.grid(axis="x")
    handles = [
        _mark("o", GREY, "mean"),
        Line2D([], [], lw=3, alpha=0.55, color=GREY, label="95% interval"),
        Line2D([], [], ls="", marker="o", ms=4, mfc="none", color=GREY, label="one seed"),
        Line2D([], [], ls="", marker="|", ms=13, mew=2.2, color=GREY, label="paper"),
    ]
    _legend_above(figure, handles, 4)
    return figure


def evaluations_by_epoch(epochs: Sequence[int], curves: Mapping[str, Sequence[Any]]) -> Figure:
    """Figure 3d: forward evaluations on one fixed batch after each epoch (0: before training).

    `curves` maps a label, such as the tolerance, to one row of evaluations per seed.
    """
    figure, ax = _figure(3.9)
    for index, seeds in enumerate(curves.values()):
        for nfe in seeds:
            ax.plot(epochs, nfe, **_look(index), clip_on=False, zorder=3)
    ax.set(xlabel="epochs of training", ylabel="forward evaluations of f")
    ax.set(xlim=(0, max(epochs)), ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.grid(axis="y")
    handles = [Line2D([], [], **_look(index), label=label) for index, label in enumerate(curves)]
    _legend_above(figure, handles, 3)
    return figure


def cost_by_tolerance(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Figure 3a-c and the accuracy that each tolerance buys: one mark per minibatch.

    Each row maps `tolerance`, `nfe_forward`, `nfe_backward`, `error` (relative; None or 0 for the
    reference itself), `seconds_forward` and `error_pct`.
    """
    figure, axes = _figure(6.6, 2, 2)
    error, seconds, backward, wrong = axes.flat
    tolerances = sorted({row["tolerance"] for row in rows}, reverse=True)
    handles = []
    for index, tolerance in enumerate(tolerances):
        look = _ordered(index, len(tolerances))
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
    _legend_above(figure, handles, 6, title="tolerance", handlelength=1)
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
        _note(backward, label, (most, slope * most), (-2, rise))
    backward.set_xlim(0, most)
    for ax in axes.flat:
        ax.grid(axis="y")


# Figure 8 and Table 2


def spirals(
    truth: np.ndarray,
    observed: Sequence[np.ndarray],
    predictions: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    """Figure 8: curves as each model reconstructs them (solid) and goes on with them (dashed).

    `truth` is (curves, times, 2), `observed` one (points, 2) array per curve, and `predictions`
    maps a model to one pair per curve: its path (., 2) in the observed window and after it.
    """
    height = len(predictions) * (WIDTH - 0.3) / len(truth) + 0.45
    figure, axes = _figure(height, len(predictions), len(truth), squeeze=False)
    dashes = (0, (4, 1.2))
    for row, (model, paths) in zip(axes, predictions.items(), strict=True):
        for ax, curve, points, (window, after) in zip(row, truth, observed, paths, strict=True):
            reach = 1.28 * float(np.abs(curve).max())
            ax.plot(*np.asarray(curve).T, color=GREY, lw=4, alpha=0.45)
            ax.plot(*np.asarray(points).T, "o", color=GREY, ms=2.6)
            ax.plot(*np.asarray(window).T, color=PALETTE[0], lw=1.7)
            ax.plot(*np.asarray(after).T, color=PALETTE[1], lw=1.7, ls=dashes)
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(model)
    handles = [
        Line2D([], [], color=GREY, lw=4, alpha=0.45, label="truth"),
        _mark("o", GREY, "observed", size=2.6),
        Line2D([], [], color=PALETTE[0], label="reconstruction"),
        Line2D([], [], color=PALETTE[1], ls=dashes, label="extrapolation"),
    ]
    _legend_above(figure, handles, 4)
    return figure


def rmse_and_ratio(
    observed: Sequence[int],
    rmse: Mapping[str, Sequence[Estimate]],
    ratio: Mapping[str, Sequence[Estimate]],
    paper: Sequence[float],
) -> Figure:
    """Table 2: extrapolation RMSE of each model, and RNN over latent ODE beside the paper's ratio.

    Every sequence has one entry per number of observed points; a model of `ratio` keeps the look
    that it has in `rmse`.
    """
    figure, (left, right) = _figure(4.8, 1, 2)
    names = list(rmse)
    for ax, models in ((left, rmse), (right, ratio)):
        for model, estimates in models.items():
            index = names.index(model)
            nudge = 0.19 * (index - (len(names) - 1) / 2)
            for place, estimate in enumerate(estimates, start=1):
                look = _look(index)
                _draw_estimate(ax, place + nudge, estimate, upright=True, aside=0.08, look=look)
        ax.set(xticks=range(1, len(observed) + 1), xticklabels=observed)
        ax.set(xlabel="observed points of 100", xlim=(0.5, len(observed) + 0.5), yscale="log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y")
    right.plot(range(1, len(observed) + 1), paper, "_", color=GREY, ms=34, mew=2.2)
    right.axhline(1, color=GREY, lw=1, ls=":")
    left.set(title="extrapolation", ylabel="RMSE (units of the plane)")
    right.set(title="RNN over latent ODE", ylabel="ratio of RMSE")
    handles = [_mark(_look(i)["marker"], _look(i)["color"], name) for i, name in enumerate(names)]
    handles.append(Line2D([], [], ls="", marker="_", ms=15, mew=2.2, color=GREY, label="paper"))
    _legend_above(figure, handles, 2)
    return figure


# The verdicts


def verdicts(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Every claim on its own scale: the measured interval against the band that supports it.

    Each row maps `id`, `where`, `verdict`, `accept`, the (low, high) of the band, infinite where it
    is open, and `value`, `low` and `high`, None where missing.
    """
    figure, axes = _figure(0.62 * len(rows) + 0.9, len(rows), 1, squeeze=False)
    for ax, row in zip(axes[:, 0], rows, strict=True):
        limits = _limits(row)
        if row["value"] is None:
            ax.text(0.5, 0.5, row["verdict"], transform=ax.transAxes, ha="center", va="center")
        else:
            ax.axvspan(*np.clip(row["accept"], *limits), color=PALETTE[2], alpha=0.25, lw=0)
            estimate = {**row, "mean": row["value"]}
            look = VERDICTS[row["verdict"]]
            _draw_estimate(ax, 0.0, estimate, upright=False, aside=0.0, look=look)
        label = [row["id"], *textwrap.wrap(row["where"], 24)]
        ax.set(xlim=limits, ylim=(-1, 1), yticks=[0], yticklabels=["\n".join(label)])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=2))
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelsize=9, length=3, pad=1.5)
        ax.spines["left"].set_visible(False)
    given = {row["verdict"] for row in rows}
    handles = [
        _mark(look["marker"], look["color"], verdict)
        for verdict, look in VERDICTS.items()
        if verdict in given
    ]
    handles.append(Line2D([], [], color=PALETTE[2], lw=9, alpha=0.25, label="supports the claim"))
    _legend_above(figure, handles, 4)
    return figure


def _limits(row: Mapping[str, Any]) -> tuple[float, float]:
    """Limits that show the estimate and the finite ends of the band with air around them."""
    shown = [row["value"], row["low"], row["high"], *row["accept"]]
    finite = [float(value) for value in shown if value is not None and np.isfinite(value)]
    air = 0.25 * (max(finite) - min(finite)) or 0.25 * abs(finite[0]) or 1.0
    return min(finite) - air, max(finite) + air


# What the plots share


def _figure(height: float, rows: int = 1, columns: int = 1, **layout: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, **layout)


def _look(index: int) -> dict[str, Any]:
    """The colour, marker and line style of the curve with this number."""
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def _ordered(index: int, count: int) -> dict[str, Any]:
    """The colour and marker of one of `count` ordered levels, from violet to orange."""
    colour = matplotlib.colormaps["plasma"](0.34 + 0.44 * index / max(count - 1, 1))
    marker = MARKERS[index % len(MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": "", "mec": GREY, "mew": 0.4}


def _draw_estimate(
    ax: Axes, place: float, estimate: Estimate, *, upright: bool, aside: float, look: Mapping
) -> None:
    """Mean (filled) and 95% interval (bar) of an estimate at `place`, its seeds beside them."""

    def points(along: Any, value: Any) -> tuple[Any, Any]:
        return (along, value) if upright else (value, along)

    color = look["color"]
    values = estimate.get("values") or []
    if len(values) > 1:
        beside = np.full(len(values), place + aside)
        ax.plot(*points(beside, values), "o", ms=4, mfc="none", mec=color, mew=1)
    if estimate["low"] is not None:
        ends = [estimate["low"], estimate["high"]]
        ax.plot(*points([place, place], ends), color=color, lw=3, alpha=0.55, solid_capstyle="butt")
    ax.plot(*points(place, estimate["mean"]), look["marker"], color=color, ms=8)


def _mark(marker: str, color: str, label: str, size: float = 8) -> Line2D:
    return Line2D([], [], ls="", marker=marker, ms=size, color=color, label=label)


def _legend_above(figure: Figure, handles: Sequence[Line2D], columns: int, **words: Any) -> None:
    """A legend over the whole figure, where it can cover no data."""
    place = {"loc": "outside upper center", "ncols": columns, "columnspacing": 1.4}
    figure.legend(handles=handles, **{**place, **words})


def _note(ax: Axes, text: str, at: Any, offset: tuple[int, int], **words: Any) -> None:
    """Words that end `offset` points from the data point `at`, or start there if so aligned."""
    ends = {"ha": "right", "va": "center", "fontsize": 9}
    ax.annotate(text, at, offset, textcoords="offset points", **{**ends, **words})


def _fraction(value: float, _: int) -> str:
    """A step size as the fraction it was chosen as: 0.25 is 1/4."""
    return f"{value:g}" if value >= 1 else f"1/{round(1 / value)}"


def _power(value: float) -> str:
    """A tolerance as it is written in the text: 1e-3."""
    return np.format_float_scientific(value, trim="-", exp_digits=1).replace("+", "")


# Tables


def table(columns: Mapping[str, Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, the others to the right; None is empty."""
    rows: list[Sequence[object]] = [list(columns), [":--", *["--:"] * (len(columns) - 1)]]
    rows += zip(*columns.values(), strict=True)
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |" for row in rows
    )


def interval(estimate: Estimate, digits: int) -> str:
    """The mean with its interval, if it has one, to so many decimals: `0.43 [0.31, 0.55]`."""
    mean, low, high = (estimate[key] for key in ("mean", "low", "high"))
    bounds = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{bounds}"
