"""Figure 3d: how many evaluations the network needs while it learns, by the authors' recipe.

That of their later example, as published with torchdiffeq: a stem of strided convolutions, SGD
with momentum at a constant rate, batches of 128, digits cropped at random, DOPRI5 at 1e-3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR

from odenet.adjoint import Backprop
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import CHANNELS, CLASSES, Classifier
from odenet.models.fields import ConvField, group_norm
from odenet.ode import Solver
from odenet.solvers import Adaptive, SolveStats
from replication.classify import error_pct
from replication.data.mnist import Digits, load
from replication.device import device
from replication.probe import probe
from replication.training import Learner, Row, Schedule, column, save_atomically, train

BATCH_SIZE = PROBE_SIZE = 128
MARGIN = 4  # pixels of zeros around a digit, of which as large a part is cut out as it was
# What of the recipe is changed, one thing at a time, to see what the evaluations follow.
VARIANTS = {
    "recipe": "nothing",
    "normed-stem": "the stem ends in GroupNorm, so that training cannot enlarge the state",
    "bare-field": "the field has no last GroupNorm, which fixes its speed",
    "adam": "Adam at 1e-3 instead of SGD",
}


@dataclass(frozen=True)
class Trial:
    """One training, in which the evaluations of a solve of the same test images are counted."""

    variant: str = "recipe"  # one of VARIANTS
    seed: int = 0  # of the initial weights, of the order of the batches and of the crops
    epochs: int = 1
    train_size: int = 60_000
    test_size: int = 10_000  # the first 128 of them are those that are solved for
    tolerance: float = 1e-3  # rtol and atol of the solver, in training
    probes: Sequence[float] = (1e-3, 1e-5, 1e-7)  # tolerances at which evaluations are counted
    early: Sequence[int] = (20, 60, 150, 300)  # steps of the first epoch after which they are too


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The history of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``history``: after
    each epoch, and before the first, what ``probed`` finds, and of the epoch's steps the means of
    train_loss and nfe_forward; ``early``: the same after some steps of the first epoch. The test
    set is classified once, after the last epoch. Raises ValueError for an unknown variant.
    """
    training, test = load(train_size=trial.train_size, test_size=trial.test_size)
    images, labels, fixed = (part.to(device()) for part in (*training, test.images[:PROBE_SIZE]))
    model = network(trial).to(device())
    learner = _learner(trial, model)
    early: list[Row] = []

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        if step in trial.early:
            early.append({"step": step, **probed(model, fixed, trial.probes)})
        there = members.to(device())
        logits, stats = model(cropped(images[there], learner.generator))
        return F.cross_entropy(logits, labels[there]), stats

    history = train(
        learner,
        Schedule(trial.epochs, len(labels), BATCH_SIZE),
        loss,
        evaluate=lambda: {**probed(model, fixed, trial.probes), "early": list(early)},
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.variant} seed {trial.seed}",
    )
    save_atomically(model.state_dict(), folder / "weights.pt")
    names = ("epoch", "train_loss", "nfe_forward", "nfe", "there_and_back", "rms_state")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "test_error_pct": error_pct(model, Digits(*(part.to(device()) for part in test))),
        "history": {name: column(history, name) for name in (*names, "rms_slope", "seconds")},
        "early": history[1]["early"] if trial.epochs else [],
    }


def network(trial: Trial) -> Classifier:
    """The authors' ODE-Net behind a stem of strided convolutions: states of 64 x 6 x 6 numbers."""
    if trial.variant not in VARIANTS:
        raise ValueError(f"unknown variant {trial.variant!r}; known: {', '.join(VARIANTS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        stem = nn.Sequential(
            nn.Conv2d(1, CHANNELS, kernel_size=3),
            *(group_norm(CHANNELS), nn.ReLU(inplace=True), _halving()),
            *(group_norm(CHANNELS), nn.ReLU(inplace=True), _halving()),
        )
        field = ConvField(CHANNELS)
        head = nn.Sequential(
            *(group_norm(CHANNELS), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(CHANNELS, CLASSES),
        )
    if trial.variant == "normed-stem":
        stem.append(group_norm(CHANNELS))
    if trial.variant == "bare-field":
        field.norms[-1] = nn.Identity()
    solver = Solver("dopri5", Adaptive(trial.tolerance, trial.tolerance), Backprop())
    return Classifier(stem, ODEBlock(field, solver), head)


def _halving() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, kernel_size=4, stride=2, padding=1)


def _learner(trial: Trial, model: Classifier) -> Learner:
    optimizer: Optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    if trial.variant == "adam":
        optimizer = Adam(model.parameters(), lr=1e-3)
    scheduler = ConstantLR(optimizer, factor=1.0)
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Of each image (n, 1, h, w), with 4 pixels of zeros around it, a part (1, h, w) at random."""
    n, _, height, width = images.shape
    padded = F.pad(images, [MARGIN] * 4)[:, 0]
    top, left = torch.randint(2 * MARGIN + 1, (2, n, 1, 1), generator=generator).to(images.device)
    rows = top + torch.arange(height, device=images.device)[:, None]
    columns = left + torch.arange(width, device=images.device)
    each = torch.arange(n, device=images.device)[:, None, None]
    return padded[each, rows, columns][:, None]


@torch.no_grad()
def probed(model: Classifier, images: Tensor, tolerances: Sequence[float]) -> Row:
    """Of the block on ``images``: ``nfe`` and ``there_and_back`` by tolerance, and two sizes.

    ``rms_state`` and ``rms_slope``: root mean squares of the state h that enters the block and of
    f(0, h), whose quotient the evaluations are expected to follow.
    """
    found = probe(model, images, tolerances)
    state = model.stem(images)
    slope = cast(ODEBlock, model.block).field(0.0, state)
    model.train()
    sizes = {"rms_state": state, "rms_slope": slope}
    return {**found, **{name: float(x.square().mean().sqrt()) for name, x in sizes.items()}}
