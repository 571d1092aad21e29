"""torchdiffeq beside our rules, where it is installed: nothing here needs it.

A *way* to solve takes a field, a state, the output times and a tolerance. It returns the states
and, where the library counts it, the cost.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec

from torch import Tensor, nn

from odenet.adjoint import Gradient
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveStats

Way = Callable[[nn.Module, Tensor, Tensor, float], tuple[Tensor, SolveStats | None]]


def ours(
    rule: Callable[[float], Gradient | str | None], method: str = "dopri5", compile: bool = False
) -> Way:
    """The way that goes through ``solve``, with the gradient rule for a tolerance."""

    def way(
        field: nn.Module, y0: Tensor, ts: Tensor, tolerance: float
    ) -> tuple[Tensor, SolveStats]:
        solver = Solver(method, Adaptive(tolerance, tolerance), rule(tolerance), compile)
        solution = solve(field, y0, ts, solver)
        return solution.ys, solution.stats

    return way


def installed() -> str:
    """The version of torchdiffeq, empty where it is not installed."""
    return version("torchdiffeq") if find_spec("torchdiffeq") else ""


def torchdiffeq_ways() -> Mapping[str, Way]:
    """torchdiffeq's two functions by name, with the method and tolerance of ours.

    Raises ModuleNotFoundError where it is not installed.
    """
    from torchdiffeq import odeint, odeint_adjoint

    def way_of(integrate: Callable[..., Tensor]) -> Way:
        return lambda field, y0, ts, tolerance: (
            integrate(field, y0, ts, rtol=tolerance, atol=tolerance, method="dopri5"),
            None,
        )

    return {f"torchdiffeq {f.__name__}": way_of(f) for f in (odeint, odeint_adjoint)}
