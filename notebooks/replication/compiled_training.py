"""Trainings with compiled solves, of models whose other solves stay as they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from odenet.adjoint import Checkpoint
from odenet.solvers import FixedSteps, InitialValueProblem, Solution


def whole(backend: Any = "inductor") -> Callable[[InitialValueProblem], Solution]:
    return torch.compile(InitialValueProblem.solve, fullgraph=True, dynamic=False, backend=backend)


@dataclass(frozen=True)
class WholeSolve:
    """A gradient rule: the whole solve, with its gradient by backpropagation, as one graph.

    For fixed steps, of which no value is looked at. To compile takes as long as there are steps.
    """

    solve: Callable[[InitialValueProblem], Solution] = field(default_factory=lambda: whole())
    needs_params = False
    needs_steps = True

    def __call__(self, problem: InitialValueProblem) -> Solution:
        return self.solve(problem)


@contextmanager
def compiled_solves(model: Any, wanted: bool) -> Iterator[None]:
    """Inside, where ``wanted``, the solves of a model with a ``solver`` are compiled code.

    Values and gradients are equal to rounding. Worth it where shapes stay the same for thousands
    of steps: the first solve compiles, for up to minutes on a new machine, and for seconds in
    every process after. Needs a C++ compiler.
    """
    if not wanted:
        yield
        return
    eager = model.solver
    if isinstance(eager.control, FixedSteps):
        model.solver = replace(eager, gradient=WholeSolve())
    else:
        model.solver = replace(eager, gradient=Checkpoint(), compile=True)
    try:
        yield
    finally:
        model.solver = eager
