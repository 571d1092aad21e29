"""What a notebook measured: estimates over seeds, and the numbers that it reports."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from IPython.display import display
from scipy.special import stdtrit

MIME = "application/vnd.odenet.metrics+json"
TRIALS = "application/vnd.odenet.trials+json"  # what the trials of a notebook cost, and where

Metric = float | dict[str, Any]
NOTE = (
    "Intervals without a name are over the *n* seeds, at 95%. The verdicts judge the same values "
    "at 90%, ratios on a log scale, so their numbers differ."
)
OWN = ("mean", "low", "high", "n")  # of a metric with an interval of its own, beside its name


def estimate(values: Sequence[float], scale: str = "linear") -> dict[str, Any]:
    """Mean of `values` with its 95% Student t interval; no interval for a single value.

    low, high = mean -+ t * s / sqrt(n), with t the 0.975 quantile at n - 1 degrees of freedom. On
    the scale `log`, for ratios, this is done with the logarithms: a geometric mean, bounds above 0.

    Returns `mean`, `low` and `high` (both None for a single value), their number `n`, and `values`.
    Raises ValueError for no values, an unknown scale, and values of 0 or less on the scale `log`.
    """
    if not len(values):
        raise ValueError("an estimate needs at least one value")
    if scale not in ("linear", "log"):
        raise ValueError(f"the scale of an estimate is linear or log, not {scale!r}")
    if scale == "log" and min(values) <= 0:
        raise ValueError(f"on a log scale all values are above 0, not {min(values)}")
    there, back = (math.log, math.exp) if scale == "log" else (float, float)
    moved = [there(value) for value in values]
    mean, low, high = fmean(moved), None, None
    if len(moved) > 1:
        half = half_width(moved, 0.975)
        low, high = back(mean - half), back(mean + half)
    ends = {"mean": back(mean), "low": low, "high": high}
    return {**ends, "n": len(values), "values": [float(v) for v in values]}


def half_width(values: Sequence[float], quantile: float) -> float:
    """How far from their mean the bound of two or more values is that holds with `quantile`."""
    n = len(values)
    return float(stdtrit(n - 1, quantile)) * stdev(values) / math.sqrt(n)


def report(**metrics: Metric | None) -> None:
    """The notebook shows `metrics` as a table, and the runner can read them back from its copy.

    Each is a finite number, an `estimate`, a dict with an interval of its own, `mean`, `low`,
    `high`, `n` and `interval`, which names what it is, or None for what this run did not measure;
    anything else is a ValueError.
    """
    measured = {name: metric for name, metric in metrics.items() if metric is not None}
    for name, metric in measured.items():
        for value in _numbers(metric):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(
                    f"metric {name} must be a finite number or an estimate, not {value!r}"
                )
    rows = [(name, shown(metric)) for name, metric in measured.items()]
    plain = "\n".join(f"{name:<32}{text}" for name, text in rows)
    table = markdown(["metric", "value"], [[f"`{name}`", text] for name, text in rows])
    display({MIME: measured, "text/markdown": f"{table}\n\n{NOTE}", "text/plain": plain}, raw=True)


def _numbers(metric: Metric) -> list[Any]:
    """What must be a finite number for `metric` to be one."""
    if not isinstance(metric, dict) or not metric.keys() & {"values", "interval"}:
        return [metric]
    return [metric["mean"]] if "values" in metric else [metric.get(key) for key in OWN]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all columns to the left."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, [":--"] * len(heads), *rows))


def significant(number: float) -> str:
    """To three significant digits, below a million without a power of ten: `1020`, `0.15`."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:.0f}" if 1000 <= abs(rounded) < 1e6 else f"{rounded:g}"


def shown(metric: Metric | None) -> str:
    """`metric` for people: `0.15 [0.03, 0.27], n = 3`, and a dash where there is none."""
    if metric is None:
        return "–"
    if not isinstance(metric, dict):
        return significant(metric)
    what = f", {metric['interval']}" if "interval" in metric else ""
    ends = spanned(metric["mean"], metric["low"], metric["high"])
    return f"{ends}, n\u00a0=\u00a0{metric['n']}{what}"


def spanned(mean: float, low: float | None, high: float | None) -> str:
    """A mean on one line with its interval, if that has a width: `0.15 [0.03, 0.27]`."""
    said = significant(mean)
    ends = [significant(end) for end in (low, high) if end is not None]
    return said if set(ends) <= {said} else said + " [" + ",\u00a0".join(ends) + "]"
