"""Findings in words that the numbers choose, so that they stay true in a rerun."""

import math
from collections.abc import Sequence
from statistics import fmean


def changed(before: Sequence[float], after: Sequence[float]) -> str:
    """In words what became of a count, one of each seed: `grew from 44 to 50 in all 3 seeds`."""
    pairs = list(zip(before, after, strict=True))
    ways = {
        "grew": sum(b > a for a, b in pairs),
        "fell": sum(b < a for a, b in pairs),
        "stayed": sum(b == a for a, b in pairs),
    }
    path = f"from {fmean(before):.4g} to {fmean(after):.4g}"
    met = {way: count for way, count in ways.items() if count}
    if len(met) == 1:
        (way,) = met
        return f"{way} {path if way != 'stayed' else f'at {fmean(before):.4g}'} {_all(len(pairs))}"
    parts = ", ".join(f"{way} in {count}" for way, count in met.items())
    return f"{parts} of {len(pairs)} seeds, on average {path}"


def placed(values: Sequence[float], accept: Sequence[float]) -> str:
    """Where values lie, one of each seed: `at least 1.2 in 2 of 3 seeds`."""
    low, high = accept
    inside, outside = f"within {low:g} to {high:g}", f"outside {low:g} to {high:g}"
    if math.isinf(high):
        inside, outside = f"at least {low:g}", f"below {low:g}"
    elif math.isinf(low):
        inside, outside = f"at most {high:g}", f"above {high:g}"
    met = sum(low <= value <= high for value in values)
    where = inside if met else outside
    if len(values) == 1:
        return where
    if 0 < met < len(values):
        return f"{where} in {met} of {len(values)} seeds"
    return f"{where} {_all(len(values))}"


def ranged(values: Sequence[float], digits: int = 2) -> str:
    """A mean with the least and the largest value, of each seed one: `6.3 (5.2 to 8)`."""
    three = (min(values), fmean(values), max(values))
    low, mean, high = (f"{float(f'{value:.{digits}g}'):g}" for value in three)
    return mean if low == high else f"{mean} ({low} to {high})"


def _all(seeds: int) -> str:
    return f"in all {seeds} seeds" if seeds > 1 else "in the one seed"
