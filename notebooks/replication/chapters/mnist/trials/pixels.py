"""Trainings on raw pixels: without a stem, the block decides how often they err."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn

from odenet.models.blocks import ODEBlock, ResidualBlocks, residual_branch
from odenet.models.classifier import DEPTH, Classifier, classifier
from odenet.models.fields import ConvField
from replication.chapters.mnist.recipe import Recipe, cost, fit, split
from replication.classify import BATCH, error_pct, share_pct
from replication.data.mnist import Digits
from replication.device import device
from replication.pixels import CHANNELS, pixel_classifier
from replication.probe import dopri5
from replication.training import Row

LOOSE = 1e-1  # tolerance of a test, beside that of the training


def _residual(depth: int) -> Callable[[float], nn.Module]:
    return lambda tolerance: ResidualBlocks(*(residual_branch(CHANNELS) for _ in range(depth)))


def _ode(tolerance: float) -> nn.Module:
    solver = cast(ODEBlock, classifier("odenet", tolerance).block).solver
    return ODEBlock(ConvField(CHANNELS), solver)


# name -> a new block, for a tolerance (which only the ODE needs)
BLOCKS: Mapping[str, Callable[[float], nn.Module]] = MappingProxyType(
    {"none": _residual(0), "resblock": _residual(1), "resnet": _residual(DEPTH), "odenet": _ode}
)


@dataclass(frozen=True)
class Trial:
    """One training, by the recipe of the other networks. Raises ValueError for an unknown block."""

    block: str = "odenet"  # one of BLOCKS
    seed: int = 0  # of the initial weights, of the order of the batches and of how digits are moved
    epochs: int = 1
    train_size: int = 60_000  # to learn from and to validate on
    test_size: int = 10_000
    tolerance: float = 1e-3  # rtol and atol of the solver

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"unknown block {self.block!r}; known: {', '.join(BLOCKS)}")


def network(trial: Trial) -> Classifier:
    """A new network; the global random state is left alone."""
    return pixel_classifier(lambda: BLOCKS[trial.block](trial.tolerance), trial.seed)


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    ``test_error_pct``: of the network as it was trained; ``by_tolerance``, for an ODE block: with
    a solver that chooses its first step, at LOOSE and at the tolerance of the training.
    """
    learning, held_out, test = split(trial.train_size, trial.test_size)
    model = network(trial).to(device())

    def evaluate() -> Row:
        return {"validation_error_pct": error_pct(model, held_out)}

    title = f"pixels {trial.block}"
    recipe = Recipe(trial.seed, trial.epochs)
    history = fit(model, learning, recipe, evaluate=evaluate, folder=folder, title=title)
    return {
        "test_error_pct": error_pct(model, test),
        "by_tolerance": _by_tolerance(model, test, trial.tolerance),
        "parameters": sum(p.numel() for p in model.parameters()),
        **cost(history),
    }


@torch.no_grad()
def _by_tolerance(model: Classifier, test: Digits, tolerance: float) -> dict[str, float]:
    """Name -> test error: "loose" and "tight"; empty without an ODE block."""
    errors: dict[str, float] = {}
    if isinstance(model.block, ODEBlock):
        for name, at in (("loose", LOOSE), ("tight", tolerance)):
            batches = test.images.split(BATCH)
            logits = torch.cat([model(images, dopri5(at))[0] for images in batches])
            errors[name] = share_pct(logits, test.labels)
    return errors
