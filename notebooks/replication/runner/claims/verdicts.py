"""What the records say about each of the paper's claims."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.runner import first_edition, record
from replication.runner.claims.rules import Claim, read
from replication.runner.jobs import changes, plan
from replication.runner.metrics import Metric, shown
from replication.runner.profiles import EVIDENCE, Profile

VERDICTS = ("supported", "not supported", "inconclusive", "not run", "stale")


@dataclass(frozen=True)
class Verdict:
    """What one record says about one claim; `measured` is None if it was not run."""

    claim: Claim
    verdict: str
    measured: Metric | None
    record: Mapping[str, Any] | None = None


def judge(metric: Metric, accept: tuple[float, float]) -> str:
    """Supported if the whole interval of `metric` is in `accept`, edges included; not supported
    if all of it is outside; else inconclusive. A plain number decides alone, a single seed never.
    """
    low, high = (metric["low"], metric["high"]) if isinstance(metric, dict) else (metric, metric)
    if low is None or high is None:
        return "inconclusive"
    if accept[0] <= low and high <= accept[1]:
        return "supported"
    return "not supported" if high < accept[0] or low > accept[1] else "inconclusive"


def judged(root: Path, records: Path) -> list[Verdict]:
    """The verdict on each claim of the clone at `root`, from the record files in `records`."""
    claims = read(Profile(EVIDENCE, root).claims)
    kept = {stem: record.load(records / f"{stem}.json") for stem in {row.stem for row in claims}}
    stale = {stem for stem, found in kept.items() if found and _stale(root, found)}
    return [_verdict(claim, kept[claim.stem], claim.stem in stale) for claim in claims]


def _stale(root: Path, found: Mapping[str, Any]) -> bool:
    if first_edition.made(found):
        return False
    (job,) = plan(Profile(found["profile"], root), [found["notebook"]])
    return bool(changes(job, found))


def _verdict(claim: Claim, found: Mapping[str, Any] | None, stale: bool) -> Verdict:
    metric = found["metrics"].get(claim.name) if found else None
    if metric is None:  # or the claim is newer than the record
        return Verdict(claim, "not run", None)
    return Verdict(claim, "stale" if stale else judge(metric, claim.accept), metric, found)


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many claims got each verdict, in a fixed order, zeros included."""
    found = Counter(row.verdict for row in verdicts)
    return {name: found[name] for name in VERDICTS}


def sentence(verdicts: Sequence[Verdict]) -> str:
    """The counts as text: `5 supported, 2 not supported, 3 inconclusive`."""
    return ", ".join(f"{count} {name}" for name, count in counts(verdicts).items() if count)


def listed(verdicts: Sequence[Verdict]) -> str:
    """The tests as a plain table, and the counts."""
    lines = [("claim", "verdict", "here", "expected")]
    for row in verdicts:
        shown = columns(row)
        lines.append((row.claim.id, shown["verdict"], shown["here"], shown["expected"]))
    return f"{aligned(lines)}\n\n{sentence(verdicts)}"


def columns(row: Verdict) -> dict[str, str]:
    """One row of the verdict table, by column."""
    return {
        "paper": ", ".join(f"{name} {value}" for name, value in row.claim.paper.items()),
        "expected": between(row.claim.accept),
        "here": shown(row.measured),
        "verdict": row.verdict,
    }


def between(accept: tuple[float, float]) -> str:
    """An accept interval for people: `at most 0.2`, `at least 1.5`, `0.4 to 0.6`."""
    low, high = accept
    if math.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A plain table: each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
