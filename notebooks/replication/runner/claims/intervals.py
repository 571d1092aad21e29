"""A metric as a claim judges it: on the claim's scale, with the interval that decides."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from scipy.special import betaincinv

from replication.runner.metrics import Metric, half_width, significant

LEVEL = 0.95  # of a bound to one side; the two bounds make a 90% interval
SAME = 1e-9  # relative: what rounding leaves of equal values
NEAR_ONE = 0.9999  # a correlation of one has no finite z: it counts as this
NO_LOGARITHM = "a value that is not above 0 has no logarithm"
Transform = Callable[[float], float]


@dataclass(frozen=True)
class Estimate:
    """What was measured, for people, and the `ends` that a claim's accept interval must hold.

    Where nothing decides, `ends` is None and `missing` says why.
    """

    mean: float
    ends: tuple[float, float] | None
    value: str
    spread: str = ""  # its interval, and the number of seeds
    missing: str = ""

    def text(self, unit: str = "") -> str:
        """On one line: `9.39 tolerances [4.22, 14.6], n = 5`."""
        return in_units(self.value, unit) + self.spread


def estimated(metric: Metric, scale: str) -> Estimate:
    """The mean of `metric` on `scale`, with the 90% interval over its seeds.

    A plain number decides alone, and so does a value that is the same in all seeds; a single seed
    never does. Of a metric with an interval of its own, it is that one.
    """
    if not isinstance(metric, dict):
        return Estimate(metric, (metric, metric), significant(metric))
    if "values" not in metric:
        mean, ends = metric["mean"], (metric["low"], metric["high"])
        return Estimate(mean, ends, significant(mean), f"{_between(*ends)}, {metric['interval']}")
    values = metric["values"]
    n, mean = len(values), fmean(values)
    seeds = f", n\u00a0=\u00a0{n}"
    if n == 1:
        return Estimate(mean, None, significant(mean), seeds, "a single seed shows no spread")
    if scale == "share":
        ends = share(successes(values), n)
        return Estimate(mean, ends, f"{successes(values)} of {n} seeds", _between(*ends))
    if constant(values):
        same = median(values)  # one of them, without the rounding of a mean
        return Estimate(same, (same, same), significant(same), f", the same in all {n} seeds")
    if scale == "log" and min(values) <= 0:
        return Estimate(mean, None, significant(mean), seeds, NO_LOGARITHM)
    there, back = transform(scale)
    moved = [there(value) for value in values]
    middle, half = fmean(moved), half_width(moved, LEVEL)
    mean, low, high = back(middle), back(middle - half), back(middle + half)
    return Estimate(mean, (low, high), significant(mean), _between(low, high) + seeds)


def _between(low: float, high: float) -> str:
    return f" [{significant(low)},\u00a0{significant(high)}]"


def in_units(number: str, unit: str) -> str:
    """A number as text, with its unit if it has one: `0.62%`, `1.3×`, `1 point`, `9 tolerances`."""
    if unit in ("", "%", "×"):
        return number + unit
    one = number.rpartition(" ")[2] == "1" and unit.isalpha()
    return f"{number}\u00a0{unit.removesuffix('s') if one else unit}"


def transform(scale: str) -> tuple[Transform, Transform]:
    """To what varies about alike in all directions, and back: Fisher's z of a correlation."""
    scales: dict[str, tuple[Transform, Transform]] = {
        "linear": (float, float),
        "log": (lambda x: math.log(x) if x > 0 else -math.inf, math.exp),
        "correlation": (lambda r: math.atanh(max(-NEAR_ONE, min(r, NEAR_ONE))), math.tanh),
    }
    return scales[scale]


def constant(values: Sequence[float]) -> bool:
    """Whether all values are equal, up to rounding."""
    return max(values) - min(values) <= SAME * max(map(abs, values))


def successes(values: Sequence[float]) -> int:
    """How many of the values of a share are 1; ValueError for any that is not 0 or 1."""
    if not set(values) <= {0, 1}:
        raise ValueError(f"on the scale share all values are 0 or 1, not {values}")
    return round(sum(values))


def share(k: int, n: int) -> tuple[float, float]:
    """The interval of Clopper and Pearson for a share of which `k` of `n` were seen."""
    low = float(betaincinv(k, n - k + 1, 1 - LEVEL)) if k > 0 else 0.0
    return low, float(betaincinv(k + 1, n - k, LEVEL)) if k < n else 1.0


def judge(ends: tuple[float, float] | None, accept: tuple[float, float]) -> str:
    """Supported if all between the `ends` is in `accept`, edges included; not supported if all of
    it is outside; else, and where there are none, inconclusive.
    """
    if ends is None:
        return "inconclusive"
    if accept[0] <= ends[0] and ends[1] <= accept[1]:
        return "supported"
    return "not supported" if ends[1] < accept[0] or ends[0] > accept[1] else "inconclusive"
