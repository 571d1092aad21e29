"""Figure 7: the rate of events along a latent path."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from replication.style import GREY, PALETTE, legend_above, level_of, look_of, new_figure

DURATION_LABEL = "time"


def rate_over_events(
    ts: np.ndarray,
    rates: Sequence[np.ndarray],
    integrals: Sequence[np.ndarray],
    events: np.ndarray,
    seeds: Sequence[int],
) -> Figure:
    """Figure 7: the rate that each seed learned over the events, and its running integral.

    Each of `rates` and `integrals` has a value for each of `ts`; the stairs count the events.
    """
    figure, (above, below) = new_figure(5.2, 2, 1, sharex=True)
    for index, (rate, integral) in enumerate(zip(rates, integrals, strict=True)):
        look = {**look_of(index), "marker": ""}
        above.plot(ts, rate, **look, lw=1.6)
        below.plot(ts, integral, **look, lw=1.6)
    _draw_events(above, events)
    counted = np.arange(len(events) + 1)
    below.stairs(counted, [ts[0], *events, ts[-1]], color=GREY, lw=1.2, baseline=None)
    above.set(ylabel="events per unit of time", xlabel=DURATION_LABEL)
    below.set(ylabel="events since the start", xlabel=DURATION_LABEL)
    handles = [
        Line2D([], [], **{**look_of(i), "marker": ""}, label=f"seed {seed}")
        for i, seed in enumerate(seeds)
    ]
    handles.append(Line2D([], [], color=GREY, marker="|", ls="", ms=9, mew=1.5, label="events"))
    legend_above(figure, handles, 6)
    return figure


def rate_recovered(ts: np.ndarray, rates: Sequence[np.ndarray], true: np.ndarray) -> Figure:
    """A known rate, and what was learned of it: each seed's rate and, for two or more, their mean.

    All have a value for each of `ts`.
    """
    figure, ax = new_figure(3.6)
    for rate in rates:
        ax.plot(ts, rate, color=PALETTE[5], lw=1)
    ax.plot(ts, np.mean(rates, 0), color=PALETTE[0], lw=2)
    ax.plot(ts, true, color=GREY, lw=2, ls="--")
    ax.set(xlabel=DURATION_LABEL, ylabel="rate (events per unit of time)", ylim=(0, None))
    handles = [
        Line2D([], [], color=GREY, ls="--", lw=2, label="true rate"),
        Line2D([], [], color=PALETTE[0], lw=2, label="learned, mean over seeds"),
        Line2D([], [], color=PALETTE[5], lw=1, label="each seed"),
    ]
    legend_above(figure, handles, 3)
    return figure


def latent_path(path: np.ndarray, at_events: np.ndarray, rate: np.ndarray) -> Figure:
    """A latent path (times, 2), wider where the rate is larger, with the places of the events.

    `rate` has a value for each point of the path; `at_events` is (events, 2).
    """
    figure, ax = new_figure(4.2)
    share = rate / rate.max()
    for i in range(len(path) - 1):
        color = level_of(i, len(path) - 1)["color"]
        wide = 1 + 6 * share[i]
        ax.plot(*path[i : i + 2].T, color=color, lw=wide, solid_capstyle="round")
    ax.plot(*at_events.T, "o", mfc="none", mec=GREY, ms=5, mew=1.2)
    ax.plot(*path[0], "^", color=level_of(0, 2)["color"], mec=GREY, ms=10)
    ax.plot(*path[-1], "X", color=level_of(1, 2)["color"], mec=GREY, ms=10)
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    handles = [
        Line2D([], [], ls="", marker="^", ms=9, color=level_of(0, 2)["color"], label="start"),
        Line2D([], [], ls="", marker="X", ms=9, color=level_of(1, 2)["color"], label="end"),
        Line2D([], [], ls="", marker="o", mfc="none", color=GREY, ms=5, label="event"),
        Line2D([], [], color=GREY, lw=6, label="wide: high rate"),
    ]
    legend_above(figure, handles, 4)
    return figure


def _draw_events(ax: Axes, events: np.ndarray) -> None:
    """Strokes under the axis of time, below the lowest rate."""
    low, high = 0.0, ax.get_ylim()[1]
    ax.set_ylim(-0.09 * high, high)
    ax.plot(events, np.full(len(events), low - 0.045 * high), "|", color=GREY, ms=9, mew=1.5)
