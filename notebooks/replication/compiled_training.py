"""Trainings with compiled solves, of models whose other solves stay as they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from odenet.compiled import Compiled


@contextmanager
def compiled_solves(model: Any, wanted: bool) -> Iterator[None]:
    """Inside, where ``wanted``, the solves of a model with a ``solver`` are compiled code.

    Values and gradients are equal to rounding. Worth it where shapes stay the same for thousands
    of steps: the first solve compiles, for seconds, in every process. Raises ``CannotCompile``,
    such as for want of a C++ compiler.
    """
    if not wanted:
        yield
        return
    eager = model.solver
    model.solver = replace(eager, gradient=Compiled("checkpoint"))
    try:
        yield
    finally:
        model.solver = eager
