"""Figure 7: the rate of events along a latent path."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from replication.plots import legend, shaded_path
from replication.style import GREY, PALETTE, new_figure

EACH: dict[str, Any] = {"color": PALETTE[0], "lw": 1.4, "label": "fit of each seed"}


def rate_over_events(
    ts: np.ndarray,
    rates: Sequence[np.ndarray],
    integrals: Sequence[np.ndarray],
    events: np.ndarray,
) -> Figure:
    """Figure 7: the rate that each seed learned over the events, and its running integral.

    Each of `rates` and `integrals` has a value for each of `ts`; the stairs count the events.
    """
    figure, (above, below) = new_figure(5.2, 2, 1, sharex=True)
    above.plot(ts, np.transpose(rates), **EACH)
    below.plot(ts, np.transpose(integrals), **EACH)
    under = np.full(len(events), -0.045 * np.max(rates))
    above.plot(events, under, "|", color=GREY, ms=9, mew=1.5, label="events")
    counted = np.arange(len(events) + 1)
    steps = {"color": GREY, "lw": 1.2, "baseline": None, "label": "events counted"}
    below.stairs(counted, [ts[0], *events, ts[-1]], **steps)
    above.set(ylabel="events per unit of time")
    below.set(ylabel="events since the start", xlabel="time")
    legend(figure, 3)
    return figure


def rate_recovered(ts: np.ndarray, rates: Sequence[np.ndarray], true: np.ndarray) -> Figure:
    """A known rate, and what was learned of it: each seed's rate and, for two or more, their mean.

    All have a value for each of `ts`.
    """
    figure, ax = new_figure(3.6)
    ax.plot(ts, true, color=GREY, lw=2, ls="--", label="true rate", zorder=3)
    ax.plot(ts, np.mean(rates, 0), color=PALETTE[0], lw=2, label="learned, mean over seeds")
    ax.plot(ts, np.transpose(rates), color=PALETTE[5], lw=1, zorder=1, label="each seed")
    ax.set(xlabel="time", ylabel="rate (events per unit of time)", ylim=(0, None))
    legend(figure, 3)
    return figure


def path_and_rate(
    ts: np.ndarray,
    true: Mapping[str, np.ndarray],
    fits: Sequence[Mapping[str, np.ndarray]],
    observed: np.ndarray,
    events: np.ndarray,
) -> Figure:
    """A path that was observed with noise, and the rate of events along it: the truth and its fits.

    `true` and each of `fits` map `z` (times, 2) and `rate` (times,) at `ts`; `observed` is
    (observations, 2).
    """
    figure, (above, below) = new_figure(7.0, 2, 1, height_ratios=(3, 2))
    above.plot(*observed.T, ".", color=GREY, ms=6, alpha=0.7, label="observed")
    for fit in fits:
        above.plot(*fit["z"].T, **EACH)
        below.plot(ts, fit["rate"], **EACH)
    truth: dict[str, Any] = {"color": PALETTE[1], "lw": 1.6, "ls": "--", "label": "truth"}
    above.plot(*true["z"].T, **truth)
    above.plot(*true["z"][0], "^", color=PALETTE[1], mec=GREY, ms=9, label="start")
    below.plot(ts, true["rate"], **truth)
    under = np.full(len(events), -0.06 * np.max(true["rate"]))
    below.plot(events, under, "|", color=GREY, ms=8, mew=0.8, alpha=0.5, label="events")
    above.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
    below.set(xlabel="time", ylabel="events per unit of time")
    legend(figure, 5)
    return figure


def latent_path(path: np.ndarray, at_events: np.ndarray, rate: np.ndarray) -> Figure:
    """A latent path (times, 2), wider where the rate is larger, with the places of the events.

    `rate` has a value for each point of the path; `at_events` is (events, 2).
    """
    figure, ax = new_figure(4.2)
    first, last = shaded_path(ax, path, 1 + 6 * rate / rate.max())
    ax.plot(*at_events.T, "o", mfc="none", mec=GREY, ms=5, mew=1.2, label="event")
    ax.plot(*path[0], "^", color=first, mec=GREY, ms=10, label="start")
    ax.plot(*path[-1], "X", color=last, mec=GREY, ms=10, label="end")
    ax.plot([], [], color=GREY, lw=6, label="wide: high rate")
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    legend(figure, 4)
    return figure
