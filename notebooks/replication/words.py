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


def errors(points: Sequence[float], than: str) -> str:
    """How much more often one network errs than another, in points, one difference of each seed.

    `0.05 points more errors than the ResNet in all 3 seeds`.
    """
    mean = fmean(points)
    if abs(mean) < 0.005:
        same = [abs(value) < 0.005 for value in points]
        return f"as many errors as {than}, to 0.01 points, {_in(same)}"
    same = [value > 0 if mean > 0 else value < 0 for value in points]
    more = "more" if mean > 0 else "fewer"
    return f"{abs(mean):.2f} points {more} errors than {than} {_in(same)}"


def lies(ends: tuple[float, float], accept: Sequence[float]) -> str:
    """Where an interval lies: `inside`, `outside` or `across an edge of`."""
    (low, high), (least, most) = ends, accept
    if least <= low and high <= most:
        return "inside"
    return "outside" if high < least or most < low else "across an edge of"


def whether(values: Sequence[float], accept: Sequence[float], yes: str, no: str) -> str:
    """What follows where values lie in an interval, one of each seed, or else where none does.

    Where they disagree: `blocks matter in 1 of 3 seeds only`.
    """
    met = sum(accept[0] <= value <= accept[1] for value in values)
    if 0 < met < len(values):
        return f"{yes} in {met} of {len(values)} seeds only"
    return yes if met else no


def _in(met: Sequence[bool]) -> str:
    """Where an average holds: in all seeds, or else in how many."""
    if all(met):
        return _all(len(met))
    return f"on average, and in {sum(met)} of {len(met)} seeds"


def _all(seeds: int) -> str:
    return f"in all {seeds} seeds" if seeds > 1 else "in the one seed"
