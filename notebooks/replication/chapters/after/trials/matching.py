"""Flows without simulation: the field of chapter 06, trained by flow matching.

Conditional flow matching of Lipman, Chen et al. 2023, along straight paths from noise to data.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.flow import ContinuousFlow
from odenet.models.planar import PlanarField
from odenet.solvers import SolveStats
from replication.data.densities import sample
from replication.probe import dopri5
from replication.training import Learner, Row, Schedule, column, train

HELD_OUT = 1_000_000  # the seed of the held-out points, as in chapter 06
BATCH, TIMES = 256, 16  # points of a step, in so many groups with a time each
PROBE = 1_000  # held-out points on the way, as many as for the flows of chapter 06
ROWS = 40  # of the history
FINAL = 1e-5  # tolerance of the solves that results come from


@dataclass(frozen=True)
class Trial:
    """Flows side by side from noise to two moons or two circles, one for each seed."""

    set: str = "moons"  # circles | moons
    size: int = 64  # units of the field
    seed: int = 0  # the first of the seeds: initial weights, noise and points
    seeds: int = 1
    iterations: int = 2000  # gradient steps, rounded up to a multiple of 40
    rate: float = 4e-2  # of Adam, falling to zero along a cosine
    held_out: int = 10_000  # points


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of each flow; goes on from ``folder``/checkpoint.pt where it was interrupted.

    In nats over the held-out points, a value for each seed: ``nll``, the mean negative
    log-likelihood, and ``curve_nll``, over fewer of them after each fortieth of the training;
    ``seconds``: of processor time a step and run takes, evaluations left out; ``nfe_sampling``:
    evaluations from noise to data of each flow alone, at 1e-5.
    """
    field = PlanarField(trial.size, range(trial.seed, trial.seed + trial.seeds))
    schedule = Schedule(ROWS, -(-trial.iterations // ROWS), 1)
    optimizer = torch.optim.Adam(field.parameters(), lr=trial.rate, fused=True)
    generator = torch.Generator().manual_seed(trial.seed)
    learner = Learner(field, optimizer, CosineAnnealingLR(optimizer, schedule.steps), generator)
    x = sample(trial.set, trial.held_out, seed=HELD_OUT).expand(trial.seeds, -1, -1)
    mark = time.process_time()

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        seed = int(torch.randint(HELD_OUT + 1, 2**31, (), generator=generator))
        data = sample(trial.set, BATCH * trial.seeds, seed=seed).view(trial.seeds, BATCH, 2)
        noise = torch.randn(data.shape, generator=generator)
        ts = (torch.arange(TIMES) + torch.rand((), generator=generator)) / TIMES
        return matching_loss(field, noise, data, ts).sum(), SolveStats()

    def watched() -> Row:
        nonlocal mark
        spent = time.process_time() - mark
        values = nll(field, x[:, :PROBE])
        mark = time.process_time()
        return {"processor": spent, "nll": values}

    title = f"flow matching, {trial.set}"
    history = train(
        learner,
        schedule,
        loss,
        evaluate=watched,
        checkpoint=folder / "checkpoint.pt",
        title=title,
    )
    spent = sum(row["processor"] for row in history[1:])
    return {
        "nll": nll(field, x),
        "curve_nll": [list(run) for run in zip(*column(history, "nll"), strict=True)],
        "curve_step": [row["epoch"] * schedule.size for row in history],
        "seconds": spent / schedule.steps / trial.seeds,
        "nfe_sampling": [sampling_cost(field, i, trial.seed + i) for i in range(trial.seeds)],
    }


def matching_loss(
    field: PlanarField,
    noise: Tensor,
    data: Tensor,
    ts: Tensor,
) -> Tensor:
    """Of straight paths from noise to data, the square by which the field misses their slopes.

    The mean over points (runs, n, 2) of each run (runs,), which are met in equal groups at the
    times ``ts``.
    """
    t = ts.repeat_interleave(data.shape[1] // len(ts))[:, None]
    between = (1 - t) * noise + t * data
    state = F.pad(between, (0, 1))  # and a log-density, which is not used
    with field.ahead(ts.tolist()):
        groups = zip(ts.tolist(), state.chunk(len(ts), 1), strict=True)
        slopes = torch.cat([field(at, group)[..., :2] for at, group in groups], 1)
    return (slopes - (data - noise)).square().sum(2).mean(1)


@torch.no_grad()
def nll(field: PlanarField, x: Tensor) -> list[float]:
    """The mean negative log-likelihood in nats of points x (runs, n, 2) under each run's flow."""
    log_p, _ = ContinuousFlow(field, dopri5(FINAL)).log_prob(x)
    return (-log_p.double().mean(1)).tolist()


@torch.no_grad()
def sampling_cost(field: PlanarField, run: int, seed: int) -> int:
    """The evaluations of one run's flow from points of noise to data."""
    alone = PlanarField(field.units)
    alone.load_state_dict({name: w[run : run + 1] for name, w in field.state_dict().items()})
    noise = torch.randn(1, PROBE, 2, generator=torch.Generator().manual_seed(seed))
    _, _, stats = ContinuousFlow(alone, dopri5(FINAL))(noise)
    return stats.forward.nfe
