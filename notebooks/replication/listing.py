"""Code of the trials as a page shows it: what is shown is what runs."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown


def listing(*functions: Callable[..., Any]) -> Markdown:
    """The source of functions of one file, under its name."""
    return _fenced(functions[0], *(inspect.getsource(one) for one in functions))


def excerpt(function: Callable[..., Any], first: str, after: str) -> Markdown:
    """A function's lines from the one that begins with ``first`` to before that with ``after``.

    Raises ValueError where no line does.
    """
    lines = inspect.getsource(function).splitlines()
    start, stop = (_line(lines, words) for words in (first, after))
    return _fenced(function, "\n".join(lines[start:stop]))


def _line(lines: list[str], words: str) -> int:
    for number, line in enumerate(lines):
        if line.strip().startswith(words):
            return number
    raise ValueError(f"no line begins with {words!r} in\n" + "\n".join(lines))


def _fenced(function: Callable[..., Any], *sources: str) -> Markdown:
    path = inspect.unwrap(function).__module__.replace(".", "/")
    code = "\n\n\n".join(textwrap.dedent(source).strip() for source in sources)
    return Markdown(f"```python\n# notebooks/{path}.py\n{code}\n```")
