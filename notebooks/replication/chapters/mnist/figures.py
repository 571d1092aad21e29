"""Table 1 as pictures: errors, how they came down, and the digits behind them."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from replication.style import (
    GREY,
    Estimate,
    draw_estimate,
    legend_above,
    look_of,
    mark,
    new_figure,
    plain_log,
)

COLUMNS = 8  # of digits


def classification_errors(
    models: Sequence[str], estimates: Sequence[Estimate], paper: Sequence[float | None]
) -> Figure:
    """Table 1 as a picture: test error of each model in percent, beside the paper's value."""
    figure, ax = new_figure(1.3 + 0.52 * len(models))
    for row, estimate in enumerate(estimates):
        draw_estimate(ax, row, estimate, upright=False, aside=0.25, look=look_of(row))
        if paper[row] is not None:
            ax.plot(paper[row], row, "|", color=GREY, ms=20, mew=2.2)
    ax.set(xlabel="test error (%)", yticks=range(len(models)), yticklabels=models)
    ax.set(xlim=(0, None), ylim=(len(models) - 0.5, -0.5))
    ax.grid(axis="x")
    handles = [
        mark("o", GREY, "mean"),
        Line2D([], [], lw=3, alpha=0.55, color=GREY, label="95% interval"),
        Line2D([], [], ls="", marker="o", ms=4, mfc="none", color=GREY, label="one seed"),
        Line2D([], [], ls="", marker="|", ms=13, mew=2.2, color=GREY, label="paper"),
    ]
    legend_above(figure, handles, 4)
    return figure


def learning_curves(
    epochs: Sequence[int], curves: Mapping[str, Sequence[Sequence[float]]]
) -> Figure:
    """Validation error in percent after each epoch: a line of each model's mean, a dot per seed."""
    figure, ax = new_figure(3.9)
    handles = []
    for index, (model, seeds) in enumerate(curves.items()):
        look = look_of(index)
        ax.plot(epochs, np.mean(seeds, axis=0), **look)
        if len(seeds) > 1:
            for errors in seeds:
                ax.plot(epochs, errors, ".", color=look["color"], ms=4, alpha=0.7)
        handles.append(Line2D([], [], **look, label=model))
    ax.set(xlabel="epochs of training", ylabel="validation error (%)", yscale="log")
    ax.set_xlim(min(epochs) - 0.25, max(epochs) + 0.25)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    plain_log(ax.yaxis)
    ax.grid(axis="y")
    legend_above(figure, handles, 4)
    return figure


def digits(
    images: Sequence[Any], labels: Sequence[int], predicted: Sequence[int], margins: Sequence[float]
) -> Figure:
    """Images (28, 28) of digits, above each "label -> prediction" and the margin of the logits.

    There must be one or more.
    """
    rows = ceil(len(images) / COLUMNS)
    figure, axes = new_figure(1.15 * rows, rows, COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, *said in zip(axes.flat, images, labels, predicted, margins, strict=False):
        label, instead, margin = said
        ax.imshow(np.asarray(image), cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(f"{label} → {instead}\n{margin:.1f}", fontsize=9, loc="center", pad=3)
    return figure
