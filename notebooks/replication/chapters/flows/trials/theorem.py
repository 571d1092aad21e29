"""Theorem 1 of the paper under test, and what a flow costs by its width."""

import time
from collections.abc import Callable
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

DIMS = (2, 3, 10)  # of the linear fields
REACH, CELLS = 8.0, 150  # of the grid, so far that no flow here carries mass out of it
PROBES = (1, 4, 16, 64)  # noise vectors that Hutchinson's estimate averages
SOLVER = Solver("dopri5", Adaptive(1e-7, 1e-7))

WIDTHS = (64, 256, 1024, 4096)  # of the fields that are timed, with 256 points
DETERMINANTS = (128, 256, 512)  # widths of a layer with a determinant
REPEATS = 5


@dataclass(frozen=True)
class Trial:
    """One random field of each kind, in double precision."""

    seed: int = 0


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
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(trial.seed)
        planar = PlanarField(16, [trial.seed]).double()
        network = MLPField(2, 32, 2).double()
        for p in network.parameters():
            p.mul_(2)  # else its paths are nearly straight
        carriers = {"planar": planar, "network": ExactTrace(network)}
        flows = {name: ContinuousFlow(carrier, SOLVER) for name, carrier in carriers.items()}
        z = torch.randn(1, 200, 2, dtype=torch.float64)
        differentiated = ContinuousFlow(ExactTrace(_Bare(planar)), SOLVER)(z)[1]
        return {
            "linear": [_linear_error(d) for d in DIMS],
            "mass": {name: _mass(flow) for name, flow in flows.items()},
            "there_and_back": {name: _there_and_back(flow, z) for name, flow in flows.items()},
            "traces": float((flows["planar"](z)[1] - differentiated).abs().max()),
            "hutchinson": _estimated(network, z[0], flows["network"](z[0])[1]),
        }


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


def _mass(flow: ContinuousFlow) -> float:
    x, area = grid(REACH, CELLS)
    return float(flow.log_prob(x[None])[0].exp().sum()) * area


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


def _estimated(network: nn.Module, z: Tensor, exact: Tensor) -> list[float]:
    """All noise vectors at once, as copies of the points; then means over ever more of them."""
    copies = z.expand(4 * max(PROBES), *z.shape)
    noise = torch.randint(0, 2, copies.shape).double() * 2 - 1
    found = ContinuousFlow(EstimatedTrace(network, noise), SOLVER)(copies)[1]
    means = [found.unflatten(0, (-1, n)).mean(1) for n in PROBES]
    return [float((mean - exact).square().mean().sqrt()) for mean in means]


@dataclass(frozen=True)
class CostTrial:
    """The processor time of an evaluation by the width of the field, on one thread."""

    seed: int = 0


def run_cost(trial: CostTrial, folder: Path) -> dict[str, Any]:
    """Medians over repeats, in seconds, for all points together.

    ``rows``: by width, ``forward`` of the carrier and ``both`` with the backward pass through it.
    ``determinants``: by width, that of a matrix of this size for each of 16 points.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "rows": [_timed(units, trial.seed) for units in WIDTHS],
            "determinants": [_determinant(units) for units in DETERMINANTS],
        }
    finally:
        torch.set_num_threads(threads)


def _timed(units: int, seed: int) -> dict[str, float]:
    field = PlanarField(units, [seed])
    state = torch.randn(1, 256, 3).requires_grad_()

    def forward() -> Tensor:
        return field(0.5, state)

    def both() -> None:
        torch.autograd.grad(forward().sum(), [state, *field.parameters()])

    with field.ahead([0.5]):  # the network of the time is paid once a step
        seconds = _median(forward)
    return {"units": units, "forward": seconds, "both": _median(both)}


def _determinant(units: int) -> dict[str, float]:
    matrices = torch.eye(units) + torch.randn(16, units, units) / units
    return {"units": units, "seconds": _median(lambda: torch.logdet(matrices))}


def _median(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return median(seconds)
