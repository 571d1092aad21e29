"""What an ODE cannot do: maps whose paths would have to cross, with and without an added channel.

Both problems are those of Dupont et al. 2019: x -> -x on a line, and a ring around a disc.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.blocks import AugmentedODEBlock, ODEBlock
from odenet.models.fields import MLPField
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveStats
from replication.probe import dopri5
from replication.training import Learner, Schedule, column, train

HIDDEN = 32
BATCH, HELD_OUT, DRAWN = 256, 2000, 60  # points of a step, of the test, and those that are drawn
RATE = 1e-2
EPOCH = 25  # steps between two checkpoints, after which evaluations are counted
TOLERANCE, PROBE = 1e-3, 1e-5  # of the solves in training, and of those that are counted and drawn
DISC, RING = 0.5, (1.0, 1.5)  # radii
TIMES = 41  # of a path that is drawn


def line(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points x (n, 1) between -1 and 1, and -x."""
    x = 2 * torch.rand(n, 1, generator=generator) - 1
    return x, -x


def ring(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (n, 2), every other one in the disc or in the ring around it; -1 and 1 (n, 1)."""
    turn, part = torch.rand(2, n, generator=generator)
    inside = torch.arange(n) % 2 == 0
    low, high = torch.where(inside, 0.0, RING[0]), torch.where(inside, DISC, RING[1])
    radius = (low**2 + part * (high**2 - low**2)).sqrt()  # even over the area
    angle = 2 * math.pi * turn
    x = radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    return x, torch.where(inside, -1.0, 1.0)[:, None]


PROBLEMS: Mapping[str, Callable[[int, torch.Generator], tuple[Tensor, Tensor]]] = MappingProxyType(
    {"line": line, "ring": ring}
)


@dataclass(frozen=True)
class Trial:
    """One training. Raises ValueError for an unknown problem, or fewer than no added channels."""

    problem: str = "line"  # one of PROBLEMS
    extra: int = 0  # channels added
    seed: int = 0  # of the initial weights and of the points
    iterations: int = 1000  # gradient steps, rounded up to a multiple of 25

    def __post_init__(self) -> None:
        if self.problem not in PROBLEMS:
            raise ValueError(f"unknown problem {self.problem!r}; known: {', '.join(PROBLEMS)}")
        if self.extra < 0:
            raise ValueError(f"extra must be at least 0, got {self.extra}")


class Net(nn.Module):
    """A block from points (n, d), and what is read from its end: (n, 1).

    On a line, its first coordinate, in the plane, a linear function of all of them.
    """

    def __init__(self, dims: int, extra: int) -> None:
        super().__init__()
        field = MLPField(dims + extra, HIDDEN, HIDDEN, dims + extra)
        solver = Solver("dopri5", Adaptive(TOLERANCE, TOLERANCE), "backprop")
        self.block = AugmentedODEBlock(field, solver, extra) if extra else ODEBlock(field, solver)
        self.readout = nn.Linear(dims + extra, 1) if dims > 1 else nn.Identity()

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, SolveStats]:
        end, stats = self.block(x, solver)
        return self.readout(end)[:, :1], stats


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of the training; goes on from ``folder``/checkpoint.pt where it was interrupted.

    Points are drawn anew in each step; others, the same for all trials, are held out. ``loss``:
    mean square error over these, divided by that of the best constant, at the tolerance 1e-5;
    ``history``: ``loss`` and evaluations, ``nfe``, there before the first ``step`` and after each
    25; ``paths`` (times, points, coordinates) of some of them, and what is ``wanted`` of each.
    """
    draw = PROBLEMS[trial.problem]
    x, wanted = draw(HELD_OUT, torch.Generator().manual_seed(0))
    constant = float(wanted.var(correction=0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = Net(x.shape[1], trial.extra)
    schedule = Schedule(-(-trial.iterations // EPOCH), EPOCH, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1))
    points = torch.Generator().manual_seed(trial.seed + 1)
    learner = Learner(model, optimizer, scheduler, points)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        x, wanted = draw(BATCH, points)
        found, stats = model(x)
        return (found - wanted).square().mean() / constant, stats

    @torch.no_grad()
    def held_out() -> dict[str, Any]:
        found, stats = model(x, dopri5(PROBE))
        error = (found - wanted).square().mean() / constant
        return {"loss": float(error), "nfe": stats.forward.nfe}

    title = f"{trial.problem}, {trial.extra} added, seed {trial.seed}"
    checkpoint = folder / "checkpoint.pt"
    history = train(learner, schedule, loss, evaluate=held_out, checkpoint=checkpoint, title=title)
    return {
        "loss": history[-1]["loss"],
        "history": {
            "step": [EPOCH * row["epoch"] for row in history],
            **{name: column(history, name) for name in ("loss", "nfe")},
        },
        "paths": _paths(model.block, x[:DRAWN]).tolist(),
        "wanted": wanted[:DRAWN, 0].tolist(),
    }


@torch.no_grad()
def _paths(block: ODEBlock, x: Tensor) -> Tensor:
    """The states (times, n, channels) of the block on the way of x (n, d)."""
    extra = x.new_zeros(len(x), getattr(block, "extra", 0))
    ts = torch.linspace(0, 1, TIMES).tolist()
    return solve(block.field, torch.cat((x, extra), 1), ts, dopri5(PROBE)).ys
