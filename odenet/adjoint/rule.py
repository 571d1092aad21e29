"""What a gradient rule is: given a problem, it returns a solution that can be differentiated."""

from __future__ import annotations

from typing import Protocol

from odenet.solvers import InitialValueProblem, Solution


class Gradient(Protocol):
    """A gradient rule: given a problem, it returns a solution that can be differentiated."""

    @property
    def needs_params(self) -> bool:
        """Whether it must be told which tensors the field depends on."""
        ...

    @property
    def needs_steps(self) -> bool:
        """Whether it needs the steps that the method makes, one by one."""
        ...

    def __call__(self, problem: InitialValueProblem) -> Solution:
        """The solution, whose gradients reach ``problem.y0`` and ``problem.params``."""
        ...
