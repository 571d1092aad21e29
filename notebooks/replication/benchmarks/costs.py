"""What README.md says of costs: lines of the library, time of its commands, speed beside others."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from replication.benchmarks import speed_page
from replication.runner.profiles import EVIDENCE, Profile
from replication.runner.record import load

PAPER = "make replicate PROFILE=paper"
LAYOUT = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}  # tokens without code


def shown(root: Path) -> str:
    """The README's paragraph on size and speed and its table of times, in Markdown."""
    records = root / "book/records"
    lines = sum(code_lines(path.read_text()) for path in (root / "odenet").rglob("*.py"))
    found = [f"The library has {lines:,} lines of code, without comments and docstrings."]
    if speed := load(records / "speed.json"):
        found += re.findall(r"\*\*(.+?\.)\*\*", speed_page.page(speed))
    text = " ".join(found)
    if (times := load(records / "times.json")) is None:
        return f"{text} `make times` measures what each command takes."
    paper = core_seconds(filter(None, map(load, Profile(EVIDENCE, root).records.glob("*.json"))))
    rows = [(f"`{row['command']}`", row["seconds"], row["core_seconds"]) for row in times["rows"]]
    rows.append((f"`{PAPER}`", None, paper))
    return f"{text} `make times` measures in a new clone:\n\n{table(rows)}\n\n{note(times)}"


def table(rows: Iterable[tuple[str, float | None, float]]) -> str:
    lines = ["| command | minutes | core-minutes |", "| :-- | --: | --: |"]
    lines += [f"| {name} | {minutes(taken)} | {minutes(worked)} |" for name, taken, worked in rows]
    return "\n".join(lines)


def minutes(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds / 60:,.0f}" if seconds >= 570 else f"{seconds / 60:.1f}"


def note(times: Mapping[str, Any]) -> str:
    about = "{started:.10}, on {processor}, torch {versions[torch]}".format(**times)
    return (
        f"Measured on {about}; the set-up downloads its packages, the smoke replication the "
        "digits, and `make bench` had no peers to time. The last row adds up the trainings that "
        "the published chapters keep; some had other work beside them."
    )


def core_seconds(records: Iterable[Mapping[str, Any]]) -> float:
    """Of all trials that the records name, each counted once."""
    trials = {trial["trial"]: trial for record in records for trial in record.get("trials", ())}
    return sum(trial["seconds"] * trial["threads"] for trial in trials.values())


def code_lines(text: str) -> int:
    """Lines with code: none of blanks, of comments, or of values that stand alone (docstrings)."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    kinds = [(tokenize.tok_name[token.type], token.start[0], token.end[0]) for token in tokens]
    code = [places for kind, *places in kinds if kind not in LAYOUT]
    alone = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    docs = [
        (node.lineno, node.end_lineno) for node in alone if isinstance(node.value, ast.Constant)
    ]
    return len(spanned(code) - spanned(docs))


def spanned(places: Iterable[Sequence[int | None]]) -> set[int]:
    return {line for first, last in places for line in range(first or 0, (last or 0) + 1)}
