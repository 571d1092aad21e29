"""The paper's claims as rules written beforehand, and what the records say about each."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from odenet.replicate import record
from odenet.replicate.jobs import changes, plan
from odenet.replicate.metrics import Metric, markdown, shown
from odenet.replicate.profiles import Profile, choose

COLUMNS = ("claim", "where", "paper", "expected", "here", "verdict")
VERDICTS = ("supported", "not supported", "inconclusive", "not run", "stale")


@dataclass(frozen=True)
class Claim:
    """A claim that a number can support or reject: `metric` is expected inside `accept`."""

    id: str
    where: str
    claim: str
    paper: dict[str, object]
    metric: str
    accept: tuple[float, float]
    why: str
    known: str


@dataclass(frozen=True)
class Verdict:
    """What one record says about one claim; `measured` is None if it was not run."""

    claim: Claim
    verdict: str
    measured: Metric | None


def load(path: Path, stems: Sequence[str]) -> list[Claim]:
    """The claims at `path`; ValueError naming the row for any that does not keep to the schema."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list):
        raise ValueError(f"{path.name}: must be a list of claims")
    claims = []
    for number, row in enumerate(rows, 1):
        name = row.get("id", "no id") if isinstance(row, dict) else "no id"
        try:
            claims.append(_claim(row, stems))
        except ValueError as error:
            raise ValueError(f"{path.name}, row {number} ({name}): {error}") from error
    twice = [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]
    if twice:
        raise ValueError(f"{path.name}: used for more than one claim: {', '.join(twice)}")
    return claims


def _claim(row: Any, stems: Sequence[str]) -> Claim:
    keys = [field.name for field in fields(Claim)]
    if not isinstance(row, dict):
        raise ValueError(f"must have the keys {', '.join(keys)}")
    for key in row:
        choose("key", key, keys)
    for key in keys:
        want = {"paper": dict, "accept": list}.get(key, str)
        if not row.get(key) or not isinstance(row[key], want):
            raise ValueError(f"{key} must be a {want.__name__} and not empty")
    stem, _, name = row["metric"].partition(".")
    if not name:
        raise ValueError(f"metric must be notebook.name, not {row['metric']!r}")
    choose("notebook", stem, stems)
    accept = row["accept"]
    numbers = len(accept) == 2 and all(type(edge) in (int, float) for edge in accept)
    if not numbers or not accept[0] < accept[1]:
        raise ValueError(f"accept must be [low, high] with low < high, not {accept}")
    return Claim(**row | {"accept": (float(accept[0]), float(accept[1]))})


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
    claims = load(clone.claims, clone.stems)
    kept = {stem: record.load(records / f"{stem}.json") for stem in clone.stems}
    stale = {
        stem: any(changes(job, found) for job in plan(Profile(found["profile"], root), [stem]))
        for stem, found in kept.items()
        if found and any(claim.metric.startswith(f"{stem}.") for claim in claims)
    }
    return [_verdict(claim, kept, stale) for claim in claims]


def _verdict(claim: Claim, kept: dict[str, dict | None], stale: dict[str, bool]) -> Verdict:
    stem, _, name = claim.metric.partition(".")
    found = kept[stem]
    if found is None:
        return Verdict(claim, "not run", None)
    if stale[stem]:
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


def table(verdicts: Sequence[Verdict], heads: Sequence[str] = COLUMNS) -> str:
    """All verdicts as a Markdown table with the columns `heads`."""
    return markdown(heads, [[columns(row)[head] for head in heads] for row in verdicts])


def summary(verdicts: Sequence[Verdict]) -> str:
    """Claims, numbers and verdicts as an HTML table, which another page of the book can show."""
    # The verdict beside the claim: on a phone the columns behind it have to be scrolled to.
    short = table(verdicts, ("claim", "verdict", "here", "expected", "where"))
    html = MarkdownIt("commonmark").enable("table").render(short)
    return html.replace("<table>", '<table class="table">')


def details(verdicts: Sequence[Verdict]) -> str:
    """The reason for each interval and what is known of each claim, as Markdown."""
    return "\n\n".join(
        f"**{row.claim.id}** ({row.claim.where}): {row.claim.claim}. Expected "
        f"{between(row.claim.accept)}; {row.verdict}.\n\n"
        f"- *Why this interval:* {row.claim.why}\n- *Known:* {row.claim.known}"
        for row in verdicts
    )


def drawn(row: Verdict) -> dict[str, Any]:
    """One row of the verdict figure: numbers, None where there is none."""
    metric = row.measured
    value, low, high = metric, None, None
    if isinstance(metric, dict):
        value, low, high = metric["mean"], metric["low"], metric["high"]
    place = {"id": row.claim.id, "where": row.claim.where, "accept": row.claim.accept}
    return place | {"verdict": row.verdict, "value": value, "low": low, "high": high}


def between(accept: tuple[float, float]) -> str:
    """An accept interval for people: `at most 0.2`, `at least 1.5`, `0.4 to 0.6`."""
    low, high = accept
    if math.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
