"""What later work found: paths that may not cross, steps, penalties, and time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from replication.plots import few_ticks, legend, medians
from replication.style import PALETTE, look_of, new_figure

ADDED = ("no added channel", "one added channel")  # the keys of what is drawn by channels


def paths(
    line: Sequence[Any], ring: Sequence[Any], wanted: Mapping[str, Sequence[float]]
) -> Figure:
    """Paths from time 0 (circles) to time 1 (dots), without and with an added channel.

    `line` and `ring` hold arrays (times, points, coordinates), the plain one first; `wanted` has
    what is asked of each point of both, whose sign gives the colour. With an added channel, the
    last coordinate is drawn upwards; of points in the plane, against the radius.
    """
    figure, axes = new_figure(6.4, 2, 2)
    for row, (name, both) in zip(axes, {"line": line, "ring": ring}.items(), strict=True):
        colours = [PALETTE[1] if sign > 0 else PALETTE[0] for sign in wanted[name]]
        for ax, states, title in zip(row, map(np.asarray, both), ADDED, strict=True):
            across, up = _drawn(states)
            for x, y, colour in zip(across.T, up.T, colours, strict=True):
                ax.plot(x, y, color=colour, lw=0.8, alpha=0.7)
                ax.plot(x[0], y[0], "o", ms=4, mfc="none", mec=colour, mew=0.8)
                ax.plot(x[-1], y[-1], "o", ms=3.5, color=colour)
            ax.set_title(f"{name}: {title}")
    axes[0, 0].set(xlabel="time", ylabel="state")
    axes[0, 1].set(xlabel="state", ylabel="added channel")
    axes[1, 0].set(xlabel="first coordinate", ylabel="second coordinate")
    axes[1, 1].set(xlabel="radius", ylabel="added channel")
    return figure


def _drawn(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is drawn across and upwards, each (times, points)."""
    if states.shape[2] == 1:
        times = np.linspace(0, 1, len(states))[:, None]
        return np.broadcast_to(times, states.shape[:2]), states[..., 0]
    if states.shape[2] == 3:
        return np.hypot(states[..., 0], states[..., 1]), states[..., 2]
    return states[..., 0], states[..., 1]


def evaluations(problems: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure:
    """Evaluations in training, a panel for each problem, a line for each seed.

    A problem has histories (`step`, `nfe`) by seed, first those without an added channel.
    """
    figure, axes = new_figure(3.6, 1, len(problems), sharey=True, squeeze=False)
    for ax, (name, both) in zip(axes[0], problems.items(), strict=True):
        for index, (label, histories) in enumerate(zip(ADDED, both, strict=True)):
            look = {**look_of(index), "marker": "", "lw": 1.4}
            for history in histories:
                ax.plot(history["step"], history["nfe"], **look, label=label)
        ax.set(title=name, xlabel="gradient steps")
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("evaluations at 1e-5")
    axes[0, 0].set_ylim(0)  # of all panels, when all is drawn
    legend(figure, 2)
    return figure


def errors_by_steps(errors: pd.DataFrame) -> Figure:
    """Test errors with other solvers than that of the training.

    `errors`: columns `training`, `seed`, `solver` and `error` (per cent); medians over the seeds,
    and bars from the least to the largest. Solvers stand in the order in which they come.
    """
    figure, ax = new_figure(4.2)
    solvers = list(dict.fromkeys(errors.solver))
    for index, (training, rows) in enumerate(errors.groupby("training", sort=False)):
        by_seed = rows.pivot(index="seed", columns="solver", values="error")[solvers]
        at = np.arange(len(solvers)) + 0.07 * (index - 2)
        medians(ax, at.tolist(), by_seed, **{**look_of(index), "ms": 6, "lw": 1.2}, label=training)
    ax.set(xlabel="solver in the test", ylabel="test error (%)")
    ax.set_xticks(range(len(solvers)), solvers)
    ax.grid(axis="y")
    legend(figure, 3, title="trained with")
    return figure


def cost_and_loss(panels: Mapping[str, pd.DataFrame], losses: Mapping[str, str]) -> Figure:
    """Evaluations against the loss, a mark for each training, by the weight of its penalty.

    A panel has the columns `penalty`, `nfe` and `loss`; `losses` says what its loss is.
    """
    figure, axes = new_figure(4.0, 1, len(panels), squeeze=False)
    weights = sorted({weight for rows in panels.values() for weight in rows.penalty})
    for ax, (name, rows) in zip(axes[0], panels.items(), strict=True):
        for index, weight in enumerate(weights):
            own = rows[rows.penalty == weight]
            look = {**look_of(index), "linestyle": "", "ms": 7}
            ax.plot(own.nfe, own.loss, **look, label=f"{weight:g}" if weight else "none")
        ax.set(title=name, xlabel="evaluations at 1e-5", ylabel=losses[name])
        ax.set_xlim(0, 1.08 * rows.nfe.max())
        ax.grid()
    legend(figure, len(weights), title="weight of the penalty", handlelength=1)
    return figure


def likelihood_by_time(panels: Mapping[str, Mapping[str, Sequence[Any]]]) -> Figure:
    """What a likelihood costs: nats above the true density, by processor time, a line a seed.

    A panel maps the name of a training to a (seconds, nats) pair of arrays for each seed.
    """
    figure, axes = new_figure(4.0, 1, len(panels), sharey=True, squeeze=False)
    for ax, (name, trainings) in zip(axes[0], panels.items(), strict=True):
        for index, (label, curves) in enumerate(trainings.items()):
            look = {**look_of(index), "marker": "", "lw": 1.4}
            for seconds, nats in curves:
                ax.plot(seconds[1:], nats[1:], **look, label=label)
        ax.set(title=name, xlabel="processor time (s)", xscale="log", yscale="log")
        few_ticks(ax.yaxis)
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("nats above the true density")
    legend(figure, 2)
    return figure
