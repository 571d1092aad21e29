"""Findings in words that the numbers choose, so that they stay true in a rerun."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, geometric_mean
from typing import Any


def changed(
    before: Sequence[float], after: Sequence[float], *, ratios: bool = False, digits: int = 4
) -> str:
    """In words what became of a count, one of each seed: `grew from 44 to 50 in all 3 seeds`.

    Where the seeds differ: `grew in all 3 seeds, on average from 44 to 52`. The means are geometric
    for ``ratios``; so many significant digits are given.
    """
    mean = geometric_mean if ratios else fmean
    pairs = list(zip(before, after, strict=True))
    ways = {
        "grew": sum(b > a for a, b in pairs),
        "fell": sum(b < a for a, b in pairs),
        "stayed": sum(b == a for a, b in pairs),
    }
    first, last = (f"{mean(values):.{digits}g}" for values in (before, after))
    path = f"from {first} to {last}" if first != last else f"at {first}"
    met = {way: count for way, count in ways.items() if count}
    if len(met) == 1:
        (way,) = met
        if all(f"{b:.{digits}g}" == first and f"{a:.{digits}g}" == last for b, a in pairs):
            return f"{way} {path} {_all(len(pairs))}"
        return f"{way} {_all(len(pairs))}, on average {path}"
    parts = ", ".join(f"{way} in {count}" for way, count in met.items())
    average = path if first != last else f"{first} before and after"
    return f"{parts} of {len(pairs)} seeds, on average {average}"


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


def closer(ratios: Sequence[float], ours: str, theirs: str) -> str:
    """Which of two comes closer, by their distance over ours, one ratio of each seed.

    `the planar flow, by a factor of 1.5 on average, ahead in all 3 seeds`.
    """
    mean = geometric_mean(ratios)
    if f"{mean:.2f}" == "1.00":
        return f"neither {ours} nor {theirs}, to within a percent"
    ahead = [ratio > 1 if mean > 1 else ratio < 1 for ratio in ratios]
    winner = ours if mean > 1 else theirs
    return f"{winner}, by a factor of {max(mean, 1 / mean):.3g} {_in(ahead, 'ahead')}"


def behind(gaps: Sequence[float], unit: str, other: str) -> str:
    """How far behind another something ends, one gap of each seed; below zero it is a lead.

    `0.2 nats ahead of it on average, ahead in all 3 seeds`.
    """
    mean = fmean(gaps)
    if mean == 0:
        return f"level with {other}"
    same = [gap > 0 if mean > 0 else gap < 0 for gap in gaps]
    side, of = ("behind", "") if mean > 0 else ("ahead", " of")
    return f"{abs(mean):.2g} {unit} {side}{of} {other} {_in(same, side)}"


def more(ratios: Sequence[float], things: str, other: str) -> str:
    """A count over another one, of each seed.

    `24% fewer steps than it on average, fewer in all 3 seeds`.
    """
    mean = geometric_mean(ratios)
    if f"{mean:.2f}" == "1.00":
        return f"as many {things} as {other}, to within a percent on average"
    same = [ratio > 1 if mean > 1 else ratio < 1 for ratio in ratios]
    side = "more" if mean > 1 else "fewer"
    return f"{abs(mean - 1):.0%} {side} {things} than {other} {_in(same, side)}"


def ranged(
    values: Sequence[float], digits: int = 2, middle: Callable[[Sequence[float]], float] = fmean
) -> str:
    """Their middle with the least and the largest value, of each seed one: `6.3 (5.2 to 8)`."""
    found = (min(values), middle(values), max(values))
    low, mean, high = (f"{float(f'{value:.{digits}g}'):g}" for value in found)
    return mean if low == high else f"{mean} ({low} to {high})"


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


def errors(points: Sequence[float], than: str) -> str:
    """How much more often one network errs than another, in points, one difference of each seed.

    `0.05 points more errors than the ResNet on average, more in all 3 seeds`.
    """
    mean = fmean(points)
    if abs(mean) < 0.005:
        same = [abs(value) < 0.005 for value in points]
        return f"as many errors as {than}, to 0.01 points, {_in(same, 'as many')}"
    same = [value > 0 if mean > 0 else value < 0 for value in points]
    side = "more" if mean > 0 else "fewer"
    return f"{abs(mean):.2f} points {side} errors than {than} {_in(same, side)}"


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


def counted(flags: Sequence[bool | float]) -> str:
    """In how many seeds something holds: `in all 3 seeds`, `in 2 of 3 seeds`, `in no seed`.

    Shares count as flags: 1.0 where it holds, 0.0 where not.
    """
    if all(flags):
        return _all(len(flags))
    met = sum(map(bool, flags))
    return f"in {met} of {len(flags)} seeds" if met else "in no seed"


def sided(ratio: Mapping[str, Any], above: str, below: str, neither: str) -> str:
    """The words for a ratio above one, or below; where its interval holds one, ``neither``.

    Of a single seed, which has no interval, the value decides.
    """
    low = ratio["mean"] if ratio["low"] is None else ratio["low"]
    high = ratio["mean"] if ratio["high"] is None else ratio["high"]
    return above if low > 1 else below if high < 1 else neither


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _in(met: Sequence[bool], word: str) -> str:
    """That a number is an average, and in how many seeds its direction, the ``word``, holds."""
    return f"on average, {word} {counted(met)}" if len(met) > 1 else counted(met)


def _all(seeds: int) -> str:
    few = {1: "in the one seed", 2: "in both seeds"}
    return few.get(seeds, f"in all {seeds} seeds")
