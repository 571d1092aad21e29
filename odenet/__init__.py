"""Solvers, gradients and models for neural ordinary differential equations."""

from odenet.events import solve_event
from odenet.gradients import Adjoint, Backprop, Checkpoint
from odenet.ode import Solver, solve
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
