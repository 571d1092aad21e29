"""Does a rerun agree with the published run? Claim by claim, by what differs between seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from replication.runner.claims.rules import MACHINE, Claim
from replication.runner.claims.verdicts import Verdict, aligned, judged
from replication.runner.metrics import Metric, shown
from replication.runner.profiles import EVIDENCE, Profile

AGREES, DIFFERS, INCOMPARABLE = ("agrees", "differs", "not comparable")
CLOSE = 0.01  # relative: machines round otherwise, and a long solve makes more of it
NOTHING = 1e-9  # what rounding leaves of zero


@dataclass(frozen=True)
class Agreement:
    """A claim's metric, published and of one's own run, and whether the two agree."""

    claim: Claim
    published: Metric | None
    mine: Metric | None
    word: str
    reason: str = ""  # why they cannot be compared


def agreement(root: Path, records: Path) -> list[Agreement]:
    """What the record files in `records` say beside the published ones of the clone at `root`.

    A row for each claim, in their order; none where `records` are the published ones.
    """
    evidence = Profile(EVIDENCE, root).records
    if records.resolve() == evidence.resolve():
        return []
    pairs = zip(judged(root, evidence), judged(root, records), strict=True)
    return [_agreement(*pair) for pair in pairs]


def _agreement(theirs: Verdict, own: Verdict) -> Agreement:
    claim, published, mine = theirs.claim, theirs.measured, own.measured
    if mine is None or published is None:
        word, reason = INCOMPARABLE, "not run" if mine is None else "not published"
    elif own.verdict == "stale":
        word, reason = INCOMPARABLE, "stale"
    elif reason := _unequal(claim, _settings(theirs.record), _settings(own.record)):
        word = INCOMPARABLE
    else:
        word, reason = compare(published, mine, claim)
    return Agreement(claim, published, mine, word, reason)


def _unequal(claim: Claim, published: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """What the claim needs to be equal in two runs and is not: `epochs 1, published 4`."""
    names = [name for name in claim.needs if mine.get(name) != published.get(name)]
    if not names:
        return ""
    first, *others = names
    more = f"; also {', '.join(others)}" if others else ""
    if isinstance(mine.get(first), list):
        return f"other {first}{more}"
    return f"{first} {mine.get(first)}, published {published.get(first)}{more}"


def _settings(kept: Any) -> dict[str, Any]:
    """The parameters of a record, and the machine that it was made on."""
    origin = kept["provenance"]
    machine = f"{origin['processor']}, {origin['device']}, threads: {origin['threads']}"
    return kept["parameters"] | {MACHINE: machine}


def compare(published: Metric, mine: Metric, claim: Claim) -> tuple[str, str]:
    """The word for two metrics that were measured alike, and the reason if it is `not comparable`.

    They agree if mine lies in the 95% prediction interval of one new run of m seeds, made from the
    n published values: mean -+ t s sqrt(1/m + 1/n), with t the 0.975 quantile at n - 1 degrees of
    freedom; on a log scale, the values are their logarithms. They agree too if they are equal to
    1%, which leaves room for machines that round otherwise; a plain number, which no seed moves,
    agrees only then. Without a spread, where a single seed or timing was published or all seeds
    gave the same value, nothing says how far from it a run may end: what is not close is then
    `not comparable`.
    """
    if math.isclose(_mean(mine), _mean(published), rel_tol=CLOSE, abs_tol=NOTHING):
        return AGREES, ""
    if not isinstance(published, dict) and MACHINE not in claim.needs:
        return DIFFERS, ""
    known, new = map(_values, (published, mine))
    if claim.scale == "log":
        if min(known + new) <= 0:
            return INCOMPARABLE, "a value that is not above 0 has no logarithm"
        known, new = ([math.log(value) for value in values] for values in (known, new))
    n, spread = len(known), stdev(known) if len(known) > 1 else 0.0
    if spread <= NOTHING:
        return INCOMPARABLE, "published without a spread"
    half = float(stdtrit(n - 1, 0.975)) * spread * math.sqrt(1 / len(new) + 1 / n)
    return (AGREES if abs(fmean(new) - fmean(known)) <= half else DIFFERS), ""


def _mean(metric: Metric) -> float:
    return metric["mean"] if isinstance(metric, dict) else metric


def _values(metric: Metric) -> list[float]:
    return metric["values"] if isinstance(metric, dict) else [metric]


def agreeing(rows: Sequence[Agreement]) -> str:
    """How many of the numbers that can be compared agree."""
    words = [row.word for row in rows]
    compared = len(words) - words.count(INCOMPARABLE)
    if not compared:
        return "No result of this run can be compared with the published ones."
    many = f"{words.count(AGREES)} of the {compared} results that can be compared agree"
    return f"{many} with the published ones; {len(words) - compared} cannot be compared."


def text(rows: Sequence[Agreement], numbers: Sequence[str] | None = None) -> str:
    """A table for a terminal: all rows, or the main test of each claim in `numbers`."""
    if numbers is not None:
        main = {row.claim.number: row for row in reversed(rows)}
        rows = [main[number] for number in numbers if number in main]
    lines = [("claim", "", "published", "mine", "")]
    for row in rows:
        answer = f"{row.word}: {row.reason}" if row.reason else row.word
        values = shown(row.published), shown(row.mine)
        lines.append((row.claim.number, row.claim.id, *values, answer))
    return aligned(lines)
