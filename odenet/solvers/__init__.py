"""Numerics only: knows tensors and functions, nothing of learning."""

from odenet.solvers.adams import Adams
from odenet.solvers.loop import Trajectory, covered, sample, steps
from odenet.solvers.methods import METHODS
from odenet.solvers.runge_kutta import RungeKutta, rk_step
from odenet.solvers.scipy_adams import SciPyAdams
from odenet.solvers.solution import Solution, SolveError, Stats, Work
from odenet.solvers.step import Field, History, Method, Step
from odenet.solvers.step_size import Adaptive, Control, FixedSteps, Verdict, rms
from odenet.solvers.tableau import Tableau
from odenet.solvers.tables import TABLEAUS

__all__ = [
    "METHODS",
    "TABLEAUS",
    "Adams",
    "Adaptive",
    "Control",
    "Field",
    "FixedSteps",
    "History",
    "Method",
    "RungeKutta",
    "SciPyAdams",
    "Solution",
    "SolveError",
    "Stats",
    "Step",
    "Tableau",
    "Trajectory",
    "Verdict",
    "Work",
    "covered",
    "rk_step",
    "rms",
    "sample",
    "steps",
]
