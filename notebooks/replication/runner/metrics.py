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


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """Mean of `values` with its 95% Student t interval; no interval for a single value.

    low, high = mean -+ t * s / sqrt(n), with t the 0.975 quantile at n - 1 degrees of freedom.
    """
    n = len(values)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    mean = fmean(values)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n) if n > 1 else None
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return {"mean": mean, "low": low, "high": high, "n": n, "values": [float(v) for v in values]}


def report(**metrics: Metric | None) -> None:
    """The notebook shows `metrics` as a table, and the runner can read them back from its copy.

    Each is a finite number or an `estimate`, or None for what this run did not measure; anything
    else is a ValueError.
    """
    measured = {name: metric for name, metric in metrics.items() if metric is not None}
    for name, metric in measured.items():
        value = metric["mean"] if isinstance(metric, dict) else metric
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"metric {name} must be a finite number or an estimate, not {value!r}")
    rows = [(name, shown(metric)) for name, metric in measured.items()]
    plain = "\n".join(f"{name:<32}{text}" for name, text in rows)
    table = markdown(["metric", "value"], [[f"`{name}`", text] for name, text in rows])
    display({MIME: measured, "text/markdown": table, "text/plain": plain}, raw=True)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all columns to the left."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, [":--"] * len(heads), *rows))


def shown(metric: Metric | None) -> str:
    """`metric` for people: `0.15 [0.03, 0.27], n = 3`, and a dash where there is none."""
    if metric is None:
        return "–"
    if not isinstance(metric, dict):
        return f"{metric:.3g}"
    low, high = metric["low"], metric["high"]
    interval = "" if low is None else f" [{low:.3g},\u00a0{high:.3g}]"  # kept on one line
    return f"{metric['mean']:.3g}{interval}, n\u00a0=\u00a0{metric['n']}"
