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


def ends(values: Sequence[float], digits: int = 2) -> str:
    """The lowest and the highest number: `1.02 to 1.26`, or `0.50` where they read the same."""
    low, high = (f"{end:.{digits}f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def ranging(values: Sequence[float], digits: int = 2) -> str:
    """A number of each seed, as one says them: `1.02 to 1.26 (3 seeds)`, `0.50 (one seed)`."""
    found = ends(values, digits)
    if len(values) == 1:
        return f"{found} (one seed)"
    return f"{found} ({'' if ' to ' in found else 'the same in all '}{len(values)} seeds)"


def how_many(met: int, total: int) -> str:
    """How many of so many: `none of 6`, `2 of 6`, `all 6`."""
    return f"all {total}" if met == total else f"{met or 'none'} of {total}"


def _all(seeds: int) -> str:
    return f"in all {seeds} seeds" if seeds > 1 else "in the one seed"
