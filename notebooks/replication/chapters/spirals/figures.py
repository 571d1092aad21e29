"""Figures 8 to 10 and Table 2: what the models of time series predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.plots import estimates, few_ticks, legend, line_of, shaded_path
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


def spirals(title: str, curves: Sequence[Drawn]) -> Figure:
    """Figures 8 and 10: curves as models reconstruct them (solid) and go on with them (dashed).

    Two panels in a row, so that they can be read on a phone too.
    """
    rows = -(-len(curves) // 2)
    figure, axes = new_figure(rows * 3.3 + 0.95, rows, 2, squeeze=False)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    for ax, curve in zip(axes.flat, curves, strict=False):
        _draw_spiral(ax, curve)
    figure.suptitle(title, x=0.02, ha="left", fontsize=14, fontweight="bold")
    legend(figure, 3, loc="outside lower center", fontsize=11.5)
    return figure


def _draw_spiral(ax: Axes, curve: Drawn) -> None:
    reach = 1.1 * float(max(np.abs(curve.truth).max(), np.abs(curve.seen).max()))
    ax.plot(*curve.seen.T, "o", color=GREY, ms=3.2, alpha=0.8, label="observed")
    ax.plot(*curve.window.T, color=PALETTE[0], lw=1.8, label="reconstruction")
    ax.plot(*curve.after.T, color=PALETTE[1], lw=1.8, ls=DASHES, label="extrapolation")
    ax.plot(*curve.truth.T, color=GREY, lw=1, label="truth")
    ax.plot(*curve.truth[0], "s", color=GREY, mfc="none", ms=9, mew=1.8, label="start")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_title(curve.title, fontsize=12)
    _bare(ax)


def _bare(ax: Axes) -> None:
    """No axes: the plane, in which a length is the same in both directions."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


Paths = tuple[np.ndarray, np.ndarray]  # curves (n, times, 2), their directions (n,)


def latent_paths(panels: Mapping[str, Paths]) -> Figure:
    """Figure 8c, a panel for each training: latent paths, marked where they begin."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    height = min(4.4, WIDTH / columns) * rows + 0.8
    figure, axes = new_figure(height, rows, columns, squeeze=False)
    looks = {
        1: ("counter-clockwise", "o", PALETTE[0], "-"),
        -1: ("clockwise", "s", PALETTE[1], DASHES),
    }
    size, width = (4.5, 0.8) if columns == 1 else (2.8, 0.6)
    for ax, (title, (paths, direction)) in zip(axes.flat, panels.items(), strict=False):
        for path, way in zip(paths, direction, strict=True):
            name, marker, color, line = looks[int(way)]
            ax.plot(*path.T, color=color, ls=line, lw=width, alpha=0.6, label=name)
            ax.plot(*path[0], marker, color=color, ms=size, label=f"its start $z_0$, {name}")
        ax.set_title(title, fontsize=11)
        ax.set(xticks=[], yticks=[])
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("first principal axis", fontsize=11)
    figure.supylabel("second", fontsize=11)
    legend(figure, 2)
    return figure


def morph(curves: np.ndarray, place: Sequence[float], turns: Sequence[float]) -> Figure:
    """Figure 9: curves (places, times, 2) decoded along a latent coordinate, in two rows.

    Time runs from violet to orange and from a dot to a cross.
    """
    columns = -(-len(curves) // 2)
    figure, axes = new_figure(2 * ((WIDTH - 0.3) / columns + 0.4), 2, columns)
    reach = 1.1 * float(np.abs(curves).max())
    for ax, curve, at, turned in zip(axes.flat, curves, place, turns, strict=False):
        first, last = shaded_path(ax, curve, 2)
        ax.plot(*curve[0], "o", color=first, ms=6)
        ax.plot(*curve[-1], "X", color=last, ms=7)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set_title(f"$z$ = {at:.1f}\n{turned:+.1f} turns".replace("-", "\u2212"), fontsize=11)
        _bare(ax)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    return figure


Line = tuple[Sequence[float], Sequence[float]]  # latent coordinate, turns of the decoded curve


def turning(lines: Mapping[str, Sequence[Line]]) -> Figure:
    """The turns of decoded curves (ccw positive) along a latent coordinate, in labelled groups."""
    figure, ax = new_figure(3.4)
    for index, (label, group) in enumerate(lines.items()):
        for place, turns in group:
            ax.plot(place, turns, **look_of(index), ms=3, lw=1, alpha=0.8, label=label)
    ax.axhline(0, color=GREY, lw=1, ls=":")
    ax.set(xlabel="latent coordinate", ylabel="turns, counter-clockwise positive")
    ax.grid(axis="y")
    legend(figure, 3)
    return figure


def roll_out(
    curves: Mapping[str, np.ndarray],
    truth: np.ndarray,
    turns: np.ndarray,
    radius: Mapping[str, Sequence[np.ndarray]],
) -> Figure:
    """Figure 8 continued: a curve (times, 2) of each model over the truth, and radii by ``turns``.

    Of a model as many radii (times,) as it has trainings; "truth" among them is drawn in grey.
    """
    figure = Figure(figsize=(WIDTH, 6))
    places: list[Any] = [list(curves), ["radius"] * len(curves)]
    axes = figure.subplot_mosaic(places, height_ratios=[1, 1.45])
    reach = 1.15 * max(float(np.abs(path).max()) for path in [truth, *curves.values()])
    for index, (name, path) in enumerate(curves.items()):
        ax = axes[name]
        ax.plot(*truth.T, color=GREY, lw=3, alpha=0.45)
        ax.plot(*path.T, color=look_of(index)["color"], lw=1.2)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set_title(name, fontsize=11)
        _bare(ax)
    _radii(axes["radius"], turns, radius, list(curves))
    legend(figure, 3)
    return figure


def _radii(ax: Axes, turns: np.ndarray, radius: Mapping[str, Any], names: list[str]) -> None:
    for name, lines in radius.items():
        true = name not in names
        look = {"color": GREY, "lw": 4, "alpha": 0.45} if true else line_of(names.index(name))
        for line in lines:
            ax.plot(turns, line, **{"lw": 1.1, **look}, label=name)
    ax.set(xlabel="turns after the window", ylabel="median radius", yscale="log")
    few_ticks(ax.yaxis)
    ax.grid(axis="y")


def ratios(
    observed: Sequence[int],
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]],
    paper: Sequence[float],
) -> Figure:
    """Table 2: the RMSE of an RNN over that of a latent ODE, a panel for each pair of models.

    Each family of spirals has one estimate per number of observed points, and so has the paper.
    """
    rows = -(-len(panels) // 2)
    figure, axes = new_figure(rows * 2.7 + 0.5, rows, 2, squeeze=False, sharex=True, sharey=True)
    for ax, (title, families) in zip(axes.flat, panels.items(), strict=False):
        estimates(ax, observed, families, list(families))
        ax.plot(paper, "_", color=GREY, ms=30, mew=2.2)
        ax.plot([], [], "_", color=GREY, ms=15, mew=2.2, label="paper")
        ax.axhline(1, color=GREY, lw=1.2, ls=":")
        ax.set_title(title)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("observed points of 100", fontsize=11)
    figure.supylabel("RMSE of the RNN / of the latent ODE", fontsize=11)
    legend(figure, 3)
    return figure
