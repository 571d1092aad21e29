"""Numerics only: knows tensors and functions, nothing of learning."""

from odenet.solvers.control import Adaptive, Control, FixedSteps, rms
from odenet.solvers.integrate import covered, sample, steps
from odenet.solvers.solution import Solution, SolveError, Stats, Work
from odenet.solvers.step import Field, Step, rk_step
from odenet.solvers.tableau import BOSH3, DOPRI5, EULER, METHODS, MIDPOINT, RK4, Tableau

__all__ = [
    "BOSH3",
    "DOPRI5",
    "EULER",
    "METHODS",
    "MIDPOINT",
    "RK4",
    "Adaptive",
    "Control",
    "Field",
    "FixedSteps",
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
