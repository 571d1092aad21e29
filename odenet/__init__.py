"""Solvers, gradients and models for neural ordinary differential equations."""

from odenet.gradients import Adjoint, Backprop, Checkpoint
from odenet.ode import Solver, odeint, odeint_adjoint, solve
from odenet.solvers import METHODS, Adaptive, FixedSteps, Solution, SolveError, Stats, Work, steps

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
    "solve",
    "steps",
]
