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
from replication.training import Learner, Loss, Row, Schedule, column, save_atomically, train

HELD_OUT = 12  # one training digit in so many is for validation: 5,000 of 60,000
PROBE_SIZE = 128


@dataclass(frozen=True)
class Trial:
    """One training: Muon and Adam, with one-cycle learning rates that peak after a tenth of it."""

    model: str = "odenet"  # one of odenet.models.classifier.MODELS
    seed: int = 0  # of the initial weights, of the order of the batches and of how digits are moved
    epochs: int = 1
    train_size: int = 60_000  # to learn from and to validate on
    test_size: int = 10_000
    batch_size: int = 128
    kernel_lr: float = 2e-2  # of Muon, for the kernels of convolutions
    lr: float = 5e-3  # of Adam, for all else
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
    schedule = Schedule(trial.epochs, len(learning.labels), trial.batch_size)
    model = classifier(trial.model, trial.tolerance, trial.seed).to(device())
    learner = _learner(trial, schedule, model)

    def evaluate() -> Row:
        return {
            "validation_error_pct": error_pct(model, held_out),
            "probe": probe(model, test.images[:PROBE_SIZE], trial.probes),
        }

    history = train(
        learner,
        schedule,
        _loss(trial, learner, learning),
        evaluate=evaluate,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.model} seed {trial.seed}",
    )
    save_atomically(model.state_dict(), folder / "weights.pt")
    batch = Digits(*(part[: trial.batch_size] for part in learning))
    return {
        **_tested(model, test),
        "parameters": sum(p.numel() for p in model.parameters()),
        **_numbers(trial, history),
        "steps": _steps(model, batch),
    }


def load(trial: Trial, folder: Path) -> Classifier:
    """The classifier that ``run`` trained, on the CPU and in evaluation mode."""
    model = classifier(trial.model, trial.tolerance, trial.seed)
    state = torch.load(folder / "weights.pt", weights_only=True, map_location="cpu")
    model.load_state_dict(state)
    return model.eval()


def _digits(trial: Trial) -> tuple[Digits, Digits, Digits]:
    """Those to learn from, those held out, and the test set, where the training takes place."""
    train, test = mnist.load(train_size=trial.train_size, test_size=trial.test_size)
    order = torch.randperm(trial.train_size, generator=torch.Generator().manual_seed(0))
    first = trial.train_size - max(1, trial.train_size // HELD_OUT)
    there = device()
    parts = [[part[ids].to(there) for part in train] for ids in (order[:first], order[first:])]
    return Digits(*parts[0]), Digits(*parts[1]), Digits(*(part.to(there) for part in test))


def _learner(trial: Trial, schedule: Schedule, model: Classifier) -> Learner:
    optimizer = KernelsByMuon(model, trial.kernel_lr, trial.lr)
    scheduler = OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=max(schedule.steps, 1),
        pct_start=0.1,
        cycle_momentum=False,
    )
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def _loss(trial: Trial, learner: Learner, digits: Digits) -> Loss:
    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        members = members.to(digits.labels.device)
        images = digits.images[members]
        if trial.move:
            images = moved(images, learner.generator)
        logits, stats = learner.model(images)
        return F.cross_entropy(logits, digits.labels[members]), stats

    return loss


def _tested(model: Classifier, digits: Digits) -> dict[str, Any]:
    logits = logits_of(model, digits.images)
    return {
        "test_error_pct": share_pct(logits, digits.labels),
        "mistakes": mistakes(logits, digits.labels),
    }


def _numbers(trial: Trial, history: list[Row]) -> dict[str, Any]:
    last = history[-1]
    seconds = [s for s in column(history, "seconds") if s is not None]
    probes = {
        name: {
            f"{tolerance:g}": [row["probe"][key][i] for row in history]
            for i, tolerance in enumerate(trial.probes)
            if last["probe"][key]
        }
        for name, key in (("nfe_probe", "nfe"), ("there_and_back", "there_and_back"))
    }
    return {
        "validation_error_pct": last["validation_error_pct"],
        "seconds_per_epoch": sum(seconds) / len(seconds) if seconds else None,
        "nfe_forward": last.get("nfe_forward"),
        "nfe_backward": last.get("nfe_backward"),
        "history": {
            "epoch": column(history, "epoch"),
            "validation_error_pct": column(history, "validation_error_pct"),
            "train_loss": column(history, "train_loss"),
            "nfe_train": column(history, "nfe_forward"),
            **probes,
        },
    }


def _steps(model: Classifier, batch: Digits) -> dict[str, dict[str, Any]]:
    """Rule -> the cost of a step on ``batch``: "own", and beside checkpoints "backprop"."""
    costs, block = {"own": step_cost(model, batch)}, model.block
    if isinstance(block, ODEBlock) and isinstance(block.solver.gradient, Checkpoint):
        costs["backprop"] = step_cost(model, batch, replace(block.solver, gradient=Backprop()))
    return costs
