"""Table 1 as pictures: errors, how they came down, and the digits behind them."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replication.plots import few_ticks, legend, medians
from replication.style import GREY, Estimate, draw_estimate, look_of, new_figure

COLUMNS = 6  # of digits


def classification_errors(
    models: Sequence[str], estimates: Sequence[Estimate], paper: Sequence[float | None]
) -> Figure:
    """Table 1 as a picture: test error of each model in percent, beside the paper's value."""
    figure, ax = new_figure(1.3 + 0.52 * len(models))
    for row, (estimate, printed) in enumerate(zip(estimates, paper, strict=True)):
        draw_estimate(ax, row, estimate, upright=False, aside=0.25, look=look_of(row))
        if printed is not None:
            ax.plot(printed, row, "|", color=GREY, ms=20, mew=2.2)
    ax.plot([], [], "o", color=GREY, ms=8, label="mean")
    ax.plot([], [], lw=3, alpha=0.55, color=GREY, label="95% interval")
    ax.plot([], [], "o", ms=4, mfc="none", color=GREY, label="one seed")
    ax.plot([], [], "|", ms=13, mew=2.2, color=GREY, label="paper")
    ax.set(xlabel="test error (%)", yticks=range(len(models)), yticklabels=models)
    ax.set(xlim=(0, None), ylim=(len(models) - 0.5, -0.5))
    ax.grid(axis="x")
    legend(figure, 4)
    return figure


def learning_curves(
    epochs: Sequence[int], curves: Mapping[str, Sequence[Sequence[float]]]
) -> Figure:
    """Validation error of each model in percent after each epoch; a row for each seed."""
    figure, ax = new_figure(3.9)
    for index, (model, seeds) in enumerate(curves.items()):
        medians(ax, epochs, seeds, **look_of(index), label=model)
    ax.set(xlabel="epochs of training", ylabel="validation error (%)", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    few_ticks(ax.yaxis)
    ax.grid(axis="y")
    legend(figure, 4)
    return figure


def digits(
    images: Sequence[Any], labels: Sequence[int], predicted: Sequence[int], margins: Sequence[float]
) -> Figure:
    """Images (28, 28) of digits, above each "label -> prediction" and the margin of the logits.

    There must be one or more.
    """
    rows = ceil(len(images) / COLUMNS)
    figure, axes = new_figure(1.45 * rows, rows, COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    said = zip(images, labels, predicted, margins, strict=True)
    for ax, (image, label, instead, margin) in zip(axes.flat, said, strict=False):
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(f"{label} → {instead}\n{margin:.1f}", fontsize=11, loc="center", pad=3)
    return figure
