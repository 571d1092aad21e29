"""Solvers for ordinary differential equations in PyTorch, and models made of them.

    solution = odenet.solve(field, y0, ts, odenet.Solver("dopri5", odenet.Adaptive(1e-6, 1e-6)))

``solve`` and ``Solver`` are enough to begin. Models are in ``odenet.models``, the parts of a solver
in ``odenet.solvers``.
"""

from odenet.adjoint import Adjoint, Backprop, Checkpoint, InterpolatedAdjoint
from odenet.events import solve_event
from odenet.ode import Solver, solve, steps
from odenet.solvers import METHODS, Adaptive, FixedSteps, Solution, SolveError
from odenet.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

__all__ = [
    "METHODS",
    "Adaptive",
    "Adjoint",
    "Backprop",
    "Checkpoint",
    "FixedSteps",
    "InterpolatedAdjoint",
    "Solution",
    "SolveError",
    "Solver",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "solve",
    "solve_event",
    "steps",
]

NUMERICS: int = 2  # raised when a numerical result changes on purpose: kept trials depend on it
