"""Table 1: one training of one classifier on MNIST, how often it errs, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from odenet.adjoint import Backprop, Checkpoint
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import MODELS, Classifier, classifier
from replication.chapters.mnist.recipe import BATCH_SIZE, Recipe, cost, fit, split
from replication.chapters.mnist.step_cost import step_cost
from replication.classify import error_pct, logits_of, mistakes, share_pct
from replication.data.mnist import Digits
from replication.device import device
from replication.probe import probe
from replication.training import Row, column

PROBE_SIZE = 128


@dataclass(frozen=True)
class Trial:
    """One training. Raises ValueError for a model or an optimizer that there is not."""

    model: str = "odenet"  # one of odenet.models.classifier.MODELS
    seed: int = 0  # of the initial weights, of the order of the batches and of how digits are moved
    epochs: int = 1
    train_size: int = 60_000  # to learn from and to validate on
    test_size: int = 10_000
    move: bool = True  # turn, scale and shift the digits of each batch a little
    tolerance: float = 1e-3  # rtol and atol of the solver, in training and in evaluation
    probes: Sequence[float] = (1e-3, 1e-5)  # tolerances at which evaluations are counted
    optimizer: str = "muon"  # one of OPTIMIZERS in the recipe

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"unknown classifier {self.model!r}; known: {', '.join(MODELS)}")
        self.recipe()

    def recipe(self) -> Recipe:
        return Recipe(self.seed, self.epochs, self.optimizer, self.move)


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    The test set is classified once, after the last epoch. ``wrong``: the indices of all
    misclassified digits; ``mistakes``: the surest of them. ``nfe_forward``, ``nfe_backward``: means
    over the steps of the last epoch; ``seconds_per_epoch`` leaves the validation out; ``nfe_probe``
    and ``there_and_back``: of one forward solve of 128 test images, and back, after each epoch (ODE
    models only); ``steps``: the cost of a step with the model's own gradient rule, and for the
    RK-Net also with plain backpropagation.
    """
    learning, held_out, test = split(trial.train_size, trial.test_size)
    model = classifier(trial.model, trial.tolerance, trial.seed).to(device())

    def evaluate() -> Row:
        return {
            "validation_error_pct": error_pct(model, held_out),
            "probe": probe(model, test.images[:PROBE_SIZE], trial.probes),
        }

    title = f"{trial.model} by {trial.optimizer}"
    history = fit(model, learning, trial.recipe(), evaluate=evaluate, folder=folder, title=title)
    logits = logits_of(model, test.images)
    return {
        "test_error_pct": share_pct(logits, test.labels),
        "wrong": (logits.argmax(1) != test.labels).nonzero()[:, 0].tolist(),
        "mistakes": mistakes(logits, test.labels),
        "parameters": sum(p.numel() for p in model.parameters()),
        **cost(history),
        "history": _by_epoch(trial, history),
        "steps": _steps(model, Digits(*(part[:BATCH_SIZE] for part in learning))),
    }


def _by_epoch(trial: Trial, history: list[Row]) -> dict[str, Any]:
    """What was found after each epoch, by column."""
    names = ("epoch", "validation_error_pct")
    found: dict[str, Any] = {name: column(history, name) for name in names}
    for name, key in (("nfe_probe", "nfe"), ("there_and_back", "there_and_back")):
        rows = zip(*(row["probe"][key] for row in history), strict=True)
        # A model without an ODE block has no rows.
        found[name] = {f"{at:g}": list(row) for at, row in zip(trial.probes, rows, strict=False)}
    return found


def _steps(model: Classifier, batch: Digits) -> dict[str, dict[str, Any]]:
    """Rule -> the cost of a step on ``batch``: "own", and beside checkpoints "backprop"."""
    costs, block = {"own": step_cost(model, batch)}, model.block
    if isinstance(block, ODEBlock) and isinstance(block.solver.gradient, Checkpoint):
        costs["backprop"] = step_cost(model, batch, replace(block.solver, gradient=Backprop()))
    return costs
