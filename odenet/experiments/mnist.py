"""Table 1: the classifiers trained on MNIST."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from odenet.data import mnist
from odenet.data.mnist import Digits
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier, classifier
from odenet.ode import Solver
from odenet.solvers import Adaptive, Work
from odenet.training import Learner, Loss, Row, Schedule, column, save_atomically, train

PROBE_TOLERANCES = (1e-3, 1e-5)
PROBE_SIZE = 128
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Trial:
    """One training: Adam with a one-cycle learning rate that peaks at ``lr``."""

    model: str = "odenet"  # none | resblock | resnet | rknet | odenet
    seed: int = 0  # of the initial weights and of the order of the batches
    epochs: int = 1
    train_size: int = 60_000
    test_size: int = 10_000
    batch_size: int = 128
    lr: float = 1e-2
    tolerance: float = 1e-3  # rtol and atol of the solver, in training and in evaluation
    crop: bool = False  # train on random crops of the images padded by 4


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``nfe_forward``
    and ``nfe_backward`` are means over the steps of the last epoch, ``seconds_per_epoch`` leaves
    the evaluation out, and ``nfe_probe`` counts the evaluations of one forward pass on 128 test
    images at each tolerance (ODE models only).
    """
    train_digits, test_digits = mnist.load(train_size=trial.train_size, test_size=trial.test_size)
    schedule = Schedule(trial.epochs, trial.train_size, trial.batch_size)
    learner = _learner(trial, schedule)

    def evaluate() -> Row:
        return {
            "test_error_pct": error_pct(learner.model, test_digits),
            "nfe_probe": probe(learner.model, test_digits.images[:PROBE_SIZE]),
        }

    history = train(
        learner,
        schedule,
        _loss(trial, learner, train_digits),
        evaluate=evaluate,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.model} seed {trial.seed}",
    )
    save_atomically(learner.model.state_dict(), folder / "weights.pt")
    return _numbers(learner.model, history)


def load(trial: Trial, folder: Path) -> Classifier:
    """The classifier that ``run`` trained, in evaluation mode."""
    model = classifier(trial.model, trial.tolerance, trial.seed)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model.eval()


@torch.no_grad()
def error_pct(model: nn.Module, digits: Digits) -> float:
    """The percentage of ``digits`` that the model misclassifies."""
    model.eval()
    wrong = 0
    batches = zip(*(part.split(EVALUATION_BATCH) for part in digits), strict=True)
    for images, labels in batches:
        logits, _ = model(images)
        wrong += int((logits.argmax(1) != labels).sum())
    return 100 * wrong / len(digits.labels)


@torch.no_grad()
def probe(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Forward evaluations on ``images`` at each probe tolerance; empty without an ODE block."""
    if not isinstance(model.block, ODEBlock):
        return {}
    model.eval()
    nfe = {}
    for tolerance in PROBE_TOLERANCES:
        _, work = model(images, Solver("dopri5", Adaptive(tolerance, tolerance)))
        nfe[f"{tolerance:g}"] = work.forward.nfe
    return nfe


def cropped(images: Tensor, generator: torch.Generator, margin: int = 4) -> Tensor:
    """Each image padded by ``margin`` zeros and cut back to its size at a random place."""
    n, _, height, width = images.shape
    padded = F.pad(images, (margin,) * 4)
    top, left = torch.randint(0, 2 * margin + 1, (2, n, 1, 1), generator=generator)
    rows = top + torch.arange(height)[:, None]
    columns = left + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], :, rows, columns].movedim(-1, 1)


def _learner(trial: Trial, schedule: Schedule) -> Learner:
    model = classifier(trial.model, trial.tolerance, trial.seed)
    # One pass of Adam leaves about half the error of one pass of SGD with momentum.
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.lr)
    scheduler = OneCycleLR(
        optimizer, trial.lr, total_steps=max(schedule.steps, 1), cycle_momentum=False
    )
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def _loss(trial: Trial, learner: Learner, digits: Digits) -> Loss:
    def loss(members: Tensor, step: int) -> tuple[Tensor, Work]:
        images = digits.images[members]
        if trial.crop:
            images = cropped(images, learner.generator)
        logits, work = learner.model(images)
        return F.cross_entropy(logits, digits.labels[members]), work

    return loss


def _numbers(model: nn.Module, history: list[Row]) -> dict[str, Any]:
    last = history[-1]
    seconds = [s for s in column(history, "seconds") if s is not None]
    return {
        "test_error_pct": last["test_error_pct"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "nfe_forward": last.get("nfe_forward"),
        "nfe_backward": last.get("nfe_backward"),
        "history": {
            "epoch": column(history, "epoch"),
            "test_error_pct": column(history, "test_error_pct"),
            "train_loss": column(history, "train_loss"),
            "nfe_train": column(history, "nfe_forward"),
            "nfe_probe": {
                tolerance: [row["nfe_probe"][tolerance] for row in history]
                for tolerance in last["nfe_probe"]
            },
        },
    }
