"""What the trainings of flows share: several runs side by side, each as if it were alone."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from odenet.models.flow import ContinuousFlow
from odenet.models.planar import Foreseen, PlanarField, PlanarLayers
from odenet.ode import Solver
from odenet.solvers import METHODS, Adaptive, Control, SolveStats
from odenet.solvers.runge_kutta import RungeKutta
from replication.training import Learner, Row, Schedule, save_atomically, train

CLIP = 10.0
ROWS = 40  # of a training's history, at most
TIGHT = 1e-7  # tolerance, in double precision, at which every result is computed again
CHUNK = 5_000  # points of each run that are evaluated at once

Flow = ContinuousFlow | PlanarLayers


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


def continuous(units: int, seeds: Sequence[int], tolerance: float) -> ContinuousFlow:
    """Untrained planar continuous flows, one for each seed, solved by DOPRI5."""
    field = PlanarField(units, seeds)
    return ContinuousFlow(field, solver_of(field, Adaptive(tolerance, tolerance)))


def solver_of(field: nn.Module, control: Control) -> Solver:
    """DOPRI5 that knows a planar field's units beforehand."""
    method = METHODS["dopri5"]
    if isinstance(field, PlanarField) and isinstance(method, RungeKutta):
        return Solver(Foreseen(method, field), control)
    return Solver(method, control)


def at_tolerance(flow: ContinuousFlow, tolerance: float) -> Solver:
    """The flow's solver at another tolerance."""
    return solver_of(flow.carrier, Adaptive(tolerance, tolerance))


def fit(
    flow: Flow,
    loss: Callable[[torch.Generator, int], tuple[Tensor, SolveStats]],
    evaluate: Callable[[], Row],
    *,
    iterations: int,
    rate: float,
    decay: bool = True,
    seed: int,
    folder: Path,
    title: str,
) -> list[Row]:
    """The history of a finished training of at least so many steps; the flow is left trained.

    ``loss(generator, step)`` is the sum over the runs. The rate falls along a cosine to a
    hundredth, or, without ``decay``, stays as it is. Goes on from
    ``folder``/checkpoint.pt where an earlier call was interrupted, and leaves the weights in
    ``folder``/weights.pt.
    """
    schedule = Schedule(-(-iterations // _each(iterations)), _each(iterations), 1)
    optimizer = SideBySide(flow.parameters(), lr=rate, fused=True)

    def factor(step: int) -> float:
        return 0.505 + 0.495 * math.cos(math.pi * decay * step / max(schedule.steps, 1))

    mark = time.process_time()

    def row() -> Row:
        nonlocal mark
        spent = time.process_time() - mark
        found = {"processor": spent, **evaluate()}
        mark = time.process_time()
        return found

    generator = torch.Generator().manual_seed(seed)
    history = train(
        Learner(flow, optimizer, LambdaLR(optimizer, factor), generator),
        schedule,
        lambda members, step: loss(generator, step),
        evaluate=row,
        checkpoint=folder / "checkpoint.pt",
        title=title,
    )
    save_atomically(flow.state_dict(), folder / "weights.pt")
    return history


def restored(flow: Flow, folder: Path) -> Flow:
    """The flow with the weights that ``fit`` left in ``folder``."""
    flow.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return flow.eval()


def alone(flow: ContinuousFlow, run: int) -> ContinuousFlow:
    """One of the flows that were trained side by side, whose solves then have their own steps."""
    carrier = flow.carrier
    if not isinstance(carrier, PlanarField):
        raise TypeError(f"only planar fields are trained side by side, not {carrier}")
    field = PlanarField(carrier.units)
    stacked = carrier.state_dict()
    field.load_state_dict({name: w[run : run + 1] for name, w in stacked.items()})
    return ContinuousFlow(field, solver_of(field, flow.solver.control))


def parameters(flow: Flow) -> int:
    """The number of parameters of one run."""
    return sum(p[0].numel() for p in flow.parameters())


def curve(history: Sequence[Row], iterations: int) -> dict[str, list[Any]]:
    """The history by column: ``step`` and what was evaluated there."""
    each = _each(iterations)
    names = [name for name in history[0] if name not in ("epoch", "processor")]
    return {
        "step": [row["epoch"] * each for row in history],
        "nfe_train": [row.get("nfe_forward") for row in history],
        **{name: [row[name] for row in history] for name in names},
    }


def seconds(history: Sequence[Row], iterations: int, runs: int) -> float:
    """Processor time of a training per step and run, evaluations left out; 0 without a step.

    It says what a training costs on any machine that is busy with others besides.
    """
    whole = sum(row["processor"] for row in history[1:])
    return whole / max(1, (len(history) - 1) * _each(iterations)) / runs


def _each(iterations: int) -> int:
    """The steps between two rows of a history."""
    return max(1, -(-iterations // ROWS))
