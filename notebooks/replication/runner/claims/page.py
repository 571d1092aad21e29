"""The verdicts as a page of the book shows them; how they look is in the templates beside it.

Where `rerun` is given, its numbers and whether they agree stand beside the published verdicts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from replication.runner.claims.agreement import Agreement, agreeing
from replication.runner.claims.cards import findings
from replication.runner.claims.intervals import LEVEL, in_units
from replication.runner.claims.power import outlook
from replication.runner.claims.rules import Rules, by_claim, main_tests
from replication.runner.claims.verdicts import (
    WORDS,
    Verdict,
    between,
    columns,
    counted,
    headline,
    sentence,
)

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
)
TEMPLATES.globals["marks"] = dict(zip(WORDS, "✓✗?◐–↻", strict=True))  # read without colour
TEMPLATES.filters |= {
    "anchor": lambda number: f"why-{number.lower().replace(chr(39), '-prime')}",
    "between": between,
    "columns": columns,
    "headline": headline,
    "in_units": in_units,
    "main_tests": main_tests,
    "sentence": sentence,
    "outlook": lambda row: outlook(row.measured, row.claim.scale, row.claim.accept),
}

Verdicts = Sequence[Verdict]
Rerun = Sequence[Agreement]


def answer(verdicts: Verdicts, rerun: Rerun = ()) -> str:
    """What the main tests of the paper's claims say, those apart that were given up.

    Of a rerun, whether it agrees.
    """
    if rerun:
        return agreeing(rerun)
    claims = _papers(verdicts)
    given_up = [headline(tests) for tests in claims if tests[0].claim.given_up]
    held = [headline(tests) for tests in claims if not tests[0].claim.given_up]
    late = sum(any(row.claim.post_hoc for row in main_tests(tests)) for tests in claims)
    text = f"Of the paper's {len(claims)} claims, by our main tests: {sentence(held)}."
    if given_up:
        text += f" Apart from these, {len(given_up)} that the authors withdrew or are reported to "
        text += f"have given up: {sentence(given_up)}."
    if late:
        text += f" Tests written after numbers like theirs were seen (†) decide {late} of the "
        text += f"{len(claims)}."
    return text


def chance(verdicts: Verdicts) -> str:
    """How many tests are judged by an interval, and how many of them chance may turn."""
    ends = [row.estimate.ends for row in verdicts if row.estimate and row.estimate.ends]
    many = sum(low < high for low, high in ends)
    wrong = f"a probability of at most {1 - LEVEL:.0%}, so on average {many * (1 - LEVEL):.1f}"
    return (
        f"Of these {len(verdicts)} tests {many} are judged by an interval. Each comes out wrong by "
        f"chance with {wrong} or fewer of the {many} do; no interval is widened for that."
    )


def table(verdicts: Verdicts, rerun: Rerun = ()) -> str:
    """These tests counted, and each by topic, as HTML with links into the chapters."""
    if not verdicts:
        return "<p>There is none.</p>"
    return _shown("html", "table", verdicts, _by_id(rerun), counted(verdicts))


def tests(verdicts: Verdicts, stem: str, rerun: Rerun = ()) -> str:
    """The tests that the chapter `stem` measures, as HTML."""
    rows = [row for row in verdicts if row.claim.stem == stem]
    return _shown("html", "tests", rows, _by_id(rerun), "10_verdicts.html")


def summary(verdicts: Verdicts, rerun: Rerun = (), page: str = "chapters/10_verdicts.html") -> str:
    """A line for each claim of the paper by topic, with its main tests, as HTML."""
    return _shown("html", "summary", _papers(verdicts), _by_id(rerun), page)


def card(verdicts: Verdicts, number: str, rerun: Rerun = ()) -> str:
    """What was found about one claim, in sentences, as HTML."""
    rows = [row for row in verdicts if row.claim.number == number]
    return _shown("html", "card", findings(rows, _by_id(rerun)))


def brief(verdicts: Verdicts) -> str:
    """A row for each of these tests, as a table in Markdown."""
    return _shown("md", "brief", verdicts).replace("\u00a0", " ")


def details(verdicts: Verdicts, rules: Rules) -> str:
    """Of each claim its tests with their reasons, its history and what is planned, as Markdown."""

    groups = [
        {
            "number": number,
            "title": title,
            "tests": [row for row in verdicts if row.claim.number == number],
            "history": [row for row in rules.superseded if row.number == number],
            "planned": [row for row in rules.planned if row.number == number],
        }
        for number, title in rules.titles.items()
    ]
    return _shown("md", "details", groups)


def drawn(row: Verdict) -> dict[str, Any]:
    """One row of the verdict figures: numbers, None where there is none."""
    claim, found = row.claim, row.estimate
    low, high = found.ends if found and found.ends else (None, None)
    if low == high:  # decided by a value alone
        low = high = None
    place = {"number": claim.number, "id": claim.id, "where": claim.where}
    needed = {"printed": claim.printed, "accept": claim.accept, "verdict": row.verdict}
    return place | needed | {"value": found and found.mean, "low": low, "high": high}


def _shown(kind: str, view: str, *values: object) -> str:
    return str(getattr(TEMPLATES.get_template(f"verdicts.{kind}.j2").module, view)(*values)).strip()


def _papers(verdicts: Verdicts) -> list[list[Verdict]]:
    """The tests of each claim of the paper."""
    return by_claim(row for row in verdicts if not row.claim.beyond)


def _by_id(rerun: Rerun) -> dict[str, Agreement]:
    return {row.claim.id: row for row in rerun}
