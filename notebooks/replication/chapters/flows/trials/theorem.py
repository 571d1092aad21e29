"""Theorem 1 of the paper under test, and what a flow costs by its width."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from odenet.models.fields import Autonomous, MLPField
from odenet.models.flow import ContinuousFlow, EstimatedTrace, ExactTrace, log_normal
from odenet.models.planar import PlanarField
from odenet.ode import Solver
from odenet.solvers import Adaptive
from replication.data.densities import grid

REACH = 8.0  # of the grid, far enough that no flow here carries mass out of it
SOLVER = Solver("dopri5", Adaptive(1e-7, 1e-7))


@dataclass(frozen=True)
class Trial:
    """One random field of each kind, in double precision."""

    seed: int = 0
    dims: Sequence[int] = (2, 3, 10)  # of the linear fields
    cells: int = 150  # along each side of the grid
    probes: Sequence[int] = (1, 4, 16, 64)  # noise vectors that Hutchinson's estimate averages


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What is left of the theorem's equalities.

    ``linear``: for each dimension, the worst error in nats of the log-density of points carried by
    a linear field. Of a planar field and of a network: ``mass``, the sum of the carried density
    over a grid; ``there_and_back``, the worst difference in nats between the log-density of a
    point as it is carried and as it is found from where it arrives. Of the planar field,
    ``traces``: the worst difference in nats between its trace in closed form and that by
    differentiation. Of the network, ``hutchinson``: for each number of noise vectors, the root
    mean square error in nats of the estimated log-density.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        planar = PlanarField(16, [trial.seed]).double()
        network = MLPField(2, 32, 2).double()
        with torch.no_grad():
            for p in network.parameters():
                p.mul_(2)  # else its paths are nearly straight
        flows = {
            "planar": ContinuousFlow(planar, SOLVER),
            "network": ContinuousFlow(ExactTrace(network), SOLVER),
        }
        z = torch.randn(1, 200, 2, dtype=torch.float64)
        return {
            "linear": [{"dims": d, "error": _linear_error(d)} for d in trial.dims],
            "mass": {name: _mass(flow, trial.cells) for name, flow in flows.items()},
            "there_and_back": {name: _there_and_back(flow, z) for name, flow in flows.items()},
            "traces": _trace_gap(planar, z),
            "hutchinson": _estimated(network, z[0], trial.probes),
        }


@torch.no_grad()
def _linear_error(dims: int) -> float:
    """Against ``log p(1) = log p(0) - tr A``, at points that the field carried."""
    linear = nn.Linear(dims, dims).double()
    linear.weight.normal_(std=1.0)
    z = torch.randn(100, dims, dtype=torch.float64)
    flow = ContinuousFlow(ExactTrace(Autonomous(linear)), SOLVER)
    x, log_p, _ = flow(z)
    exact = log_normal(z) - linear.weight.trace()
    arrived, _ = flow.log_prob(x)
    return float(torch.stack((log_p - exact, arrived - exact)).abs().max())


@torch.no_grad()
def _mass(flow: ContinuousFlow, cells: int) -> float:
    x, area = grid(REACH, cells)
    return float(flow.log_prob(x[None])[0].exp().sum()) * area


@torch.no_grad()
def _there_and_back(flow: ContinuousFlow, z: Tensor) -> float:
    x, log_p, _ = flow(z)
    return float((flow.log_prob(x)[0] - log_p).abs().max())


class _Bare(nn.Module):
    """The field of a planar carrier without its trace."""

    def __init__(self, carrier: PlanarField) -> None:
        super().__init__()
        self.carrier = carrier

    def forward(self, t: float, z: Tensor) -> Tensor:
        return self.carrier(t, torch.cat((z, torch.zeros_like(z[..., :1])), -1))[..., :2]


@torch.no_grad()
def _trace_gap(planar: PlanarField, z: Tensor) -> float:
    closed = ContinuousFlow(planar, SOLVER)(z)[1]
    differentiated = ContinuousFlow(ExactTrace(_Bare(planar)), SOLVER)(z)[1]
    return float((closed - differentiated).abs().max())


@torch.no_grad()
def _estimated(network: nn.Module, z: Tensor, probes: Sequence[int]) -> list[dict[str, Any]]:
    """All noise vectors at once, as copies of the points; then means over ever more of them."""
    exact = ContinuousFlow(ExactTrace(network), SOLVER)(z)[1]
    copies = z.expand(4 * max(probes), *z.shape)
    noise = torch.randint(0, 2, copies.shape).double() * 2 - 1
    found = ContinuousFlow(EstimatedTrace(network, noise), SOLVER)(copies)[1]
    rows = []
    for n in probes:
        means = found.unflatten(0, (-1, n)).mean(1)
        rows.append({"probes": n, "error": float((means - exact).square().mean().sqrt())})
    return rows


@dataclass(frozen=True)
class CostTrial:
    """The processor time of an evaluation by the width of the field, on one thread."""

    seed: int = 0
    widths: Sequence[int] = (64, 256, 1024, 4096)
    points: int = 256
    determinants: Sequence[int] = (128, 256, 512)  # widths of a layer with a determinant
    repeats: int = 5


def run_cost(trial: CostTrial, folder: Path) -> dict[str, Any]:
    """Medians over repeats, in seconds, for all points together.

    ``rows``: by width, ``forward`` of the carrier and ``both`` with the backward pass through it.
    ``determinants``: by width, that of a matrix of this size for each of 16 points.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "rows": [_timed(trial, units) for units in trial.widths],
            "determinants": [_determinant(trial, units) for units in trial.determinants],
        }
    finally:
        torch.set_num_threads(threads)


def _timed(trial: CostTrial, units: int) -> dict[str, float]:
    field = PlanarField(units, [trial.seed])
    state = torch.randn(1, trial.points, 3).requires_grad_()

    def forward() -> Tensor:
        return field(0.5, state)

    def both() -> None:
        torch.autograd.grad(forward().sum(), [state, *field.parameters()])

    with field.ahead([0.5]):  # the network of the time is paid once a step
        seconds = _median(trial.repeats, forward)
    return {"units": units, "forward": seconds, "both": _median(trial.repeats, both)}


def _determinant(trial: CostTrial, units: int) -> dict[str, float]:
    matrices = torch.eye(units) + torch.randn(16, units, units) / units
    return {"units": units, "seconds": _median(trial.repeats, lambda: torch.logdet(matrices))}


def _median(repeats: int, call: Any) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return median(seconds)
