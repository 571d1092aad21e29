"""Differentiate a solve through the solver's own operations."""

from __future__ import annotations

from dataclasses import dataclass

from odenet.solvers import InitialValueProblem, Solution


@dataclass(frozen=True)
class Backprop:
    """Backpropagation through the solver's operations ("discretise, then optimise").

    The gradient is exact for the computed solution, and can be differentiated any number of times.
    Memory grows with every stage of every accepted step; rejected steps leave nothing behind.
    Nothing needs to be said about parameters: autograd finds them, those of a plain function too.

    Example:
        >>> import torch, odenet
        >>> y0 = torch.ones(1, dtype=torch.float64, requires_grad=True)
        >>> solver = odenet.Solver(gradient=odenet.Backprop())  # the default
        >>> odenet.solve(lambda t, y: -y, y0, [0.0, 1.0], solver).y1.backward()
        >>> round(y0.grad.item(), 4)  # exp(-1)
        0.3679
    """

    needs_params = False
    needs_steps = True

    def __call__(self, problem: InitialValueProblem) -> Solution:
        return problem.solve()
