"""The start page: what of a run's chapters it shows and leads to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from nbformat import NotebookNode

from replication.runner.files import write

HERO = ("05_spirals", "fig-spirals")
CARDS = {  # title: the claim that its words are about, and the figure that it leads to
    "Spirals": ("C15", "05_spirals", "fig-rmse"),
    "Handwritten digits": ("C3", "03_mnist", "fig-errors"),
    "Evaluations while it learns": ("C8", "04_nfe", "fig-growth"),
}
VERDICTS = "10_verdicts"


def fill(page: Path, chapters: Mapping[str, NotebookNode]) -> None:
    """The template at `page` is filled in, with its pictures beside it in `_static`.

    What a chapter would show that is not in `chapters`, or a figure that it does not have, is left
    out.
    """

    def picture(stem: str, figure: str) -> dict[str, Any] | None:
        cell = drawn(chapters[stem], figure) if stem in chapters else None
        if cell is None:
            return None
        write(page.parent / f"_static/{figure}.svg", svg(cell))
        return {"figure": figure, "alt": cell.metadata["mystnb"]["image"]["alt"]}

    cards = [
        {"title": title, "number": number, "stem": stem, "picture": picture(stem, figure)}
        for title, (number, stem, figure) in CARDS.items()
        if {stem, VERDICTS} <= chapters.keys()
    ]
    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(
        page.read_text(encoding="utf-8")
    )
    write(page, template.render(hero=picture(*HERO), cards=cards))


def drawn(chapter: NotebookNode, figure: str) -> NotebookNode | None:
    """The cell of an executed chapter that draws the figure of this name."""
    for cell in chapter.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == figure:
            return cell
    return None


def svg(cell: NotebookNode) -> str:
    """What a cell drew."""
    return cell.outputs[-1].data["image/svg+xml"]
