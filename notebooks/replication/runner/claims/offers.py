"""What a notebook reports and draws, read from its source without running it."""

import ast
from dataclasses import dataclass
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode


@dataclass(frozen=True)
class Offer:
    """The metrics and the figures of a notebook that others may name."""

    metrics: tuple[str, ...]
    figures: tuple[str, ...] = ()


def offers(notebooks: Path) -> dict[str, Offer]:
    """What each notebook in the folder offers, by stem."""
    paths = sorted(notebooks.glob("[0-9]*.ipynb"))
    sources = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    return {stem: Offer(_metrics(source), _figures(source)) for stem, source in sources.items()}


def _metrics(source: NotebookNode) -> tuple[str, ...]:
    """The keywords written out in the last call of `report`; what `**` adds is known only later."""
    calls = [
        node
        for cell in source.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "report"
    ]
    return tuple(word.arg for word in calls[-1].keywords if word.arg) if calls else ()


def _figures(source: NotebookNode) -> tuple[str, ...]:
    """The names under which its pages can link to its figures."""
    notes = (cell.metadata.get("mystnb", {}).get("figure", {}) for cell in source.cells)
    return tuple(note["name"] for note in notes if "name" in note)
