"""Table 1: one training of one classifier on MNIST, how often it errs, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from odenet.adjoint import Backprop, Checkpoint
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier, classifier
from odenet.solvers import SolveStats
from replication.chapters.mnist.augment import moved
from replication.chapters.mnist.muon import KernelsByMuon
from replication.chapters.mnist.step_cost import step_cost
from replication.classify import error_pct, logits_of, mistakes, share_pct
from replication.data import mnist
from replication.data.mnist import Digits
from replication.device import device
from replication.probe import probe
from replication.training import Learner, Row, Schedule, column, save_atomically, train

HELD_OUT = 12  # one training digit in so many is for validation: 5,000 of 60,000
BATCH_SIZE = PROBE_SIZE = 128
KERNEL_LR, LR = 2e-2, 5e-3  # of Muon for the kernels of convolutions, and of Adam for all else


@dataclass(frozen=True)
class Trial:
    """One training: Muon and Adam, with one-cycle learning rates that peak after a tenth of it."""

    model: str = "odenet"  # one of odenet.models.classifier.MODELS
    seed: int = 0  # of the initial weights, of the order of the batches and of how digits are moved
    epochs: int = 1
    train_size: int = 60_000  # to learn from and to validate on
    test_size: int = 10_000
    move: bool = True  # turn, scale and shift the digits of each batch a little
    tolerance: float = 1e-3  # rtol and atol of the solver, in training and in evaluation
    probes: Sequence[float] = (1e-3, 1e-5)  # tolerances at which evaluations are counted


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. The test set is
    classified once, after the last epoch. ``nfe_forward``, ``nfe_backward``: means over the steps
    of the last epoch; ``seconds_per_epoch`` leaves the validation out; ``nfe_probe`` and
    ``there_and_back``: of one forward solve of 128 test images, and back, after each epoch (ODE
    models only); ``steps``: the cost of a step with the model's own gradient rule, and for the
    RK-Net also with plain backpropagation.
    """
    learning, held_out, test = _digits(trial)
    schedule = Schedule(trial.epochs, len(learning.labels), BATCH_SIZE)
    model = classifier(trial.model, trial.tolerance, trial.seed).to(device())
    learner = _learner(trial, schedule, model)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        images, labels = (part[members.to(part.device)] for part in learning)
        if trial.move:
            images = moved(images, learner.generator)
        logits, stats = model(images)
        return F.cross_entropy(logits, labels), stats

    def evaluate() -> Row:
        return {
            "validation_error_pct": error_pct(model, held_out),
            "probe": probe(model, test.images[:PROBE_SIZE], trial.probes),
        }

    history = train(
        learner,
        schedule,
        loss,
        evaluate=evaluate,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.model} seed {trial.seed}",
    )
    save_atomically(model.state_dict(), folder / "weights.pt")
    logits = logits_of(model, test.images)
    return {
        "test_error_pct": share_pct(logits, test.labels),
        "mistakes": mistakes(logits, test.labels),
        "parameters": sum(p.numel() for p in model.parameters()),
        **_numbers(trial, history),
        "steps": _steps(model, Digits(*(part[:BATCH_SIZE] for part in learning))),
    }


def _digits(trial: Trial) -> tuple[Digits, Digits, Digits]:
    """Those to learn from, those held out, and the test set, where the training takes place."""
    train, test = mnist.load(train_size=trial.train_size, test_size=trial.test_size)
    order = torch.randperm(trial.train_size, generator=torch.Generator().manual_seed(0))
    first = trial.train_size - max(1, trial.train_size // HELD_OUT)

    def there(digits: Digits, chosen: Any = slice(None)) -> Digits:
        return Digits(*(part[chosen].to(device()) for part in digits))

    return there(train, order[:first]), there(train, order[first:]), there(test)


def _learner(trial: Trial, schedule: Schedule, model: Classifier) -> Learner:
    optimizer = KernelsByMuon(model, KERNEL_LR, LR)
    scheduler = OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=max(schedule.steps, 1),
        pct_start=0.1,
        cycle_momentum=False,
    )
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def _numbers(trial: Trial, history: list[Row]) -> dict[str, Any]:
    """What the training cost, and what was found after each epoch, by column."""
    seconds = [row["seconds"] for row in history[1:]]
    names = ("epoch", "validation_error_pct")
    found: dict[str, Any] = {name: column(history, name) for name in names}
    for name, key in (("nfe_probe", "nfe"), ("there_and_back", "there_and_back")):
        rows = zip(*(row["probe"][key] for row in history), strict=True)
        # A model without an ODE block has no rows.
        found[name] = {f"{at:g}": list(row) for at, row in zip(trial.probes, rows, strict=False)}
    return {
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "nfe_forward": history[-1].get("nfe_forward"),
        "nfe_backward": history[-1].get("nfe_backward"),
        "history": found,
    }


def _steps(model: Classifier, batch: Digits) -> dict[str, dict[str, Any]]:
    """Rule -> the cost of a step on ``batch``: "own", and beside checkpoints "backprop"."""
    costs, block = {"own": step_cost(model, batch)}, model.block
    if isinstance(block, ODEBlock) and isinstance(block.solver.gradient, Checkpoint):
        costs["backprop"] = step_cost(model, batch, replace(block.solver, gradient=Backprop()))
    return costs
