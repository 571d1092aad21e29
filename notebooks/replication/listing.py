"""Code of the trials as a page shows it: what is shown is what runs."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown


def listing(*functions: Callable[..., Any]) -> Markdown:
    """The code of functions of one file, without docstrings, under the file's name."""
    return _fenced(functions[0], *map(_code, functions))


def excerpt(function: Callable[..., Any], first: str, after: str = "") -> Markdown:
    """A function's lines from the first that begins so to before the next that begins ``after``.

    To its end where that is empty. Raises ValueError where no line begins so.
    """
    lines = inspect.getsource(function).splitlines()
    start = _line(lines, first, 0)
    stop = _line(lines, after, start) if after else len(lines)
    return _fenced(function, "\n".join(lines[start:stop]))


def _code(function: Callable[..., Any]) -> str:
    source = textwrap.dedent(inspect.getsource(function))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    lines = source.splitlines()
    if ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines)


def _line(lines: list[str], words: str, start: int) -> int:
    for number, line in enumerate(lines[start:], start):
        if line.strip().startswith(words):
            return number
    raise ValueError(f"no line begins with {words!r} in\n" + "\n".join(lines))


def _fenced(function: Callable[..., Any], *sources: str) -> Markdown:
    path = inspect.unwrap(function).__module__.replace(".", "/")
    code = "\n\n\n".join(textwrap.dedent(source).strip() for source in sources)
    return Markdown(f"```python\n# notebooks/{path}.py\n{code}\n```")
