"""A notebook's parameters: what it declares, what a reader typed, and whether the two fit."""

import ast
import operator
import re
from collections.abc import Mapping
from math import inf

from nbformat import NotebookNode

from replication.runner.profiles import choose

# A name=value, or whatever stands before the next; in quotes a value may hold what looks like one.
_PAIR = re.compile(r"""\w+=(?:'[^']*'|"[^"]*")(?!\S)|(?:(?!\s+\w+=).)+""", re.DOTALL)
_BOUND = re.compile(r"\b(above|at least|at most) (\d[\d.]*(?:e-?\d+)?)(?!\d| of them)")
_LENGTH = re.compile(r"\bat least (\d+) of them")  # different ones
_HOLDS = {"above": operator.gt, "at least": operator.ge, "at most": operator.le}


def declared(notebook: NotebookNode) -> dict[str, object]:
    """Name -> default of each annotated assignment in the cell tagged `parameters`."""
    return {name: default for name, (default, _) in _declarations(notebook).items()}


def typed(text: str) -> dict[str, object]:
    """The values in `epochs=2 lr=1e-3 fast=true`, read as Python; true, false; or else as text."""
    values: dict[str, object] = {}
    for pair in _PAIR.findall(text.strip()):
        if not re.match(r"\w+=.", pair):
            raise ValueError(f"parameters are written name=value, not {pair!r}")
        name, _, value = pair.partition("=")
        if name in values:
            raise ValueError(f"{name} is given twice")
        values[name] = _value(name, value)
    return values


def checked(stem: str, notebook: NotebookNode, given: Mapping[str, object]) -> dict[str, object]:
    """The parameters `stem` runs with: its defaults, overridden by `given`.

    Raises ValueError for a name that the notebook does not declare, for a value of another type
    than the default's (an int is taken where a float is expected), and for a number, or one in a
    list, out of the bounds in the comment: "above 0", "at least 1", "at most 100"; and for a list
    of less than "at least 2 of them".
    """
    parameters = _declarations(notebook)
    for name, value in given.items():
        choose(f"parameter of {stem}", name, parameters)
        default, line = parameters[name]
        if not _fits(value, default, line):
            given_as = f"{value!r} ({type(value).__name__})"
            raise ValueError(f"{stem}: {name} cannot be {given_as}. Its declaration: {line}")
    return declared(notebook) | dict(given)


def bounds(line: str) -> list[tuple[str, float]]:
    """What a declaration's comment asks of its numbers: `[("at least", 1.0)]`."""
    return [(word, float(bound)) for word, bound in _BOUND.findall(line)]


def _declarations(notebook: NotebookNode) -> dict[str, tuple[object, str]]:
    """Name -> default and line, with its comment."""
    tagged = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    source = next((cell.source for cell in tagged), "")
    lines = source.splitlines()
    return {
        node.target.id: (
            ast.literal_eval(node.value),
            " ".join(lines[node.lineno - 1 : node.end_lineno]),
        )
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }


def _value(name: str, text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        if re.match(r"[\w./~]", text) and not text[0].isdigit():
            return text
    raise ValueError(
        f"{name}={text} cannot be read: write numbers and lists as Python does, such as 1e-3 and "
        "[1, 2], and put in quotes a text that does not begin with a letter"
    )


def _fits(value: object, default: object, line: str) -> bool:
    if isinstance(value, list) and isinstance(default, list):
        fewest = max([1, *map(int, _LENGTH.findall(line))])
        return all(_fits(item, default[0], line) for item in value) and len(set(value)) >= fewest
    if type(value) is not type(default) and not (type(default) is float and type(value) is int):
        return False
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    return abs(value) < inf and all(_HOLDS[word](value, bound) for word, bound in bounds(line))
