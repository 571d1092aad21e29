"""The paper's Figures 4 and 5: densities that flows were trained to have, and how far they got."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from replication.plots import estimates, few_ticks, legend, line_of
from replication.style import GREY, PALETTE, WIDTH, Estimate, look_of, new_figure

Curves = Mapping[str, tuple[Sequence[float], Sequence[Sequence[float]]]]
COLOURS = {"target": GREY, "planar": PALETTE[1], "continuous": PALETTE[0]}
DPI = 200  # of the parts that are pixels


def densities(
    columns: Sequence[tuple[str, str]], rows: Mapping[str, Sequence[np.ndarray]], reach: float
) -> Figure:
    """The paper's Figure 4: a row of densities for each target, on [-reach, reach]^2.

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
    """The paper's Figure 5: densities and samples at ever later parts of the way, and the data.

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
    colours = LinearSegmentedColormap.from_list("density", [to_rgba(color, at) for at in (0, 1)])
    edges = (-reach, reach, -reach, reach)
    shown = ax.imshow(image, colours, origin="lower", extent=edges, interpolation="bilinear")
    shown.set_clim(0, highest)


def by_size(
    sizes: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[Estimate]]], label: str
) -> Figure:
    """A panel for each target: estimates against size, a curve for each way of training."""
    figure, axes = new_figure(4.2, 1, len(panels), sharey=True, squeeze=False)
    for ax, (title, ways) in zip(axes[0], panels.items(), strict=True):
        estimates(ax, sizes, ways, list(ways))
        ax.set(title=title, xlabel="units or layers")
    axes[0, 0].set_ylabel(label)
    legend(figure, 2)
    return figure


def by_time(panels: Mapping[str, Sequence[Mapping[str, Any]]], label: str) -> Figure:
    """A panel for each target: divergence against the seconds that one training took.

    Each row maps `size`, `continuous`, a pair (seconds, value), and `planar`, a sequence of such
    pairs, one for each number of gradient steps.
    """
    figure, axes = new_figure(4.2, 1, len(panels), sharey=True, squeeze=False)
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for index, row in enumerate(rows):
            look = look_of(index)
            ax.plot(*np.transpose(row["planar"]), **{**look, "mfc": "none", "lw": 1.2})
            style = {"color": look["color"], "ms": 9, "label": f"size {row['size']}"}
            ax.plot(*row["continuous"], look["marker"], **style)
        ax.plot([], [], "o", color=GREY, label="continuous")
        ax.plot([], [], "o-", color=GREY, mfc="none", lw=1.2, label="planar layers")
        ax.set(title=title, xscale="log", yscale="log", xlabel="seconds")
        ax.xaxis.set_minor_locator(NullLocator())
        few_ticks(ax.yaxis)
        ax.grid(axis="y")
    axes[0, 0].set_ylabel(label)
    legend(figure, 4)
    return figure


def learning(panels: Mapping[str, Curves], labels: tuple[str, str], *, log: bool = True) -> Figure:
    """A panel each, curves over the steps: the median of the seeds in a band from least to most.

    A name stands for the same way of training in every panel; `labels` are those of the axes.
    """
    figure, axes = new_figure(4.2, 1, len(panels), squeeze=False, sharey=log)
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for index, (name, (steps, seeds)) in enumerate(curves.items()):
            look = line_of(index)
            ax.plot(steps, np.median(seeds, 0), **look, label=name)
            ends = np.min(seeds, 0), np.max(seeds, 0)
            ax.fill_between(steps, *ends, color=look["color"], alpha=0.18, lw=0)
        ax.set(title=title, xlabel=labels[0], xlim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
        ax.grid(axis="y")
        if log:
            ax.set_yscale("log")
            few_ticks(ax.yaxis)
        else:
            ax.set_ylim(0, None)
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel(labels[1])
    legend(figure, 2)
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
    look = {**look_of(2), "linestyle": "", "mfc": "none"}
    left.loglog(probes, np.transpose(errors), **look, label="one seed")
    falling = np.exp(np.log(errors)[:, 0].mean()) * np.sqrt(probes[0] / np.asarray(probes))
    left.loglog(probes, falling, color=GREY, lw=1, ls="--", label="one over square root")
    left.set(title="Hutchinson's estimate", xlabel="noise vectors", ylabel="error (nats)")
    left.xaxis.set_major_locator(FixedLocator(list(probes)))
    left.xaxis.set_major_formatter("{x:g}")
    times = {
        "forward": (look_of(0), costs, "forward"),
        "with backward": (look_of(1), costs, "both"),
        "determinant": (look_of(3), determinants, "seconds"),
    }
    for label, (look, rows, name) in times.items():
        units = [row["units"] for row in rows]
        right.loglog(units, [1e3 * row[name] for row in rows], **look, label=label)
    for rows, name, power in ((costs, "forward", 1), (determinants, "seconds", 3)):
        ends = np.array([rows[0]["units"], rows[-1]["units"]])
        expected = rows[0][name] * (ends / ends[0]) ** power  # by the paper
        right.loglog(ends, 1e3 * expected, color=GREY, lw=1, ls=":", zorder=1, label="the paper")
    right.set(title="cost of the width", xlabel="units", ylabel="ms")
    for ax in (left, right):
        ax.xaxis.set_minor_locator(NullLocator())
        few_ticks(ax.yaxis)
        ax.grid(axis="y")
    legend(figure, 3)
    return figure
