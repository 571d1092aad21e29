"""The ways to solve a task and to differentiate it: ours, and those of libraries installed here.

A *way* takes a tolerance, relative and absolute, and returns arrays: the states at the task's
times, or the gradients of their mean square for the start and the parameters. All of them
integrate with the method of Dormand and Prince of order 5.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from odenet.adjoint import GRADIENTS, Backprop, Gradient
from odenet.compiled import CannotCompile, Compiled
from odenet.models.fields import Autonomous
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, FixedSteps, SolveStats
from replication import peers
from replication.chapters.speed.jax_ways import INSTALLED as DIFFRAX
from replication.chapters.speed.jax_ways import Diffrax
from replication.chapters.speed.tasks import Task

Way = Callable[[float], Sequence[Any]]
LIBRARIES = ("torchdiffeq", "torchode", "torchdyn", "diffrax", "jax", "scipy")


def versions() -> dict[str, str]:
    """Of the libraries that are installed here."""
    return {name: version(name) for name in LIBRARIES if find_spec(name)}


def warm_up() -> None:
    """Compile a little, so that what PyTorch makes once on a machine is there."""
    solver = Solver("euler", FixedSteps(1), Compiled())
    with suppress(CannotCompile), torch.no_grad():
        solve(Autonomous(nn.Tanh()), torch.zeros(64), (0.0, 1.0), solver)


def forward_ways(name: str, task: Task) -> dict[str, Way]:
    """Where no gradient is wanted. Beside the libraries: ``evaluations alone``, as many as ours."""
    found = {
        "odenet": _ours(Backprop()),
        "odenet compiled": _ours(Compiled()),
        **_libraries(task, "torchdiffeq odeint"),
    }
    ways = {key: _without_gradient(task, way) for key, way in found.items()}
    if DIFFRAX:
        ways["diffrax"] = Diffrax(name, task).states
    return ways | {"SciPy": _scipy(task), "evaluations alone": _alone(task)}


def gradient_ways(name: str, task: Task, compiled: Sequence[str]) -> dict[str, Way]:
    """Where gradients are wanted; ``compiled`` names the rules that are compiled too."""
    found = {
        **{f"odenet {key}": _ours(rule) for key, rule in GRADIENTS.items()},
        **{f"odenet {key}, compiled": _ours(Compiled(key)) for key in compiled},
        **_libraries(task, "torchdiffeq odeint", "torchdiffeq odeint_adjoint"),
    }
    ways = {key: _with_gradient(task, way) for key, way in found.items()}
    if DIFFRAX:
        ways["diffrax"] = Diffrax(name, task).gradients
        ways["diffrax backsolve"] = Diffrax(name, task, backwards=True).gradients
    return ways


def euler_ways(name: str, task: Task) -> dict[str, Callable[[int], Sequence[Any]]]:
    """From start to end in so many steps of Euler's method, which does little but evaluate.

    Beside the libraries: ``evaluations alone``, from Python.
    """
    end = task.ts[[0, -1]].tolist()

    def ours(rule: Gradient) -> Callable[[int], Sequence[Any]]:
        @torch.no_grad()
        def way(steps: int) -> Sequence[Any]:
            solver = Solver("euler", FixedSteps(steps), rule)
            return [solve(task.field, task.y0, end, solver).ys]

        return way

    ways = {
        "evaluations alone": lambda steps: _evaluated(task, steps),
        "odenet": ours(Backprop()),
        "odenet compiled": ours(Compiled()),
    }
    return ways | ({"diffrax": Diffrax(name, task).euler} if DIFFRAX else {})


def _ours(rule: Gradient) -> peers.Way:
    """With a solver that is made once for a tolerance, as its users do."""
    made = cache(lambda tolerance: Solver("dopri5", Adaptive(tolerance, tolerance), rule))

    def way(
        field: nn.Module, y0: Tensor, ts: Tensor, tolerance: float
    ) -> tuple[Tensor, SolveStats | None]:
        solution = solve(field, y0, ts, made(tolerance))
        return solution.ys, solution.stats

    return way


def _libraries(task: Task, *torchdiffeq: str) -> dict[str, peers.Way]:
    """Those in PyTorch that are installed here, of torchdiffeq the ways of these names."""
    found: dict[str, peers.Way] = {}
    if peers.installed():
        ways = peers.torchdiffeq_ways()
        found |= {name: ways[name] for name in torchdiffeq}
    if find_spec("torchode") and task.y0.dim() == 2:  # its batch is rows
        found["torchode"] = _torchode(task.field)
    if find_spec("torchdyn"):
        found["torchdyn"] = _torchdyn
    return found


def _torchode(field: nn.Module) -> peers.Way:
    """Every row of the batch has its own steps."""
    import torchode

    term = torchode.ODETerm(field)

    @cache
    def made(tolerance: float) -> Any:
        control = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        return torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)

    def way(
        _: nn.Module, y0: Tensor, ts: Tensor, tolerance: float
    ) -> tuple[Tensor, SolveStats | None]:
        problem = torchode.InitialValueProblem(y0=y0, t_eval=ts.repeat(len(y0), 1))
        return made(tolerance).solve(problem).ys.transpose(0, 1), None

    return way


def _torchdyn(
    field: nn.Module, y0: Tensor, ts: Tensor, tolerance: float
) -> tuple[Tensor, SolveStats | None]:
    from torchdyn.numerics import odeint

    return odeint(field, y0, ts, solver="dopri5", atol=tolerance, rtol=tolerance)[1], None


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
            same = Solver("dopri5", Adaptive(tolerance, tolerance))
            counts[tolerance] = solve(task.field, task.y0, task.ts, same).stats.forward.nfe
        return _evaluated(task, counts[tolerance])

    return way


@torch.no_grad()
def _evaluated(task: Task, times: int) -> Sequence[Any]:
    """Nothing, after so many evaluations of the field."""
    for _ in range(times):
        task.field(0.0, task.y0)
    return []


def _without_gradient(task: Task, solved: peers.Way) -> Way:
    @torch.no_grad()
    def way(tolerance: float) -> Sequence[Any]:
        return [solved(task.field, task.y0, task.ts, tolerance)[0]]

    return way


def _with_gradient(task: Task, solved: peers.Way) -> Way:
    y0 = task.y0.clone().requires_grad_()
    inputs = [y0, *task.parameters]

    def way(tolerance: float) -> Sequence[Any]:
        states, _ = solved(task.field, y0, task.ts, tolerance)
        return torch.autograd.grad(states.square().mean(), inputs)

    return way
