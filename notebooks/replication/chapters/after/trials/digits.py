"""An ODE block on raw pixels: trained by few Euler steps or with a penalty, and tested finely."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.adjoint import Checkpoint
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier
from odenet.models.fields import ConvField
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, FixedSteps, SolveStats
from replication.chapters.after.effort import Effort
from replication.classify import BATCH, share_pct
from replication.data.mnist import Digits, load
from replication.device import device
from replication.pixels import CHANNELS, pixel_classifier
from replication.probe import dopri5, there_and_back_error
from replication.training import Learner, Row, Schedule, column, train

BATCH_SIZE = PROBE_SIZE = 128
RATE = 1e-2  # of Adam, falling to zero along a cosine
ADAPTIVE = Solver("dopri5", Adaptive(1e-3, 1e-3), Checkpoint())  # in training
EXACT = 1e-5  # tolerance of the solves that stand for the ODE itself


@dataclass(frozen=True)
class Trial:
    """One training of an ODE block on raw pixels, and its tests with other solvers."""

    steps: int = 0  # of Euler's method in training; 0: DOPRI5 at 1e-3
    penalty: float = 0.0  # times the effort of the paths
    seed: int = 0  # of the initial weights, of the order of the batches and of the penalty's noise
    epochs: int = 4
    train_size: int = 10_000
    test_size: int = 5_000
    finer: Sequence[int] = (1, 2, 4, 8, 16, 32)  # Euler steps of the tests

    def __post_init__(self) -> None:
        if self.steps < 0 or self.penalty < 0:
            raise ValueError(f"steps and penalty must be at least 0, got {self}")


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What the tests of the trained network say, and the ``seconds`` of its training.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``error_pct``: test
    errors in per cent by the ``trained`` solver, by DOPRI5 at 1e-5 as ``exact``, and ``by_steps``
    of Euler's method, as many as ``finer`` says; ``test_loss``, of the exact solve, in nats. Of the
    block on 128 test images: ``nfe``, evaluations at 1e-5, and the relative errors of a way there
    and ``back`` by the trained solver and by the exact one.
    """
    training, test = (
        Digits(*(part.to(device()) for part in digits))
        for digits in load(train_size=trial.train_size, test_size=trial.test_size)
    )
    solver = euler(trial.steps) if trial.steps else ADAPTIVE
    model = pixel_classifier(lambda: ODEBlock(ConvField(CHANNELS), solver), trial.seed).to(device())
    block = cast(ODEBlock, model.block)
    schedule = Schedule(trial.epochs, len(training.labels), BATCH_SIZE)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1))
    generator = torch.Generator().manual_seed(trial.seed)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        images, labels = (part[members.to(part.device)] for part in training)
        if not trial.penalty:
            logits, stats = model(images)
            return F.cross_entropy(logits, labels), stats
        state = model.stem(images)
        noise = torch.randn(state.shape, generator=generator).to(state.device)
        end, effort, stats = Effort(block.field, noise).along(state, solver)
        return F.cross_entropy(model.head(end), labels) + trial.penalty * effort.mean(), stats

    history = train(
        Learner(model, optimizer, scheduler, generator),
        schedule,
        loss,
        evaluate=dict,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.steps or 'adaptive'} steps, penalty {trial.penalty:g}, seed {trial.seed}",
    )
    seconds = sum(column(history[1:], "seconds"))
    return {"seconds": seconds, **_tested(model.eval(), test, solver, trial.finer)}


def euler(steps: int) -> Solver:
    """So many steps of Euler's method over the unit of time."""
    return Solver("euler", FixedSteps(steps), Checkpoint())


@torch.no_grad()
def _tested(model: Classifier, test: Digits, trained: Solver, finer: Sequence[int]) -> Row:
    def logits(solver: Solver) -> Tensor:
        return torch.cat([model(images, solver)[0] for images in test.images.split(BATCH)])

    exact = logits(dopri5(EXACT))
    return {
        "error_pct": {
            "trained": share_pct(logits(trained), test.labels),
            "exact": share_pct(exact, test.labels),
            "by_steps": [share_pct(logits(euler(steps)), test.labels) for steps in finer],
        },
        "test_loss": float(F.cross_entropy(exact, test.labels)),
        **_there_and_back(model, test.images[:PROBE_SIZE], trained),
    }


def _there_and_back(model: Classifier, images: Tensor, trained: Solver) -> Row:
    block, state = cast(ODEBlock, model.block), model.stem(images)
    end, stats = block(state, dopri5(EXACT))
    again = solve(block.field, block(state, trained)[0], (1.0, 0.0), trained).ys[-1]
    return {
        "nfe": stats.forward.nfe,
        "back": {
            "trained": float((again - state).norm() / state.norm()),
            "exact": there_and_back_error(block.field, state, end, EXACT),
        },
    }
