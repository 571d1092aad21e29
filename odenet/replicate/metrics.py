"""What a notebook measured: estimates over seeds, and the numbers that it reports."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from IPython.display import display

MIME = "application/vnd.odenet.metrics+json"

Metric = float | dict[str, Any]


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """Mean of `values` with its 95% Student t interval; no interval for a single value.

    low, high = mean -+ t * s / sqrt(n), with t the 0.975 quantile at n - 1 degrees of freedom.
    """
    n = len(values)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    mean = fmean(values)
    half = _t_quantile(n - 1) * stdev(values) / math.sqrt(n) if n > 1 else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return {"mean": mean, "low": low, "high": high, "n": n, "values": [float(v) for v in values]}


def _t_quantile(dof: int) -> float:
    """The t with P(|T| < t) = 0.95, by bisection on the exact distribution."""
    low, high = 0.0, 16.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, dof) < 0.95 else (low, middle)
    return low


def _t_inside(t: float, dof: int) -> float:
    """P(|T| < t) as a finite sum in theta = atan(t / sqrt(dof)); Abramowitz & Stegun 26.7.3-4."""
    theta = math.atan(t / math.sqrt(dof))
    odd = dof % 2
    term = math.cos(theta) if odd else 1.0
    total = term if dof > 1 else 0.0
    for k in range(2 + odd, dof, 2):
        term *= math.cos(theta) ** 2 * (k - 1) / k
        total += term
    inside = math.sin(theta) * total
    return 2 / math.pi * (theta + inside) if odd else inside


def report(**metrics: Metric) -> None:
    """The notebook shows `metrics` as a table, and the runner can read them back from its copy.

    Each is a finite number or an `estimate`; anything else is a ValueError.
    """
    for name, metric in metrics.items():
        value = metric["mean"] if isinstance(metric, dict) else metric
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"metric {name} must be a finite number or an estimate, not {value!r}")
    rows = [(name, shown(metric)) for name, metric in metrics.items()]
    plain = "\n".join(f"{name:<32}{text}" for name, text in rows)
    table = markdown(["metric", "value"], [[f"`{name}`", text] for name, text in rows])
    display({MIME: metrics, "text/markdown": table, "text/plain": plain}, raw=True)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all columns to the left."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, [":--"] * len(heads), *rows))


def shown(metric: Metric) -> str:
    """`metric` for people: `0.15 [0.03, 0.27], n = 3`."""
    if not isinstance(metric, dict):
        return f"{metric:.3g}"
    low, high = metric["low"], metric["high"]
    interval = "" if low is None else f" [{low:.3g},\u00a0{high:.3g}]"  # kept on one line
    return f"{metric['mean']:.3g}{interval}, n\u00a0=\u00a0{metric['n']}"
