"""A notebook's parameters: what it declares, what a reader typed, and whether the two fit."""

import ast
import re
from collections.abc import Mapping

import yaml
from nbformat import NotebookNode

from replication.runner.profiles import choose


def declared(notebook: NotebookNode) -> dict[str, object]:
    """Name -> default of each annotated assignment in the cell tagged `parameters`."""
    return {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(_cell(notebook)).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }


def typed(text: str) -> dict[str, object]:
    """The values in `epochs=2 lr=1e-3 fast=true`, read as Python or else as YAML."""
    pairs = [part for part in re.split(r"\s+(?=\w+=)", text.strip()) if part]
    for pair in pairs:
        if not re.match(r"\w+=.", pair):
            raise ValueError(f"parameters are written name=value, not {pair!r}")
    return {name: _value(value) for name, _, value in (pair.partition("=") for pair in pairs)}


def checked(stem: str, notebook: NotebookNode, given: Mapping[str, object]) -> dict[str, object]:
    """The parameters `stem` runs with: its defaults, overridden by `given`.

    Raises ValueError for a name that the notebook does not declare or a value of another type
    than the default's (an int is taken where a float is expected).
    """
    defaults = declared(notebook)
    for name, value in given.items():
        choose(f"parameter of {stem}", name, defaults)
        if not _fits(value, defaults[name]):
            raise ValueError(
                f"{stem}: {name} cannot be {value!r} ({type(value).__name__}). It takes:\n"
                + _cell(notebook)
            )
    return defaults | dict(given)


def _cell(notebook: NotebookNode) -> str:
    tagged = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    return next((cell.source for cell in tagged), "")


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return yaml.safe_load(text)


def _fits(value: object, default: object) -> bool:
    if isinstance(value, list) and isinstance(default, list):
        return bool(value) and all(_fits(item, default[0]) for item in value)
    return type(value) is type(default) or (type(default) is float and type(value) is int)
