"""Figure 3a and b: what a forward solve of a trained network costs, and how exact it is."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier
from replication.classify import BATCH, share_pct
from replication.data.mnist import Digits, load
from replication.device import clock, device
from replication.probe import dopri5, there_and_back_error
from replication.trained import trained

REPEATS = 3  # of a timed solve, after one that warms up


@dataclass(frozen=True)
class Trial:
    """The measurement of one trained network, at several tolerances."""

    training: str  # folder of its trial in the cache
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3)
    batches: int = 1  # of test images, at each tolerance
    images: int = 128  # in a batch
    test_size: int = 10_000  # images whose class is predicted at each tolerance
    alone: Sequence[float] = (1e-3,)  # tolerances at which images are also solved one by one
    reference: float = 1e-7  # tolerance of the solve in double precision that errors refer to


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Plain numbers: ``rows``, one for each tolerance and batch, ``test_error_pct`` and ``alone``.

    A row has tolerance, batch (its number), and of one forward solve nfe; error: the distance of
    the block's output from that of the reference solve, relative to it; there_and_back: how far
    solving back from the output misses the input, relative to it; seconds: the median of three.
    ``test_error_pct``: of the test set, by tolerance. ``alone``: the evaluations of each image of
    the first batch, solved by itself, and of the ``batch``, by tolerance.

    Raises ValueError for more images than there are.
    """
    model, block = trained(trial.training, folder)
    _, test = load(train_size=1, test_size=trial.test_size)
    digits = Digits(*(part.to(device()) for part in test))
    states = _states(model, digits, trial)
    return {
        "rows": _sweep(block, states, trial),
        "test_error_pct": _test_errors(model, block, digits, trial.tolerances),
        "alone": [_alone(block, states[0], tolerance) for tolerance in trial.alone],
    }


@torch.no_grad()
def _states(model: Classifier, digits: Digits, trial: Trial) -> list[Tensor]:
    """What enters the block, for each batch."""
    wanted = trial.batches * trial.images
    if not 1 <= wanted <= len(digits.labels):
        raise ValueError(
            f"{trial.batches} batches of {trial.images} do not fit {len(digits.labels)} images"
        )
    return [model.stem(images) for images in digits.images[:wanted].split(trial.images)]


@torch.no_grad()
def _sweep(block: ODEBlock, states: list[Tensor], trial: Trial) -> list[dict[str, Any]]:
    exact = copy.deepcopy(block).double()
    rows = []
    for number, state in enumerate(states):
        reference, _ = exact(state.double(), dopri5(trial.reference))
        for tolerance in trial.tolerances:
            end, stats = block(state, dopri5(tolerance))
            measured = {
                "nfe": stats.forward.nfe,
                "error": float((end.double() - reference).norm() / reference.norm()),
                "there_and_back": there_and_back_error(block.field, state, end, tolerance),
                "seconds": _seconds(block, state, tolerance),
            }
            rows.append({"tolerance": tolerance, "batch": number, **measured})
    return rows


def _seconds(block: ODEBlock, state: Tensor, tolerance: float) -> float:
    times = []
    for _ in range(REPEATS):
        started = clock()
        block(state, dopri5(tolerance))
        times.append(clock() - started)
    return median(times)


@torch.no_grad()
def _test_errors(
    model: Classifier, block: ODEBlock, digits: Digits, tolerances: Sequence[float]
) -> dict[str, float]:
    """The stem works once for all tolerances."""
    logits: dict[float, list[Tensor]] = {tolerance: [] for tolerance in tolerances}
    for images in digits.images.split(BATCH):
        state = model.stem(images)
        for tolerance in tolerances:
            logits[tolerance].append(model.head(block(state, dopri5(tolerance))[0]))
    return {f"{at:g}": share_pct(torch.cat(parts), digits.labels) for at, parts in logits.items()}


@torch.no_grad()
def _alone(block: ODEBlock, state: Tensor, tolerance: float) -> dict[str, Any]:
    solver = dopri5(tolerance)
    return {
        "tolerance": tolerance,
        "batch": block(state, solver)[1].forward.nfe,
        "images": [block(one, solver)[1].forward.nfe for one in state.split(1)],
    }
