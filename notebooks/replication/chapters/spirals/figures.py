"""Figures 8 to 10 and Table 2: what the models of time series predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from replication.style import (
    GREY,
    PALETTE,
    WIDTH,
    Estimate,
    draw_estimate,
    legend_above,
    level_of,
    look_of,
    mark,
    new_figure,
)

DASHES = (0, (4, 1.2))
CLOCKWISE = (PALETTE[1], DASHES)


@dataclass(frozen=True)
class Drawn:
    """A curve and what a model makes of it, all as arrays (points, 2).

    `window` is its path where observations were made, `after` how it goes on; either may be empty.
    """

    truth: np.ndarray
    seen: np.ndarray
    window: np.ndarray
    after: np.ndarray
    title: str = ""


def spirals(rows: Mapping[str, Sequence[Drawn]]) -> Figure:
    """Figures 8 and 10: curves as models reconstruct them (solid) and go on with them (dashed).

    A labelled row of curves each, equally many in each row.
    """
    columns = len(next(iter(rows.values())))
    titled = any(curve.title for row in rows.values() for curve in row)
    height = len(rows) * ((WIDTH - 0.3) / columns + 0.2 * titled) + 0.45
    figure, axes = new_figure(height, len(rows), columns, squeeze=False)
    for row, (label, curves) in zip(axes, rows.items(), strict=True):
        for ax, curve in zip(row, curves, strict=True):
            _draw_spiral(ax, curve)
        row[0].set_ylabel(label)
    handles = [
        Line2D([], [], color=GREY, lw=4, alpha=0.45, label="truth"),
        mark("o", GREY, "observed", size=2.6),
        Line2D([], [], color=PALETTE[0], label="reconstruction"),
        Line2D([], [], color=PALETTE[1], ls=DASHES, label="extrapolation"),
    ]
    legend_above(figure, handles, 4)
    return figure


def _draw_spiral(ax: Axes, curve: Drawn) -> None:
    reach = 1.28 * float(np.abs(curve.truth).max())
    ax.plot(*np.asarray(curve.truth).T, color=GREY, lw=4, alpha=0.45)
    ax.plot(*np.asarray(curve.seen).T, "o", color=GREY, ms=2.6)
    ax.plot(*np.asarray(curve.window).T, color=PALETTE[0], lw=1.7)
    ax.plot(*np.asarray(curve.after).T, color=PALETTE[1], lw=1.7, ls=DASHES)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_title(curve.title, fontsize=9.5)
    _bare(ax)


def _bare(ax: Axes) -> None:
    """No axes: the plane, in which a length is the same in both directions."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def latent_paths(paths: np.ndarray, direction: np.ndarray, variance: Sequence[float]) -> Figure:
    """Figure 8c: latent paths (curves, times, 2), a dot where each begins, by direction.

    `variance`: the share of the variance along either axis.
    """
    figure, ax = new_figure(4.4)
    looks = {1: ("counter-clockwise", "o", PALETTE[0], "-"), -1: ("clockwise", "s", *CLOCKWISE)}
    for path, way in zip(paths, direction, strict=True):
        _, marker, color, line = looks[int(way)]
        ax.plot(*path.T, color=color, ls=line, lw=0.8, alpha=0.6)
        ax.plot(*path[0], marker, color=color, ms=4.5)
    first, second = (f"{share:.0%} of the variance" for share in variance)
    ax.set(xlabel=f"first principal axis ({first})", ylabel=f"second ({second})")
    handles = [
        Line2D([], [], color=color, ls=line, marker=marker, ms=4.5, label=f"{way} (mark: $z_0$)")
        for way, marker, color, line in looks.values()
    ]
    legend_above(figure, handles, 2)
    return figure


def morph(curves: np.ndarray, place: Sequence[float], turns: Sequence[float]) -> Figure:
    """Figure 9: curves (places, times, 2) decoded along a latent coordinate, in two rows.

    Time runs from violet to orange and from a dot to a cross.
    """
    columns = -(-len(curves) // 2)
    figure, axes = new_figure(2 * ((WIDTH - 0.3) / columns + 0.3), 2, columns)
    reach = 1.1 * float(np.abs(curves).max())
    for ax, curve, at, turned in zip(axes.flat, curves, place, turns, strict=False):
        for i in range(len(curve) - 1):
            color = level_of(i, len(curve) - 1)["color"]
            ax.plot(*curve[i : i + 2].T, color=color, lw=2, solid_capstyle="round")
        ax.plot(*curve[0], "o", color=level_of(0, 2)["color"], ms=6)
        ax.plot(*curve[-1], "X", color=level_of(1, 2)["color"], ms=7)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set_title(f"$z$ = {at:.1f}\n{turned:+.1f} turns".replace("-", "\u2212"), fontsize=9.5)
        _bare(ax)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    return figure


def turning(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """The turns of the decoded curve (ccw positive) against a latent coordinate, a line each."""
    figure, ax = new_figure(3.4)
    for index, (label, (place, turns)) in enumerate(lines.items()):
        ax.plot(place, turns, **look_of(index), ms=4.5, lw=1.2, label=label)
    ax.axhline(0, color=GREY, lw=1, ls=":")
    ax.set(xlabel="latent coordinate", ylabel="turns, counter-clockwise positive")
    ax.grid(axis="y")
    legend_above(figure, ax.get_legend_handles_labels()[0], 5)
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
    figure, (left, right) = new_figure(4.8, 1, 2)
    names = list(rmse)
    for ax, models in ((left, rmse), (right, ratio)):
        for model, estimates in models.items():
            index = names.index(model)
            nudge = 0.19 * (index - (len(names) - 1) / 2)
            for place, estimate in enumerate(estimates, start=1):
                look = look_of(index)
                draw_estimate(ax, place + nudge, estimate, upright=True, aside=0.08, look=look)
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
    handles = [
        mark(look_of(i)["marker"], look_of(i)["color"], name) for i, name in enumerate(names)
    ]
    handles.append(Line2D([], [], ls="", marker="_", ms=15, mew=2.2, color=GREY, label="paper"))
    legend_above(figure, handles, 2)
    return figure
