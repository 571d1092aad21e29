"""The ways to solve a task and to differentiate it: ours, and those of libraries installed here.

A *way* takes a tolerance, relative and absolute, and returns arrays: the states at the task's
times, or the gradients of their mean square for the start and the parameters. All of them
integrate with the method of Dormand and Prince of order 5.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from odenet.compiled import Compiled
from odenet.experiments.speed_jax import INSTALLED as DIFFRAX
from odenet.experiments.speed_jax import Diffrax
from odenet.experiments.speed_tasks import Task
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, FixedSteps

Rule = str | Compiled
Way = Callable[[float], Sequence[Any]]
States = Callable[[Tensor, float], Tensor]  # start and tolerance -> states at the task's times
LIBRARIES = ("torchdiffeq", "torchode", "torchdyn", "diffrax", "jax", "scipy")


def versions() -> dict[str, str]:
    """Of the libraries that are installed here."""
    return {name: version(name) for name in LIBRARIES if find_spec(name)}


def forward_ways(name: str, task: Task) -> dict[str, Way]:
    """Where no gradient is wanted. Beside the libraries: ``evaluations alone``, as many as ours."""
    found = {
        "odenet": _ours(task, "backprop"),
        "odenet compiled": _ours(task, Compiled()),
        **_torchdiffeq(task, ["odeint"]),
        **_torchode(name, task),
        **_torchdyn(task),
    }
    ways: dict[str, Way] = {key: _without_gradient(task, states) for key, states in found.items()}
    if DIFFRAX:
        ways["diffrax"] = Diffrax(name, task).states
    return ways | {"SciPy": _scipy(task), "evaluations alone": _alone(task)}


def gradient_ways(name: str, task: Task, compiled: Sequence[str]) -> dict[str, Way]:
    """Where gradients are wanted; ``compiled`` names the rules that are compiled too."""
    found = {
        **{f"odenet {rule}": _ours(task, rule) for rule in ("backprop", "checkpoint", "adjoint")},
        **{f"odenet {rule}, compiled": _ours(task, Compiled(rule)) for rule in compiled},
        **_torchdiffeq(task, ["odeint", "odeint_adjoint"]),
        **_torchode(name, task),
        **_torchdyn(task),
    }
    ways: dict[str, Way] = {key: _with_gradient(task, states) for key, states in found.items()}
    if DIFFRAX:
        ways["diffrax"] = Diffrax(name, task).gradients
        ways["diffrax backsolve"] = Diffrax(name, task, backwards=True).gradients
    return ways


def euler_ways(name: str, task: Task) -> dict[str, Callable[[int], Sequence[Any]]]:
    """From start to end in so many steps of Euler's method, which does little but evaluate.

    Beside the libraries: ``evaluations alone``, from Python.
    """
    end = task.ts[[0, -1]].tolist()

    def ours(rule: Rule) -> Callable[[int], Sequence[Any]]:
        @torch.no_grad()
        def way(steps: int) -> Sequence[Any]:
            solver = Solver("euler", FixedSteps(steps), rule)
            return [solve(task.field, task.y0, end, solver).ys]

        return way

    ways = {
        "evaluations alone": lambda steps: _evaluated(task, steps),
        "odenet": ours("backprop"),
        "odenet compiled": ours(Compiled()),
    }
    return ways | ({"diffrax": Diffrax(name, task).euler} if DIFFRAX else {})


def _ours(task: Task, rule: Rule) -> States:
    def states(y0: Tensor, tolerance: float) -> Tensor:
        return solve(task.field, y0, task.ts, _solver(tolerance, rule)).ys

    return states


def _solver(tolerance: float, rule: Rule = "backprop") -> Solver:
    return Solver("dopri5", Adaptive(tolerance, tolerance), rule)


def _torchdiffeq(task: Task, functions: Sequence[str]) -> Mapping[str, States]:
    if not find_spec("torchdiffeq"):
        return {}
    import torchdiffeq

    def by(integrate: Callable[..., Tensor]) -> States:
        def states(y0: Tensor, tolerance: float) -> Tensor:
            return integrate(task.field, y0, task.ts, rtol=tolerance, atol=tolerance)

        return states

    return {f"torchdiffeq {name}": by(getattr(torchdiffeq, name)) for name in functions}


def _torchode(name: str, task: Task) -> Mapping[str, States]:
    """Every row of the batch has its own steps; only for states that are rows."""
    if not find_spec("torchode") or task.y0.dim() != 2:
        return {}
    import torchode

    term = torchode.ODETerm(task.field)
    times = task.ts.repeat(len(task.y0), 1)

    def states(y0: Tensor, tolerance: float) -> Tensor:
        control = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
        problem = torchode.InitialValueProblem(y0=y0, t_eval=times)
        return solver.solve(problem).ys.transpose(0, 1)

    return {"torchode": states}


def _torchdyn(task: Task) -> Mapping[str, States]:
    if not find_spec("torchdyn"):
        return {}
    from torchdyn.numerics import odeint

    def states(y0: Tensor, tolerance: float) -> Tensor:
        settings = {"solver": "dopri5", "atol": tolerance, "rtol": tolerance}
        return odeint(task.field, y0, task.ts, **settings)[1]

    return {"torchdyn": states}


def _scipy(task: Task) -> Way:
    """The same steps in NumPy, which calls the field in PyTorch."""
    span, ts = task.ts[[0, -1]].tolist(), task.ts.tolist()

    def slope(t: float, y: Any) -> Any:
        state = torch.from_numpy(y).to(task.y0).view_as(task.y0)
        return task.field(t, state).reshape(-1).numpy()

    @torch.no_grad()
    def way(tolerance: float) -> Sequence[Any]:
        y0 = task.y0.reshape(-1).numpy()
        found = solve_ivp(slope, span, y0, "RK45", ts, rtol=tolerance, atol=tolerance)
        return [found.y.T.reshape(len(ts), *task.y0.shape)]

    return way


def _alone(task: Task) -> Way:
    """As many evaluations as our solve at a tolerance takes, and nothing else."""
    counts: dict[float, int] = {}

    @torch.no_grad()
    def way(tolerance: float) -> Sequence[Any]:
        if tolerance not in counts:
            solution = solve(task.field, task.y0, task.ts, _solver(tolerance))
            counts[tolerance] = solution.work.forward.nfe
        return _evaluated(task, counts[tolerance])

    return way


@torch.no_grad()
def _evaluated(task: Task, times: int) -> Sequence[Any]:
    """Nothing, after so many evaluations of the field."""
    for _ in range(times):
        task.field(0.0, task.y0)
    return []


def _without_gradient(task: Task, states: States) -> Way:
    @torch.no_grad()
    def way(tolerance: float) -> Sequence[Any]:
        return [states(task.y0, tolerance)]

    return way


def _with_gradient(task: Task, states: States) -> Way:
    y0 = task.y0.clone().requires_grad_()
    inputs = [y0, *task.parameters]

    def way(tolerance: float) -> Sequence[Any]:
        return torch.autograd.grad(states(y0, tolerance).square().mean(), inputs)

    return way
