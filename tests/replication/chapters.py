"""What a notebook declares, reports and draws, read from its source: what claims may name."""

import ast
from dataclasses import dataclass
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from replication.runner.parameters import declared


@dataclass(frozen=True)
class Chapter:
    """The names in a notebook that a claim may use."""

    metrics: tuple[str, ...]
    figures: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


def chapters(notebooks: Path) -> dict[str, Chapter]:
    """The chapter that each notebook in the folder makes, by stem."""
    paths = sorted(notebooks.glob("[0-9]*.ipynb"))
    return {path.stem: _chapter(nbformat.read(path, as_version=4)) for path in paths}


def _chapter(source: NotebookNode) -> Chapter:
    notes = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in source.cells]
    figures = tuple(note["name"] for note in notes if "name" in note)
    return Chapter(_metrics(source), figures, tuple(declared(source)))


def _metrics(source: NotebookNode) -> tuple[str, ...]:
    """The keywords written out in the last call of `report`; what `**` adds is known only later."""
    code = [cell.source for cell in source.cells if cell.cell_type == "code"]
    last = ast.parse(TransformerManager().transform_cell(code[-1]))
    calls = [node for node in ast.walk(last) if isinstance(node, ast.Call)]
    reports = [call for call in calls if ast.unparse(call.func) == "report"]
    return tuple(word.arg for word in reports[-1].keywords if word.arg) if reports else ()
