"""Solvers, gradients and models for neural ordinary differential equations."""

from odenet.gradients import Adjoint, Backprop, Checkpoint
from odenet.ode import Solver, solve, solve_event
from odenet.odeint import odeint, odeint_adjoint, odeint_event
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
    "odeint_event",
    "solve",
    "solve_event",
    "steps",
]
