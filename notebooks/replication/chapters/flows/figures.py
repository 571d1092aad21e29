"""Figures 4 and 5: densities that flows were trained to have, and how far they got."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from replication.style import (
    GREY,
    PALETTE,
    WIDTH,
    Estimate,
    draw_estimate,
    legend_above,
    look_of,
    mark,
    new_figure,
    note,
)

Curves = Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
COLOURS = {"target": GREY, "planar": PALETTE[1], "continuous": PALETTE[0]}
DPI = 200  # of the parts that are pixels


def densities(
    columns: Sequence[tuple[str, str]], rows: Mapping[str, Sequence[np.ndarray]], reach: float
) -> Figure:
    """Figure 4: a row of densities for each target, on [-reach, reach]^2.

    Each column is a title and what the density is of: target, planar or continuous. Each density
    is (n, n), its first row at the bottom; the darkest colour is the target's highest value.
    """
    figure, axes = _tiles(len(rows), len(columns))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image, (title, kind) in zip(line, images, columns, strict=True):
            _draw_density(ax, image, COLOURS[kind], float(np.max(images[0])), reach)
            ax.set_title(title if ax in axes[0] else "", fontsize=10)
        line[0].set_ylabel(name, fontsize=10)
    return figure


def along_the_way(
    titles: Sequence[str],
    rows: Sequence[tuple[str, str, Sequence[np.ndarray]]],
    reach: float,
) -> Figure:
    """Figure 5: densities and samples at ever later parts of the way, and the data beside them.

    Each row is a label, what it is of (planar or continuous), and one array for each title: a
    density (n, n) or points (n, 2).
    """
    figure, axes = _tiles(len(rows), len(titles))
    for line, (name, kind, arrays) in zip(axes, rows, strict=True):
        for i, (ax, array) in enumerate(zip(line, arrays, strict=True)):
            color = COLOURS[kind if i < len(titles) - 1 else "target"]
            if array.shape[1] == 2:
                look = {"ms": 1.6, "mew": 0, "alpha": 0.7, "rasterized": True}
                ax.plot(*array.T, "o", color=color, **look)
            else:
                _draw_density(ax, array, color, float(np.max(array)), reach)
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
            ax.set_title(titles[i] if ax in axes[0] else "", fontsize=10)
        line[0].set_ylabel(name, fontsize=10)
    return figure


def _tiles(rows: int, columns: int) -> tuple[Figure, Any]:
    """Small square panels without ticks."""
    height = rows * (WIDTH - 0.3) / columns + 0.35
    figure, axes = new_figure(height, rows, columns, squeeze=False)
    figure.set_dpi(DPI)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(True)
        ax.spines[:].set(color=GREY, alpha=0.35)
    return figure, axes


def _draw_density(ax: Axes, image: np.ndarray, color: str, highest: float, reach: float) -> None:
    """From transparent to the colour, so that any page shows through."""
    rgb = to_rgb(color)
    colours = LinearSegmentedColormap.from_list("density", [(*rgb, 0.0), (*rgb, 1.0)])
    edges = (-reach, reach, -reach, reach)
    shown = ax.imshow(image, colours, origin="lower", extent=edges, interpolation="bilinear")
    shown.set_clim(0, highest)


def by_size(
    sizes: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[Estimate]]], label: str
) -> Figure:
    """A panel for each target: estimates against size, a curve for each way of training."""
    figure, axes = new_figure(4.2, 1, len(panels), sharey=True, squeeze=False)
    for ax, (title, ways) in zip(axes[0], panels.items(), strict=True):
        for index, estimates in enumerate(ways.values()):
            look = look_of(index)
            nudge = 0.13 * (index - (len(ways) - 1) / 2)
            places = np.arange(len(sizes)) + nudge
            style = {**look, "marker": "", "lw": 1.2, "alpha": 0.7}
            ax.plot(places, [estimate["mean"] for estimate in estimates], **style)
            for place, estimate in zip(places, estimates, strict=True):
                draw_estimate(ax, place, estimate, upright=True, aside=0.0, look=look)
        ax.set(title=title, xticks=range(len(sizes)), xticklabels=sizes, yscale="log")
        ax.set(xlabel="units or layers", xlim=(-0.5, len(sizes) - 0.5))
        _decades(ax)
    axes[0, 0].set_ylabel(label)
    ways = next(iter(panels.values()))
    handles = [mark(look_of(i)["marker"], look_of(i)["color"], way) for i, way in enumerate(ways)]
    legend_above(figure, handles, 2)
    return figure


def by_time(panels: Mapping[str, Sequence[Mapping[str, Any]]], label: str) -> Figure:
    """A panel for each target: divergence against the seconds that one training took.

    Each row maps `size`, `continuous`, a pair (seconds, value), and `planar`, a sequence of such
    pairs, one for each number of gradient steps.
    """
    figure, axes = new_figure(4.2, 1, len(panels), sharey=True, squeeze=False)
    sizes = [row["size"] for row in next(iter(panels.values()))]
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for row in rows:
            look = look_of(sizes.index(row["size"]))
            ax.plot(*zip(*row["planar"], strict=True), **{**look, "mfc": "none", "lw": 1.2})
            ax.plot(*row["continuous"], look["marker"], color=look["color"], ms=9)
        ax.set(title=title, xscale="log", yscale="log", xlabel="seconds")
        ax.xaxis.set_minor_locator(NullLocator())
        _decades(ax)
    axes[0, 0].set_ylabel(label)
    handles = [
        mark(look_of(i)["marker"], look_of(i)["color"], f"size {size}")
        for i, size in enumerate(sizes)
    ]
    handles += [
        mark("o", GREY, "continuous"),
        Line2D([], [], color=GREY, marker="o", mfc="none", lw=1.2, label="planar layers"),
    ]
    legend_above(figure, handles, 4)
    return figure


def learning(panels: Mapping[str, Curves], labels: tuple[str, str], *, log: bool = True) -> Figure:
    """A panel each, curves over the steps: the median of the seeds in a band from least to most.

    The panels of one row share neither curves nor labels; `labels` are those of the axes.
    """
    figure, axes = new_figure(4.2, 1, len(panels), squeeze=False, sharey=log)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, (steps, seeds) in curves.items():
            look = {**look_of(names.index(name)), "marker": ""}
            values = np.asarray(seeds, float)
            ax.plot(steps, np.median(values, 0), **look)
            ends = (values.min(0), values.max(0))
            ax.fill_between(steps, *ends, color=look["color"], alpha=0.18, lw=0)
        ax.set(title=title, xlabel=labels[0], xlim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        if log:
            ax.set_yscale("log")
            _decades(ax)
        else:
            ax.set_ylim(0, None)
            ax.grid(axis="y")
    axes[0, 0].set_ylabel(labels[1])
    handles = [
        Line2D([], [], **{**look_of(i), "marker": ""}, label=name) for i, name in enumerate(names)
    ]
    legend_above(figure, handles, 2 if len(handles) in (2, 4) else 3)
    return figure


def estimate_and_width(
    probes: Sequence[int],
    errors: Sequence[Sequence[float]],
    costs: Sequence[Mapping[str, float]],
    determinants: Sequence[Mapping[str, float]],
) -> Figure:
    """Left: error of the estimated log-density by noise vectors; right: time by width.

    `errors` has a row for each seed; `costs` rows map `units`, `forward` and `both`, in seconds;
    `determinants` rows map `units` and `seconds`.
    """
    figure, (left, right) = new_figure(4.4, 1, 2)
    values = np.asarray(errors, float)
    for row in values:
        left.loglog(probes, row, **{**look_of(2), "linestyle": "", "mfc": "none"})
    guide = np.exp(np.log(values[:, 0]).mean()) * np.sqrt(probes[0] / np.asarray(probes, float))
    left.loglog(probes, guide, color=GREY, lw=1, ls="--")
    note(left, "one over\nsquare root", (probes[-1], guide[-1]), (-34, 0))
    left.set(title="Hutchinson's estimate", xlabel="noise vectors", ylabel="error (nats)")
    left.xaxis.set_major_locator(FixedLocator(list(probes)))
    left.xaxis.set_major_formatter("{x:g}")
    units = [row["units"] for row in costs]
    for index, name in enumerate(("forward", "both")):
        right.loglog(units, [1e3 * row[name] for row in costs], **look_of(index))
    right.loglog(
        [row["units"] for row in determinants],
        [1e3 * row["seconds"] for row in determinants],
        **look_of(3),
    )
    right.set(title="cost of the width", xlabel="units", ylabel="ms")
    for ax in (left, right):
        ax.xaxis.set_minor_locator(NullLocator())
        _decades(ax)
    handles = [
        Line2D([], [], **{**look_of(2), "linestyle": "", "mfc": "none"}, label="one seed"),
        Line2D([], [], **look_of(0), label="forward"),
        Line2D([], [], **look_of(1), label="with backward"),
        Line2D([], [], **look_of(3), label="determinant"),
    ]
    legend_above(figure, handles, 4)
    return figure


def _decades(ax: Axes) -> None:
    """A few round numbers on a logarithmic axis, however short it is."""
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 200 * low else (1, 2, 5)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y")
