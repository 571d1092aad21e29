"""Figures 8 to 10 and Table 2: what the models of time series predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.plots import estimates, legend, shaded_path
from replication.style import GREY, PALETTE, WIDTH, Estimate, look_of, new_figure

DASHES = (0, (4, 1.2))


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
    legend(figure, 4)
    return figure


def _draw_spiral(ax: Axes, curve: Drawn) -> None:
    reach = 1.28 * float(np.abs(curve.truth).max())
    ax.plot(*curve.truth.T, color=GREY, lw=4, alpha=0.45, label="truth")
    ax.plot(*curve.seen.T, "o", color=GREY, ms=2.6, label="observed")
    ax.plot(*curve.window.T, color=PALETTE[0], lw=1.7, label="reconstruction")
    ax.plot(*curve.after.T, color=PALETTE[1], lw=1.7, ls=DASHES, label="extrapolation")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_title(curve.title, fontsize=9.5)
    _bare(ax)


def _bare(ax: Axes) -> None:
    """No axes: the plane, in which a length is the same in both directions."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def latent_paths(paths: np.ndarray, direction: np.ndarray, variance: Sequence[float]) -> Figure:
    """Figure 8c: latent paths (curves, times, 2), a mark where each begins, by direction.

    `variance`: the share of the variance along either axis.
    """
    figure, ax = new_figure(4.4)
    looks = {
        1: ("counter-clockwise", "o", PALETTE[0], "-"),
        -1: ("clockwise", "s", PALETTE[1], DASHES),
    }
    for path, way in zip(paths, direction, strict=True):
        name, marker, color, line = looks[int(way)]
        ax.plot(*path.T, color=color, ls=line, lw=0.8, alpha=0.6, label=name)
        ax.plot(*path[0], marker, color=color, ms=4.5, label=f"its start $z_0$, {name}")
    first, second = (f"{share:.0%} of the variance" for share in variance)
    ax.set(xlabel=f"first principal axis ({first})", ylabel=f"second ({second})")
    legend(figure, 2)
    return figure


def morph(curves: np.ndarray, place: Sequence[float], turns: Sequence[float]) -> Figure:
    """Figure 9: curves (places, times, 2) decoded along a latent coordinate, in two rows.

    Time runs from violet to orange and from a dot to a cross.
    """
    columns = -(-len(curves) // 2)
    figure, axes = new_figure(2 * ((WIDTH - 0.3) / columns + 0.3), 2, columns)
    reach = 1.1 * float(np.abs(curves).max())
    for ax, curve, at, turned in zip(axes.flat, curves, place, turns, strict=False):
        first, last = shaded_path(ax, curve, 2)
        ax.plot(*curve[0], "o", color=first, ms=6)
        ax.plot(*curve[-1], "X", color=last, ms=7)
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
    legend(figure, 5)
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
    estimates(left, observed, rmse, list(rmse))
    estimates(right, observed, ratio, list(rmse))
    right.plot(paper, "_", color=GREY, ms=34, mew=2.2)
    right.plot([], [], "_", color=GREY, ms=15, mew=2.2, label="paper")
    right.axhline(1, color=GREY, lw=1, ls=":")
    left.set(title="extrapolation", ylabel="RMSE (units of the plane)")
    right.set(title="RNN over latent ODE", ylabel="ratio of RMSE")
    for ax in (left, right):
        ax.set_xlabel("observed points of 100")
    legend(figure, 2)
    return figure
