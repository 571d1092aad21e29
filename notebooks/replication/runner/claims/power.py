"""What would decide a test that is inconclusive: how many seeds, at the mean and spread seen."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit
from scipy.stats import binom

from replication.runner.claims import intervals
from replication.runner.metrics import Metric

WANTED = 0.8  # probability
MOST = 100  # seeds
Accept = tuple[float, float]


def outlook(metric: Metric, scale: str, accept: Accept) -> str:
    """How many seeds would decide the test, in words, or what is missing to say so."""
    if missing := intervals.estimated(metric, scale).missing:
        return f"Not known: {missing}."
    if not isinstance(metric, dict) or "values" not in metric:
        return "Not known: its interval is not one over seeds."
    chance, n = chances(metric["values"], scale, accept), len(metric["values"])
    enough = next((m for m in range(n + 1, MOST + 1) if chance(m) >= WANTED), None)
    seeds = enough or f"more than {MOST}"
    many = f"At the mean and spread seen, it takes {seeds} seeds to decide with a probability of"
    return f"{many} {WANTED:.0%}; with {n} the probability is {chance(n):.0%}."


def chances(values: Sequence[float], scale: str, accept: Accept) -> Callable[[int], float]:
    """The probability that a test decides, by its number of seeds, if all are like `values`."""
    if scale == "share":
        k, n = intervals.successes(values), len(values)
        return lambda seeds: share_decides(k / n, accept, seeds)
    there, _ = intervals.transform(scale)
    moved = [there(value) for value in values]
    ends = _end(accept[0], scale), _end(accept[1], scale)
    return lambda seeds: decides(fmean(moved), stdev(moved), ends, seeds)


def _end(end: float, scale: str) -> float:
    """An end of an accept interval on `scale`: no correlation lies at one or beyond."""
    if scale == "correlation" and abs(end) >= 1:
        return math.copysign(math.inf, end)
    there, _ = intervals.transform(scale)
    return there(end)


def decides(mean: float, spread: float, accept: Accept, n: int) -> float:
    """The probability that the interval over `n` normal values is all inside or all outside.

    It is the mean over the spreads that n values may show, of which each is a quantile.
    """
    quantiles = (np.arange(1000) + 0.5) / 1000
    shown = spread * np.sqrt(chdtri(n - 1, quantiles) / (n - 1))
    half = stdtrit(n - 1, intervals.LEVEL) * shown / math.sqrt(n)
    below, low, high, above = (
        ndtr((edge - mean) * math.sqrt(n) / spread)
        for edge in (accept[0] - half, accept[0] + half, accept[1] - half, accept[1] + half)
    )
    return float(np.mean(below + np.maximum(high - low, 0) + 1 - above))


def share_decides(share: float, accept: Accept, n: int) -> float:
    """The probability that `n` values decide of which each is 1 with the probability `share`."""
    decided = [
        intervals.judge(intervals.share(k, n), accept) != "inconclusive" for k in range(n + 1)
    ]
    return float(np.sum(binom.pmf(np.arange(n + 1), n, share)[decided]))
