"""Figure 8 and Table 2: what the models of time series predict."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from odenet.figures.style import (
    GREY,
    PALETTE,
    WIDTH,
    Estimate,
    draw_estimate,
    legend_above,
    look_of,
    mark,
    new_figure,
)


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
    figure, axes = new_figure(height, len(predictions), len(truth), squeeze=False)
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
        mark("o", GREY, "observed", size=2.6),
        Line2D([], [], color=PALETTE[0], label="reconstruction"),
        Line2D([], [], color=PALETTE[1], ls=dashes, label="extrapolation"),
    ]
    legend_above(figure, handles, 4)
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
