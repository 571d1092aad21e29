"""What the trainings of flows share: several runs side by side, each as if it were alone."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from odenet.models.flow import ContinuousFlow
from odenet.models.planar import Foreseen, PlanarField, PlanarLayers
from odenet.ode import Solver
from odenet.solvers import METHODS, Adaptive, SolveStats
from odenet.solvers.runge_kutta import RungeKutta
from replication.training import Learner, Row, Schedule, save_atomically, train

BATCH = 256
SEEDS = 3  # that are trained side by side, at most: what a step of one of them costs hangs on it
CLIP = 10.0
ROWS = 40  # of a training's history, at most
PROBE = 1_000  # points of each run that the learning curves rest on
CHUNK = 5_000  # points of each run that are evaluated at once
TOLERANCE = 1e-3  # of the continuous flow's solves in training
FINAL, TIGHT = 1e-5, 1e-7  # of those that results come from; and from which they come once more

Flow = ContinuousFlow | PlanarLayers
Scored = tuple[Tensor, SolveStats]


@dataclass(frozen=True)
class Training:
    """Flows of one size, and how they are trained."""

    model: str = "continuous"  # continuous | planar
    size: int = 8  # units of the continuous flow, layers of the planar one
    seed: int = 0  # the first of the seeds: initial weights, noise and points
    seeds: int = 1
    iterations: int = 2000
    rate: float = 2e-3
    decay: bool = True
    penalty: float = 0.0  # times the effort of the continuous flow's paths


Kind = TypeVar("Kind", bound=Training)


def parts(trial: Kind) -> list[Kind]:
    """The trial in trials of at most three seeds."""
    end = trial.seed + trial.seeds
    firsts = range(trial.seed, end, SEEDS)
    return [replace(trial, seed=first, seeds=min(SEEDS, end - first)) for first in firsts]


def untrained(trial: Training, seeds: Sequence[int]) -> Flow:
    """A flow for each seed, side by side; ValueError for an unknown model."""
    if trial.model == "continuous":
        field = PlanarField(trial.size, seeds)
        return ContinuousFlow(field, _solver(field, TOLERANCE))
    if trial.model == "planar":
        return PlanarLayers(trial.size, seeds)
    raise ValueError(f"unknown model {trial.model!r}; known: continuous, planar")


def restored(flow: Flow, folder: Path) -> Flow:
    """The flow with the weights that ``fit`` left in ``folder``."""
    flow.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return flow.eval()


def at_tolerance(flow: ContinuousFlow, tolerance: float) -> Solver:
    """The flow's solver at another tolerance."""
    return _solver(cast(PlanarField, flow.carrier), tolerance)


def _solver(field: PlanarField, tolerance: float) -> Solver:
    """DOPRI5 that knows a planar field's units beforehand."""
    method = Foreseen(cast(RungeKutta, METHODS["dopri5"]), field)
    return Solver(method, Adaptive(tolerance, tolerance))


def alone(flow: ContinuousFlow, run: int) -> ContinuousFlow:
    """One of the flows that were trained side by side, whose solves then have their own steps."""
    stacked = cast(PlanarField, flow.carrier)
    field = PlanarField(stacked.units)
    field.load_state_dict({name: w[run : run + 1] for name, w in stacked.state_dict().items()})
    return ContinuousFlow(field, _solver(field, TOLERANCE))


@torch.no_grad()
def counts(flow: Flow, z: Tensor) -> list[int]:
    """Of each flow solved alone from points z (runs, n, 2), the evaluations; 0 without a solver."""
    if not isinstance(flow, ContinuousFlow):
        return [0] * len(z)
    flows = [alone(flow, run) for run in range(len(z))]
    solves = [lone(z[i : i + 1], at_tolerance(lone, FINAL)) for i, lone in enumerate(flows)]
    return [stats.forward.nfe for *_, stats in solves]


class SideBySide(torch.optim.Adam):
    """Adam on stacked runs, whose gradients are cut to the length 10, each run's by itself.

    The runs lie along the first dimension of each parameter. A gradient that is not finite is
    taken for zero.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        squares = [g.flatten(1).square().sum(1) for g in gradients]
        length = torch.stack(squares).sum(0).sqrt_()
        scale = (CLIP / length).clamp_(max=1.0)
        if not bool(length.isfinite().all()):
            for g in gradients:
                g.nan_to_num_(0.0, 0.0, 0.0)
            scale.nan_to_num_(0.0)
        for g in gradients:
            g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        return super().step(closure)


def summed(losses: Tensor) -> Tensor:
    """The sum over the runs, without those not finite, whose gradients count as zero too."""
    return losses.nan_to_num(0.0, 0.0, 0.0).sum()


def fit(
    flow: Flow,
    trial: Training,
    loss: Callable[[torch.Generator, int], Scored],
    evaluate: Callable[[], tuple[Tensor, int]],
    folder: Path,
) -> tuple[list[list[float]], dict[str, Any]]:
    """What ``evaluate`` found on the way, a list for each run, and what the training says itself.

    ``loss(generator, step)`` is the sum over the runs; ``evaluate()`` has a value for each run and
    evaluations. The rate falls along a cosine to a hundredth, or, without ``decay``, stays as it
    is. Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted, and leaves the
    weights in ``folder``/weights.pt. ``curve``: its ``step`` and evaluations, ``nfe``;
    ``seconds``: the processor time of a step and run, evaluations left out, which says what it
    costs on a machine that is busy with others besides; ``parameters`` of one run.
    """
    each = max(1, -(-trial.iterations // ROWS))
    schedule = Schedule(-(-trial.iterations // each), each, 1)
    optimizer = SideBySide(flow.parameters(), lr=trial.rate, fused=True)

    def factor(step: int) -> float:
        return 0.505 + 0.495 * math.cos(math.pi * trial.decay * step / max(schedule.steps, 1))

    mark = time.process_time()

    def row() -> Row:
        nonlocal mark
        spent = time.process_time() - mark
        values, nfe = evaluate()
        mark = time.process_time()
        return {"processor": spent, "values": values.tolist(), "nfe": nfe}

    generator = torch.Generator().manual_seed(trial.seed)
    history = train(
        Learner(flow, optimizer, LambdaLR(optimizer, factor), generator),
        schedule,
        lambda members, step: loss(generator, step),
        evaluate=row,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.model} {trial.size}",
    )
    save_atomically(flow.state_dict(), folder / "weights.pt")
    by_run = [list(run) for run in zip(*(row["values"] for row in history), strict=True)]
    spent = sum(row["processor"] for row in history[1:])
    steps = [row["epoch"] * each for row in history]
    return by_run, {
        "curve": {"step": steps, "nfe": [row["nfe"] for row in history]},
        "seconds": spent / max(1, schedule.steps) / len(by_run),
        "parameters": sum(p[0].numel() for p in flow.parameters()),
    }


@torch.no_grad()
def evaluated(score: Callable[[Tensor], Scored], points: Tensor) -> tuple[Tensor, int]:
    """The scores (runs, n) of points (runs, n, 2) in double precision, and the largest cost."""
    parts = [score(chunk) for chunk in points.split(CHUNK, 1)]
    scores = torch.cat([part for part, _ in parts], 1).double()
    return scores, max(stats.forward.nfe for _, stats in parts)
