"""How the networks of this chapter are trained: digits, batches, and one of two optimizers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from odenet.models.classifier import Classifier
from odenet.solvers import SolveStats
from replication.chapters.mnist.augment import moved
from replication.chapters.mnist.muon import KernelsByMuon
from replication.data import mnist
from replication.data.mnist import Digits
from replication.device import device
from replication.training import Learner, Row, Schedule, save_atomically, train

HELD_OUT = 12  # one training digit in so many is for validation: 5,000 of 60,000
BATCH_SIZE = 128
KERNEL_LR, LR = 2e-2, 5e-3  # of Muon for the kernels of convolutions, and of Adam for all else
ADAM_LR = 1e-3  # where Adam trains everything
RISE = 0.11  # of the steps; of ten, PyTorch cannot take a tenth: it would divide by zero

# name -> the optimizer of a model, with the learning rates at their peaks
OPTIMIZERS: Mapping[str, Callable[[Classifier], Optimizer]] = MappingProxyType(
    {
        "muon": lambda model: KernelsByMuon(model, KERNEL_LR, LR),
        "adam": lambda model: Adam(model.parameters(), lr=ADAM_LR),
    }
)


class Split(NamedTuple):
    """The digits to learn from, those held out for validation, and the test set."""

    learning: Digits
    held_out: Digits
    test: Digits


@dataclass(frozen=True)
class Recipe:
    """A training whose learning rates rise over about its first tenth and then fall to zero.

    Raises ValueError for an unknown optimizer.
    """

    seed: int  # of the order of the batches and of how digits are moved
    epochs: int
    optimizer: str = "muon"  # one of OPTIMIZERS
    move: bool = True  # turn, scale and shift the digits of each batch a little

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise ValueError(f"unknown optimizer {self.optimizer!r}; known: {known}")


def split(train_size: int, test_size: int) -> Split:
    """The digits where the training takes place; the same are held out for every seed."""
    both, test = mnist.load(train_size=train_size, test_size=test_size)
    order = torch.randperm(train_size, generator=torch.Generator().manual_seed(0))
    first = train_size - max(1, train_size // HELD_OUT)

    def there(digits: Digits, chosen: Any = slice(None)) -> Digits:
        return Digits(*(part[chosen].to(device()) for part in digits))

    return Split(there(both, order[:first]), there(both, order[first:]), there(test))


def fit(
    model: Classifier,
    learning: Digits,
    recipe: Recipe,
    *,
    evaluate: Callable[[], Row],
    folder: Path,
    title: str,
) -> list[Row]:
    """The history of the training of ``model``, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted.
    """
    schedule = Schedule(recipe.epochs, len(learning.labels), BATCH_SIZE)
    learner = _learner(recipe, schedule, model)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        images, labels = (part[members.to(part.device)] for part in learning)
        if recipe.move:
            images = moved(images, learner.generator)
        logits, stats = model(images)
        return F.cross_entropy(logits, labels), stats

    history = train(
        learner,
        schedule,
        loss,
        evaluate=evaluate,
        checkpoint=folder / "checkpoint.pt",
        title=f"{title} seed {recipe.seed}",
    )
    save_atomically(model.state_dict(), folder / "weights.pt")
    return history


def _learner(recipe: Recipe, schedule: Schedule, model: Classifier) -> Learner:
    optimizer = OPTIMIZERS[recipe.optimizer](model)
    scheduler = OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=max(schedule.steps, 1),
        pct_start=RISE,
        cycle_momentum=False,
    )
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(recipe.seed))


def cost(history: list[Row]) -> dict[str, Any]:
    """``seconds_per_epoch`` without validation, and evaluations a step in the last epoch."""
    seconds = [row["seconds"] for row in history[1:]]
    return {
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "nfe_forward": history[-1].get("nfe_forward"),
        "nfe_backward": history[-1].get("nfe_backward"),
    }
