"""Table 1 as a picture."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from odenet.figures.style import (
    GREY,
    Estimate,
    draw_estimate,
    legend_above,
    look_of,
    mark,
    new_figure,
)


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
