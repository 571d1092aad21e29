"""The numerics: methods, steps, step-size control, and what a solve returns."""

from odenet.solvers.adams import Adams
from odenet.solvers.loop import Trajectory, attempts, covered, sample
from odenet.solvers.methods import METHODS
from odenet.solvers.problem import InitialValueProblem
from odenet.solvers.runge_kutta import RungeKutta, rk_step
from odenet.solvers.scipy_adams import SciPyAdams
from odenet.solvers.solution import Counts, Solution, SolveError, SolveStats
from odenet.solvers.step import Field, Interpolant, Method, SlopeHistory, Step, StepMethod, Stepper
from odenet.solvers.step_size import Adaptive, Control, Decision, FixedSteps, rms
from odenet.solvers.tableau import Tableau
from odenet.solvers.tables import TABLEAUS

__all__ = [
    "METHODS",
    "TABLEAUS",
    "Adams",
    "Adaptive",
    "Control",
    "Counts",
    "Decision",
    "Field",
    "FixedSteps",
    "InitialValueProblem",
    "Interpolant",
    "Method",
    "RungeKutta",
    "SciPyAdams",
    "SlopeHistory",
    "Solution",
    "SolveError",
    "SolveStats",
    "Step",
    "StepMethod",
    "Stepper",
    "Tableau",
    "Trajectory",
    "attempts",
    "covered",
    "rk_step",
    "rms",
    "sample",
]
