"""What README.md shows of the evidence: three claims as a table, one figure, and the costs."""

import re
from pathlib import Path

import nbformat

from replication.benchmarks import costs
from replication.runner.claims.page import answer, brief
from replication.runner.claims.rules import HEADLINES, by_claim, main_tests
from replication.runner.claims.verdicts import judged
from replication.runner.files import write
from replication.runner.profiles import EVIDENCE, Profile
from replication.runner.start import HERO, drawn, svg

PLACE = r"(?<=<!-- {0} -->\n).*(?=<!-- end of {0} -->)"


def refresh(root: Path) -> list[Path]:
    """README.md and its picture hold what `shown` gives; the files that did not are returned."""
    files = shown(root)
    behind = [path for path in files if path.read_text() != files[path]]
    for path in behind:
        write(path, files[path])
    return behind


def shown(root: Path) -> dict[Path, str]:
    """The files that the README shows, by path, as the evidence of the clone at `root` has them."""
    page = root / "README.md"
    text = filled(page.read_text(), "verdicts", verdicts(root))
    text = filled(text, "costs", costs.shown(root))
    return {page: text, root / "book/_static/result.svg": picture(root)}


def filled(page: str, place: str, content: str) -> str:
    """The page with this between the comments <!-- place --> and <!-- end of place -->.

    Raises ValueError if it does not have them.
    """
    between = re.compile(PLACE.format(place), re.DOTALL)
    if not between.search(page):
        raise ValueError(f"README.md has no place between <!-- {place} --> and its end")
    return between.sub(lambda _: f"{content}\n", page)


def verdicts(root: Path) -> str:
    """How many claims came out how, and the main tests of three of them, in Markdown."""
    rows = judged(root, Profile(EVIDENCE, root).records)
    main = {tests[0].claim.number: main_tests(tests) for tests in by_claim(rows)}
    chosen = [row for number in HEADLINES for row in main[number]]
    return f"{answer(rows)} Three of the claims, with their main tests:\n\n{brief(chosen)}"


def picture(root: Path) -> str:
    """The SVG of the start page's figure, as its published chapter holds it.

    Raises LookupError if the chapter does not draw it.
    """
    stem, name = HERO
    chapter = nbformat.read(Profile(EVIDENCE, root).chapters / f"{stem}.ipynb", as_version=4)
    cell = drawn(chapter, name)
    if cell is None:
        raise LookupError(f"the published {stem} does not draw {name}")
    return svg(cell)
