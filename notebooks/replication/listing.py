"""Code of the modules that ran, as it is shown on a page."""

import ast
import inspect
import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any

from IPython.display import Markdown


def listing(function: Callable[..., Any], *names: str) -> Markdown:
    """The source of a function or class, without docstrings, under the name of its file.

    With names, only those statements of its body that define them: an inner function, a variable.
    Raises ValueError for a name that is defined by none.
    """
    source = dedent(inspect.getsource(function))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
    lines = source.splitlines()
    if names:
        shown = [_lines(lines, node) for node in definition.body if _defines(node) & set(names)]
        known = set().union(*map(_defines, definition.body))
        if missing := set(names) - known:
            raise ValueError(f"{function.__qualname__} defines no {', '.join(sorted(missing))}")
        text = "\n\n".join(shown)
    else:
        for first in reversed(_docstrings(definition)):
            del lines[first.lineno - 1 : first.end_lineno]
        text = re.sub(r"(?m)^(class .*)\n+", r"\1\n", "\n".join(lines))
    file = function.__module__.replace(".", "/")
    return Markdown(f"```python\n# {file}.py, {function.__qualname__}\n{text}\n```")


def _docstrings(definition: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    """Of it and of what it defines, in the order of their lines."""
    parts = [definition, *(n for n in definition.body if isinstance(n, ast.FunctionDef))]
    return [part.body[0] for part in parts if ast.get_docstring(part)]


def _defines(node: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in stored if isinstance(n.ctx, ast.Store)}


def _lines(lines: list[str], node: ast.stmt) -> str:
    return dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))
