"""Numbers in the prose of the book: measured ones are glued, and what is typed has a reason."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

from odenet import METHODS

ROOT = Path(__file__).parents[2]
MADE = ROOT / "book/_speed.md"  # by `make bench`, of measured numbers alone: test_speed.py
PAGES = sorted({*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("book/*.md")} - {MADE})
CLAIMS = yaml.safe_load((ROOT / "book/claims.yml").read_text())["claims"]
STATED = yaml.safe_load((ROOT / "tests/replication/stated_numbers.yml").read_text())
REASONS = {"paper", "reported", "setting", "definition"}

# What is no prose: front matter, code, options and heads of directives, roles, mathematics, tags.
NO_PROSE = re.compile(
    r"\A---\n.*?\n---\n|^```\w*\n.*?^```|^```\{(?:eval-rst|glue)\}.*?^```|^```.*?$|^:\w+:.*?$"
    r"|(?:\{[\w:]+\})?`[^`]+`|\$\$.*?\$\$|\$[^$]+\$|\\begin.*?\\end|<[^>]+>|\]\([^)]*\)",
    re.DOTALL | re.MULTILINE,
)
PLACES = re.compile(
    r"\b(?:Python|Sections?|Figures?|Tables?|Equations?|Appendix|issues?|versions?)\s[\d.]+\w*"
)
UNITS = (
    "per cent|percent|points?|nats?|tolerances|times|fold|[kMG]i?B|bytes|s|ms|us|seconds?|minutes?"
    "|hours?|evaluations"
)
WORDS = "two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|a?hundred|thousand"
NUMBER = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
MEASURED = re.compile(
    rf"{NUMBER}\s*%|{NUMBER}[\s-](?:{UNITS})\b|(?<![\w.])\d+\.\d+(?!\.\d)(?:e[-+]?\d+)?|(?<![\w.])\d+e[-+]?\d+"
    rf"|\b(?:{WORDS}) times\b"
)


def typed(text):
    """The numbers of a Markdown text that look measured, with their units."""
    prose = PLACES.sub(" ", NO_PROSE.sub(" ", text))
    return [" ".join(found.split()) for found in MEASURED.findall(prose)]


def prose(path):
    """A page's Markdown; of a notebook, its cells, captions and texts for figures."""
    if path.suffix == ".md":
        return path.read_text()
    cells = nbformat.read(path, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    drawn = [cell.metadata["mystnb"] for cell in cells if "mystnb" in cell.metadata]
    texts += [text for of in drawn for text in (of["figure"]["caption"], of["image"]["alt"])]
    return "\n\n".join(texts)


def values(stem):
    """The numbers that the paper gives for a chapter's claims, and those they are judged by."""
    rows = [row for row in CLAIMS if row["metric"].split(".")[0] == stem]
    kept = [[row["paper"], row.get("printed", ""), row["accept"]] for row in rows]
    return {float(found) for found in re.findall(r"\d+(?:\.\d+)?", str(kept))}


def unfounded(stem, text):
    """What is typed without a reason, and reasons for what is not typed."""
    reasons = [entry for entries in STATED.get(stem, {}).values() for entry in entries]
    judged = values(stem)
    found = [token for token in typed(text) if number(token) not in judged]
    return sorted(set(found) - set(reasons)), sorted(set(reasons) - set(found))


def number(token):
    digits = re.match(NUMBER, token)
    return float(digits[0].replace(",", "")) if digits else None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_number_that_is_typed_was_not_measured_here(path):
    assert unfounded(path.stem, prose(path)) == ([], [])


def test_each_stated_number_has_one_of_four_reasons_and_a_page():
    assert set(STATED) <= {path.stem for path in PAGES}
    assert {reason for page in STATED.values() for reason in page} <= REASONS


def test_a_typed_measurement_is_found():
    text = (
        "It took 12.5 s and 31 evaluations, erred by 0.37% or 3.2e-4, and was thirty times faster"
    )
    assert typed(text) == ["12.5 s", "31 evaluations", "0.37%", "3.2e-4", "thirty times"]
    page = prose(ROOT / "notebooks/03_mnist.ipynb")
    assert unfounded("03_mnist", page + "\n\nOurs errs by 0.53%.") == (["0.53%"], [])


def test_what_is_glued_cited_or_calculated_is_no_typed_number():
    text = (
        "{glue:text}`gap:.1f` points, {cite:t}`chen2018neural`, `rtol=1e-3`, $x = 0.5$, Table 3.2, "
        "Python 3.11\n\n```bash\nmake P=0.37\n```\n\n$$0.25 + 1$$ and 3 seeds of 60,000 images"
    )
    assert typed(text) == []


def test_a_reason_for_a_number_that_is_gone_is_found():
    assert unfounded("03_mnist", "Nothing.")[1]


def test_the_page_on_the_api_names_every_method():
    named = set(re.findall(r"``(\w+)``", (ROOT / "book/api.md").read_text()))
    assert set(METHODS) <= named


def test_every_entry_of_the_bibliography_is_cited():
    entries = re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE)
    cited = "".join(map(prose, PAGES))
    assert entries and [key for key in entries if key not in cited] == []
