"""Does a rerun agree with the published run? Claim by claim, by what differs between seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit
from scipy.stats import fisher_exact

from replication.runner.claims.intervals import (
    NO_LOGARITHM,
    Estimate,
    estimated,
    successes,
    transform,
)
from replication.runner.claims.rules import MACHINE, Claim, by_claim, main_tests
from replication.runner.claims.verdicts import Verdict, aligned, judged
from replication.runner.metrics import Metric
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

    @property
    def estimate(self) -> Estimate | None:
        """One's own on the scale of the claim."""
        return None if self.mine is None else estimated(self.mine, self.claim.scale)

    def shown(self, metric: Metric | None) -> str:
        """One of the two metrics for people, on the scale of the claim."""
        if metric is None:
            return "–"
        return estimated(metric, self.claim.scale).text(self.claim.unit)


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
    more = f"; also {others[0] if len(others) == 1 else f'{len(others)} more'}" if others else ""
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
    n published values on the claim's scale: mean -+ t s sqrt(1/m + 1/n), with t the 0.975 quantile
    at n - 1 degrees of freedom. Two shares agree unless Fisher's exact test tells them apart at 5%.
    They agree too if they are equal to 1%, which leaves room for machines that round otherwise; a
    plain number, of which no values by seed are kept, agrees only then. Without a spread, where a
    single seed or timing was published or all seeds gave the same value, nothing says how far from
    it a run may end: what is not close is then `not comparable`.
    """
    means = [estimated(metric, claim.scale).mean for metric in (published, mine)]
    if math.isclose(*means, rel_tol=CLOSE, abs_tol=NOTHING):
        return AGREES, ""
    if not isinstance(published, dict) and MACHINE not in claim.needs:
        return DIFFERS, ""
    known, new = map(_values, (published, mine))
    if not known or not new:
        return INCOMPARABLE, "no values by seed"
    if claim.scale == "share":
        return (AGREES if _alike(known, new) else DIFFERS), ""
    if claim.scale == "log" and min(known + new) <= 0:
        return INCOMPARABLE, NO_LOGARITHM
    there, _ = transform(claim.scale)
    known, new = ([there(value) for value in values] for values in (known, new))
    n, spread = len(known), stdev(known) if len(known) > 1 else 0.0
    if spread <= NOTHING:
        return INCOMPARABLE, "published without a spread"
    half = float(stdtrit(n - 1, 0.975)) * spread * math.sqrt(1 / len(new) + 1 / n)
    return (AGREES if abs(fmean(new) - fmean(known)) <= half else DIFFERS), ""


def _values(metric: Metric) -> list[float]:
    return metric.get("values", []) if isinstance(metric, dict) else [metric]


def _alike(known: Sequence[float], new: Sequence[float]) -> bool:
    """Whether two shares may be the same."""
    counts = [(successes(values), len(values)) for values in (known, new)]
    return fisher_exact([[k, n - k] for k, n in counts]).pvalue >= 0.05


def agreeing(rows: Sequence[Agreement]) -> str:
    """How many of the numbers that can be compared agree."""
    words = [row.word for row in rows]
    compared = len(words) - words.count(INCOMPARABLE)
    if not compared:
        return "No result of this run can be compared with the published ones."
    many = f"{words.count(AGREES)} of the {compared} results that can be compared agree"
    return f"{many} with the published ones; {len(words) - compared} cannot be compared."


def text(rows: Sequence[Agreement], numbers: Sequence[str] | None = None) -> str:
    """A table for a terminal: all rows, or the main tests of each claim in `numbers`."""
    if numbers is not None:
        found = {tests[0].claim.number: main_tests(tests) for tests in by_claim(rows)}
        rows = [row for number in numbers for row in found.get(number, [])]
    lines = [("claim", "", "published", "mine", "")]
    for row in rows:
        answer = f"{row.word}: {row.reason}" if row.reason else row.word
        here = row.shown(row.published), row.shown(row.mine)
        lines.append((row.claim.number, row.claim.id, *here, answer))
    return aligned(lines)
