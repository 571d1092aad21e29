"""The verdicts as a page of the book shows them; how they look is in the templates beside it.

Where `rerun` is given, its numbers and whether they agree stand beside the published verdicts.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from replication.runner.claims.agreement import Agreement, agreeing
from replication.runner.claims.verdicts import VERDICTS, Verdict, columns, sentence
from replication.runner.metrics import shown

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
)
TEMPLATES.globals["marks"] = dict(zip(VERDICTS, "✓✗?–↻", strict=True))  # read without colour
TEMPLATES.filters |= {"columns": columns, "shown": shown}

Verdicts = Sequence[Verdict]
Rerun = Sequence[Agreement]


def totals(verdicts: Verdicts) -> str:
    """What was tested, with the counts: `40 tests of 22 claims: 5 supported, 35 not run`."""
    return f"{len(verdicts)} tests of {len(_by_claim(verdicts))} claims: {sentence(verdicts)}"


def answer(verdicts: Verdicts, rerun: Rerun = ()) -> str:
    """What the main tests of the claims say, in a sentence; of a rerun, whether it agrees."""
    if rerun:
        return agreeing(rerun)
    main = [tests[0] for tests in _by_claim(verdicts)]
    return f"Of the paper's {len(main)} claims, by our main tests: {sentence(main)}."


def table(verdicts: Verdicts, rerun: Rerun = ()) -> str:
    """The counts, and every test by topic, as HTML with links into the chapters of this folder."""
    return _shown("html", "table", verdicts, _by_id(rerun), totals(verdicts))


def tests(verdicts: Verdicts, stem: str, rerun: Rerun = ()) -> str:
    """The tests that the chapter `stem` measures, as HTML."""
    rows = [row for row in verdicts if row.claim.stem == stem]
    return _shown("html", "tests", rows, _by_id(rerun), "10_verdicts.html")


def summary(verdicts: Verdicts, rerun: Rerun = (), page: str = "chapters/10_verdicts.html") -> str:
    """A line for each claim of the paper, by the verdict of its first test, as HTML."""
    return _shown("html", "summary", _by_claim(verdicts), _by_id(rerun), page)


def brief(verdicts: Verdicts) -> str:
    """A row for each of these tests, as a table in Markdown."""
    return _shown("md", "brief", verdicts).replace("\u00a0", " ")


def details(verdicts: Verdicts) -> str:
    """The reason for each interval and what is known of each claim, as Markdown."""
    return _shown("md", "details", verdicts)


def drawn(row: Verdict) -> dict[str, Any]:
    """One row of the verdict figures: numbers, None where there is none."""
    claim, metric = row.claim, row.measured
    ends = metric if isinstance(metric, dict) else {"mean": metric, "low": None, "high": None}
    place = {"number": claim.number, "id": claim.id, "where": claim.where}
    needed = {"printed": claim.printed, "accept": claim.accept, "verdict": row.verdict}
    return place | needed | {"value": ends["mean"], "low": ends["low"], "high": ends["high"]}


def _shown(kind: str, view: str, *values: object) -> str:
    return str(getattr(TEMPLATES.get_template(f"verdicts.{kind}.j2").module, view)(*values)).strip()


def _by_claim(verdicts: Verdicts) -> list[list[Verdict]]:
    """The tests of each claim of the paper, the main one first."""
    return [list(rows) for _, rows in groupby(verdicts, lambda row: row.claim.number)]


def _by_id(rerun: Rerun) -> dict[str, Agreement]:
    return {row.claim.id: row for row in rerun}
