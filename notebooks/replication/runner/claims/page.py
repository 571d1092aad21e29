"""The verdicts as a page of the book shows them: tables, reasons, and what the figures draw."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from replication.runner.claims.verdicts import VERDICTS, Verdict, between, columns, counts, sentence

MARKS = dict(zip(VERDICTS, "✓✗?–↻", strict=True))  # read without colour


def totals(verdicts: Sequence[Verdict]) -> str:
    """What was tested, with the counts: `40 tests of 22 claims: 5 supported, 35 not run`."""
    numbers = len({row.claim.number for row in verdicts})
    return f"{len(verdicts)} tests of {numbers} claims: {sentence(verdicts)}"


def answer(verdicts: Sequence[Verdict]) -> str:
    """What the main tests of the claims say, in a sentence."""
    firsts = [next(rows) for _, rows in groupby(verdicts, lambda row: row.claim.number)]
    found = counts(firsts)
    waiting = found["not run"] + found["stale"]
    tail = f"; {waiting} wait for a run" if waiting else ""
    return (
        f"Of the paper's {len(firsts)} claims, our main tests support {found['supported']}, "
        f"contradict {found['not supported']} and leave {found['inconclusive']} undecided{tail}."
    )


def downloads(stems: Sequence[str], folder: str = "../records") -> str:
    """Links to the record files of the chapters `stems`, as HTML."""
    files = [f"{folder}/{stem}.json" for stem in stems]
    items = "".join(f'<li><a href="{file}" download>{escape(file[3:])}</a></li>' for file in files)
    return f"<ul>{items}</ul>"


def table(verdicts: Sequence[Verdict]) -> str:
    """The counts, and every test as a row of an HTML table, by topic.

    The links lead into the chapters of this folder and, by `details`, down this page.
    """
    heads = ("claim", "verdict", "here", "holds if", "the paper", "chapter")
    body = ""
    for topic, rows in groupby(verdicts, lambda row: row.claim.topic):
        body += _heading(escape(topic), len(heads)) + "".join(map(_test, rows))
    return f"<p><strong>{totals(verdicts)}.</strong></p>{_html(heads, body)}"


def _test(row: Verdict) -> str:
    text = _text(row)
    return _row(*_judgement(row), f"{text['where']}: {text['paper']}", _chapter(row))


def _judgement(row: Verdict, page: str = "") -> tuple[str, str, str, str]:
    """The claim, its number a link to the reasons on `page`; its verdict; measured and needed."""
    text = _text(row)
    claim = f'<a href="{page}#why-{_anchor(row)}">{row.claim.number}</a> {text["claim"]}'
    return claim, _badge(row.verdict), text["here"], text["expected"]


def _chapter(row: Verdict) -> str:
    """The number of the chapter that measures it; where that was run, a link to the figure."""
    stem = row.claim.metric.partition(".")[0]
    number = stem.partition("_")[0].lstrip("0")
    place = f"#{row.claim.figure}" if row.claim.figure else ""
    link = f'<a href="{stem}.html{place}">{number}</a>'
    return number if row.measured is None else link


def tests(verdicts: Sequence[Verdict], stem: str, page: str = "10_verdicts.html") -> str:
    """The tests that the chapter `stem` measures, as an HTML table whose links lead to `page`."""
    rows = [row for row in verdicts if row.claim.metric.partition(".")[0] == stem]
    body = "".join(_row(*_judgement(row, page), _text(row)["paper"]) for row in rows)
    return _html(("claim", "verdict", "here", "holds if", "the paper"), body)


def summary(verdicts: Sequence[Verdict], page: str = "chapters/10_verdicts.html") -> str:
    """A line for each claim of the paper, by verdict, as an HTML table whose links lead to `page`.

    Verdict and numbers are those of a claim's first test; its other tests are marks. Claims of
    which nothing was run share the last line.
    """
    heads = ("what the paper claims", "here", "holds if", "more tests")
    bodies = dict.fromkeys(VERDICTS, "")
    waiting = []
    for number, group in groupby(verdicts, lambda row: row.claim.number):
        first, *others = group
        link = f'<a href="{page}#why-{_anchor(first)}">{number}</a>'
        if {row.verdict for row in (first, *others)} == {"not run"}:
            waiting.append(link)
            continue
        text = _text(first)
        cells = (f"{link} {escape(first.claim.title)}", text["here"], text["expected"])
        bodies[first.verdict] += _row(*cells, " ".join(map(_mark, others)))
    parts = [_heading(_badge(name), len(heads)) + body for name, body in bodies.items() if body]
    if waiting:
        parts.append(_heading(f"{_badge('not run')} {', '.join(waiting)}", len(heads)))
    return _html(heads, "".join(parts))


def brief(verdicts: Sequence[Verdict]) -> str:
    """What the first test of each claim says, a row each, as a table in Markdown."""
    heads = ("claim of the paper", "printed there", "measured here", "holds if", "verdict")
    rows = [heads, (":--",) * len(heads)]
    for number, group in groupby(verdicts, lambda row: row.claim.number):
        first = next(group)
        text = columns(first)
        numbers = (text["paper"], text["here"].replace("\u00a0", " "), text["expected"])
        mark = f"{MARKS[first.verdict]} {first.verdict}"
        rows.append((f"{number} {first.claim.title}", *numbers, mark))
    return "\n".join(escape(f"| {' | '.join(row)} |", quote=False) for row in rows)


def details(verdicts: Sequence[Verdict]) -> str:
    """The reason for each interval and what is known of each claim, as Markdown."""
    parts = []
    for number, group in groupby(verdicts, lambda row: row.claim.number):
        rows = list(group)
        place = f'<span id="why-{_anchor(rows[0])}"></span>'
        parts.append(f"{place}**{number}. {rows[0].claim.title}**")
        parts += [_detail(row) for row in rows]
    return "\n\n".join(parts)


def _detail(row: Verdict) -> str:
    claim = row.claim
    return (
        f"- `{claim.id}`, {claim.where}: {claim.claim}. Needed: `{claim.metric}` "
        f"{between(claim.accept)}; **{row.verdict}**.\n"
        f"    - *Why this interval:* {claim.why}\n    - *Known:* {claim.known}"
    )


def drawn(row: Verdict) -> dict[str, Any]:
    """One row of the verdict figures: numbers, None where there is none."""
    metric = row.measured
    value, low, high = metric, None, None
    if isinstance(metric, dict):
        value, low, high = metric["mean"], metric["low"], metric["high"]
    number = {"value": value, "low": low, "high": high, "printed": row.claim.printed}
    place = {"number": row.claim.number, "id": row.claim.id, "where": row.claim.where}
    return place | number | {"accept": row.claim.accept, "verdict": row.verdict}


def _text(row: Verdict) -> dict[str, str]:
    """The columns of one row as HTML; what is a number stays on one line."""
    text = {name: escape(value) for name, value in columns(row).items()}
    numbers = {name: f'<span class="number">{text[name]}</span>' for name in ("here", "expected")}
    return text | numbers


def _anchor(row: Verdict) -> str:
    return row.claim.number.lower().replace("'", "-prime")


def _badge(verdict: str) -> str:
    kind = verdict.replace(" ", "-")
    return f'<span class="verdict {kind}">{MARKS[verdict]} {verdict}</span>'


def _mark(row: Verdict) -> str:
    """A mark alone, whose words show under the pointer and are read aloud."""
    text = escape(f"{row.claim.claim}: {row.verdict}")
    kind = row.verdict.replace(" ", "-")
    mark = MARKS[row.verdict]
    return f'<abbr class="verdict {kind}" title="{text}" aria-label="{text}">{mark}</abbr>'


def _heading(content: str, width: int) -> str:
    return f'<tr class="topic"><th colspan="{width}">{content}</th></tr>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _html(heads: Sequence[str], body: str) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    parts = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<table class="dataframe verdicts">{parts}</table>'
