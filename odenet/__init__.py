"""Solvers, gradients and models for neural ordinary differential equations."""

from odenet.adjoint import Adjoint, Backprop, Checkpoint
from odenet.events import solve_event
from odenet.ode import Solver, solve
from odenet.solvers import METHODS, Adaptive, FixedSteps, Solution, SolveError, Stats, Work, steps
from odenet.torchdiffeq import odeint, odeint_adjoint, odeint_event

__all__ = [
    "METHODS",
    "Adaptive",
    "Adjoint",
    "Backprop",
    "Checkpoint",
    "FixedSteps",
    "Solution",
    "SolveError",
    "Solver",
    "Stats",
    "Work",
    "odeint",
    "odeint_adjoint",
    "odeint_event",
    "solve",
    "solve_event",
    "steps",
]
