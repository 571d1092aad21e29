"""What the records say about each of the paper's claims."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replication.runner import first_edition, record
from replication.runner.claims.rules import Claim, read
from replication.runner.jobs import changes, plan
from replication.runner.metrics import Metric, shown
from replication.runner.profiles import Profile, choose

VERDICTS = ("supported", "not supported", "inconclusive", "not run", "stale")


@dataclass(frozen=True)
class Verdict:
    """What one record says about one claim; `measured` is None if it was not run."""

    claim: Claim
    verdict: str
    measured: Metric | None


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
    clone = Profile("smoke", root)  # whichever; claims and notebooks are the same for all
    claims = read(clone)
    kept = {stem: record.load(records / f"{stem}.json") for stem in clone.stems}
    needed = {claim.metric.partition(".")[0] for claim in claims}
    stale = {
        stem: any(changes(job, found) for job in plan(Profile(found["profile"], root), [stem]))
        for stem, found in kept.items()
        if found and stem in needed and not first_edition.made(found)
    }
    return [_verdict(claim, kept, stale) for claim in claims]


def _verdict(claim: Claim, kept: Mapping[str, dict | None], stale: Mapping[str, bool]) -> Verdict:
    stem, _, name = claim.metric.partition(".")
    found = None if claim.planned else kept[stem]
    if found is None:
        return Verdict(claim, "not run", None)
    if first_edition.made(found) and name not in found["metrics"]:  # a claim of the second edition
        return Verdict(claim, "not run", None)
    if stale.get(stem):
        return Verdict(claim, "stale", found["metrics"].get(name))
    metric = found["metrics"][choose(f"metric of {stem}", name, found["metrics"])]
    return Verdict(claim, judge(metric, claim.accept), metric)


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many claims got each verdict, in a fixed order, zeros included."""
    found = Counter(row.verdict for row in verdicts)
    return {name: found[name] for name in VERDICTS}


def sentence(verdicts: Sequence[Verdict]) -> str:
    """The counts as text: `5 supported, 2 not supported, 3 inconclusive`."""
    return ", ".join(f"{count} {name}" for name, count in counts(verdicts).items() if count)


def columns(row: Verdict) -> dict[str, str]:
    """One row of the verdict table, by column."""
    return {
        "claim": row.claim.claim,
        "where": row.claim.where,
        "paper": ", ".join(f"{name} {value}" for name, value in row.claim.paper.items()),
        "expected": between(row.claim.accept),
        "here": "–" if row.measured is None else shown(row.measured),
        "verdict": row.verdict,
    }


def between(accept: tuple[float, float]) -> str:
    """An accept interval for people: `at most 0.2`, `at least 1.5`, `0.4 to 0.6`."""
    low, high = accept
    if math.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
