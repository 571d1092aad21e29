"""Numerics only: knows tensors and functions, nothing of learning."""

from odenet.solvers.control import Adaptive, Control, FixedSteps, rms
from odenet.solvers.integrate import covered, sample, steps
from odenet.solvers.methods import METHODS
from odenet.solvers.runge_kutta import RungeKutta, rk_step
from odenet.solvers.solution import Solution, SolveError, Stats, Work
from odenet.solvers.step import Field, History, Method, Step
from odenet.solvers.tableau import TABLEAUS, Tableau

__all__ = [
    "METHODS",
    "TABLEAUS",
    "Adaptive",
    "Control",
    "Field",
    "FixedSteps",
    "History",
    "Method",
    "RungeKutta",
    "Solution",
    "SolveError",
    "Stats",
    "Step",
    "Tableau",
    "Work",
    "covered",
    "rk_step",
    "rms",
    "sample",
    "steps",
]
