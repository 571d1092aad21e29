"""What the records say about each of the paper's claims."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.runner import record
from replication.runner.claims.intervals import Estimate, estimated, in_units, judge
from replication.runner.claims.rules import Claim, by_claim, main_tests, read
from replication.runner.jobs import changes, plan
from replication.runner.metrics import Metric
from replication.runner.profiles import EVIDENCE, Profile

VERDICTS = ("supported", "not supported", "inconclusive", "not run", "stale")  # of a test
MIXED = "mixed"  # of a claim alone
WORDS = (*VERDICTS[:3], MIXED, *VERDICTS[3:])  # of a claim


@dataclass(frozen=True)
class Verdict:
    """What one record says about one claim; `measured` is None if it was not run."""

    claim: Claim
    verdict: str
    measured: Metric | None
    record: Mapping[str, Any] | None = None

    @property
    def estimate(self) -> Estimate | None:
        """What was measured on the claim's scale, with the interval that decides."""
        return None if self.measured is None else estimated(self.measured, self.claim.scale)


def judged(root: Path, records: Path) -> list[Verdict]:
    """The verdict on each claim of the clone at `root`, from the record files in `records`."""
    claims = read(Profile(EVIDENCE, root).claims).claims
    kept = {stem: record.load(records / f"{stem}.json") for stem in {row.stem for row in claims}}
    stale = {stem for stem, found in kept.items() if found and _stale(root, found)}
    return [_verdict(claim, kept[claim.stem], claim.stem in stale) for claim in claims]


def _stale(root: Path, found: Mapping[str, Any]) -> bool:
    (job,) = plan(Profile(found["profile"], root), [found["notebook"]])
    return bool(changes(job, found))


def _verdict(claim: Claim, found: Mapping[str, Any] | None, stale: bool) -> Verdict:
    metric = found["metrics"].get(claim.name) if found else None
    if found is None or metric is None:
        return Verdict(claim, "not run", None)
    if stale:
        return Verdict(claim, "stale", metric, found)
    return Verdict(claim, judge(estimated(metric, claim.scale).ends, claim.accept), metric, found)


def headline(tests: Sequence[Verdict]) -> str:
    """The verdict of a claim: that of its main tests, and `mixed` where they disagree.

    While one of several has none, because it was not run or is stale, the claim has none either.
    """
    found = {row.verdict for row in main_tests(tests)}
    for waiting in ("not run", "stale"):
        if waiting in found:
            return waiting
    return found.pop() if len(found) == 1 else MIXED


def sentence(words: Iterable[str]) -> str:
    """Verdicts counted, in a fixed order: `5 supported, 2 not supported, 3 inconclusive`."""
    found = Counter(words)
    return ", ".join(f"{found[word]} {word}" for word in WORDS if found[word])


def counted(verdicts: Sequence[Verdict]) -> str:
    """These tests with their counts: `40 tests of 22 claims: 5 supported, 35 not run`."""
    tests, claims = len(verdicts), len(by_claim(verdicts))
    many = f"{tests} test{'s' * (tests != 1)} of {claims} claim{'s' * (claims != 1)}"
    return f"{many}: {sentence(row.verdict for row in verdicts)}"


def parted(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """The tests of the paper's claims, those written after a look, and those beyond the paper."""
    found: dict[str, list[Verdict]] = {"paper": [], "late": [], "beyond": []}
    for row in verdicts:
        late = "late" if row.claim.post_hoc else "paper"
        found["beyond" if row.claim.beyond else late].append(row)
    return found


def totals(verdicts: Sequence[Verdict]) -> str:
    """The tests of the paper's claims counted, those that were written after a look apart."""
    parts = parted(verdicts)
    late = f"; written after a look, {counted(parts['late'])}" if parts["late"] else ""
    return counted(parts["paper"]) + late


def listed(verdicts: Sequence[Verdict]) -> str:
    """The tests as a plain table, and the counts."""
    lines = [("claim", "verdict", "here", "expected")]
    for row in verdicts:
        cells = columns(row)
        lines.append((row.claim.id, cells["verdict"], cells["here"], cells["expected"]))
    return f"{aligned(lines)}\n\n{totals(verdicts)}"


def columns(row: Verdict) -> dict[str, str]:
    """One row of the verdict table, by column."""
    return {
        "paper": "; ".join(
            name if value == "-" else f"{name}: {value}" for name, value in row.claim.paper.items()
        ),
        "expected": between(row.claim.accept, row.claim.unit),
        "here": row.estimate.text(row.claim.unit) if row.estimate else "–",
        "verdict": row.verdict,
    }


def between(accept: tuple[float, float], unit: str = "") -> str:
    """An accept interval for people: `at most 0.2 points`, `at least 1.5`, `0.4 to 0.6`."""
    low, high = accept
    if math.isinf(low):
        return in_units(f"at most {high:g}", unit)
    return in_units(f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}", unit)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A plain table: each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
