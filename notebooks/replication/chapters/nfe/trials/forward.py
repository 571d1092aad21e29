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
from replication.chapters.nfe.requirements import require_fit
from replication.classify import BATCH, share_pct
from replication.data.mnist import Digits, load
from replication.device import clock, device
from replication.probe import dopri5, there_and_back_error
from replication.trained import trained

ROUNDS = 5  # of timed solves, each over all tolerances
REFERENCE = 1e-8  # tolerance of the solve in double precision that errors refer to
# That of single images, whose errors in a batch are not those of the whole batch.
OF_IMAGES = 1e-9


@dataclass(frozen=True)
class Trial:
    """The measurement of one trained network, at several tolerances."""

    training: str  # folder of its trial in the cache
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3)
    batches: int = 1  # of test images, at each tolerance
    images: int = 128  # in a batch
    test_size: int = 10_000  # images whose class is predicted at each tolerance
    alone: Sequence[float] = (1e-3,)  # tolerances at which images are also solved one by one


@torch.no_grad()
def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Plain numbers: ``rows``, one for each batch and tolerance, ``test_error_pct`` and ``alone``.

    A row has tolerance, and of one forward solve nfe; error: the distance of the block's output
    from that of the reference solve, relative to it; scaled_error: the same in the solver's norm;
    there_and_back: how far solving back from the output misses the input, relative to it; seconds:
    the median of several, with the tolerances in turn. ``test_error_pct``: of the test set, by
    tolerance. ``alone``, by tolerance: of the first batch nfe and the images' errors, relative to
    each, both in the ``batch`` and with every image solved by itself.

    Raises ValueError for more images than there are.
    """
    model, block = trained(trial.training, folder)
    _, test = load(train_size=1, test_size=trial.test_size)
    images, labels = (part.to(device()) for part in test)
    wanted = trial.batches * trial.images
    require_fit(trial.batches, trial.images, len(images))
    states = [model.stem(batch) for batch in images[:wanted].split(trial.images)]
    exact = copy.deepcopy(block).double()
    of_images, _ = exact(states[0].double(), dopri5(OF_IMAGES))
    return {
        "rows": [row for state in states for row in _rows(block, exact, state, trial.tolerances)],
        "test_error_pct": _test_errors(model, block, Digits(images, labels), trial.tolerances),
        "alone": [_alone(block, states[0], of_images, tolerance) for tolerance in trial.alone],
    }


def _rows(
    block: ODEBlock, exact: ODEBlock, state: Tensor, tolerances: Sequence[float]
) -> list[dict[str, Any]]:
    reference, _ = exact(state.double(), dopri5(REFERENCE))
    rows = []
    for tolerance in tolerances:  # also a warm-up of those that are timed
        end, stats = block(state, dopri5(tolerance))
        error = end.double() - reference
        scale = tolerance + tolerance * reference.abs()
        rows.append(
            {
                "tolerance": tolerance,
                "nfe": stats.forward.nfe,
                "error": float(error.norm() / reference.norm()),
                "scaled_error": float((error / scale).square().mean().sqrt()),
                "there_and_back": there_and_back_error(block.field, state, end, tolerance),
            }
        )
    seconds = _seconds(block, state, tolerances)
    return [{**row, "seconds": seconds[row["tolerance"]]} for row in rows]


def _seconds(block: ODEBlock, state: Tensor, tolerances: Sequence[float]) -> dict[float, float]:
    """Of a solve, by tolerance; in turns, so that all meet the same moods of the machine."""
    times: dict[float, list[float]] = {tolerance: [] for tolerance in tolerances}
    for _ in range(ROUNDS):
        for tolerance, taken in times.items():
            started = clock()
            block(state, dopri5(tolerance))
            taken.append(clock() - started)
    return {tolerance: median(taken) for tolerance, taken in times.items()}


def _test_errors(
    model: Classifier, block: ODEBlock, digits: Digits, tolerances: Sequence[float]
) -> dict[str, float]:
    states = [model.stem(images) for images in digits.images.split(BATCH)]
    errors = {}
    for tolerance in tolerances:
        logits = [model.head(block(state, dopri5(tolerance))[0]) for state in states]
        errors[f"{tolerance:g}"] = share_pct(torch.cat(logits), digits.labels)
    return errors


def _alone(block: ODEBlock, state: Tensor, reference: Tensor, tolerance: float) -> dict[str, Any]:
    end, stats = block(state, dopri5(tolerance))
    ends, costs = zip(*(block(one, dopri5(tolerance)) for one in state.split(1)), strict=True)
    return {
        "tolerance": tolerance,
        "batch": {"nfe": stats.forward.nfe, "errors": _by_image(end, reference)},
        "images": {
            "nfe": [cost.forward.nfe for cost in costs],
            "errors": _by_image(torch.cat(ends), reference),
        },
    }


def _by_image(end: Tensor, reference: Tensor) -> list[float]:
    """The distance of each image's state from its reference, relative to that."""
    distance = (end.double() - reference).flatten(1).norm(dim=1)
    return (distance / reference.flatten(1).norm(dim=1)).tolist()
