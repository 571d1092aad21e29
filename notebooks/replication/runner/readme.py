"""What README.md shows of the published evidence: three verdicts as a table, and one figure."""

import re
from pathlib import Path

import nbformat

from replication.runner.claims.page import brief
from replication.runner.claims.rules import HEADLINES, by_claim, main_tests
from replication.runner.claims.verdicts import judged, totals
from replication.runner.files import write
from replication.runner.profiles import EVIDENCE, Profile
from replication.runner.start import HERO, drawn, svg

PLACE = re.compile(r"(?<=<!-- verdicts -->\n).*(?=<!-- end of verdicts -->)", re.DOTALL)


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
    if not PLACE.search(text := page.read_text()):
        raise ValueError(f"{page} has no place between <!-- verdicts --> and its end")
    rows = judged(root, Profile(EVIDENCE, root).records)
    main = {tests[0].claim.number: main_tests(tests) for tests in by_claim(rows)}
    chosen = [row for number in HEADLINES for row in main[number]]
    table = f"**{totals(rows)}.** Three of them, by their main tests:\n\n{brief(chosen)}\n"
    new = PLACE.sub(lambda _: table, text)
    return {page: new, root / "book/_static/result.svg": picture(root)}


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
