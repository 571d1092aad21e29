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
REFERENCE = 1e-7  # tolerance of the solve in double precision that errors refer to


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
    from that of the reference solve, relative to it; there_and_back: how far solving back from the
    output misses the input, relative to it; seconds: the median of three. ``test_error_pct``: of
    the test set, by tolerance. ``alone``: the evaluations of each image of the first batch, solved
    by itself, and of the ``batch``, by tolerance.

    Raises ValueError for more images than there are.
    """
    model, block = trained(trial.training, folder)
    _, test = load(train_size=1, test_size=trial.test_size)
    images, labels = (part.to(device()) for part in test)
    wanted = trial.batches * trial.images
    if not 1 <= wanted <= len(images):
        raise ValueError(
            f"{trial.batches} batches of {trial.images} do not fit {len(images)} images"
        )
    states = [model.stem(batch) for batch in images[:wanted].split(trial.images)]
    exact = copy.deepcopy(block).double()
    return {
        "rows": [row for state in states for row in _rows(block, exact, state, trial.tolerances)],
        "test_error_pct": _test_errors(model, block, Digits(images, labels), trial.tolerances),
        "alone": [_alone(block, states[0], tolerance) for tolerance in trial.alone],
    }


def _rows(
    block: ODEBlock, exact: ODEBlock, state: Tensor, tolerances: Sequence[float]
) -> list[dict[str, Any]]:
    reference, _ = exact(state.double(), dopri5(REFERENCE))
    rows = []
    for tolerance in tolerances:
        end, stats = block(state, dopri5(tolerance))
        times = []
        for _ in range(REPEATS):
            started = clock()
            block(state, dopri5(tolerance))
            times.append(clock() - started)
        rows.append(
            {
                "tolerance": tolerance,
                "nfe": stats.forward.nfe,
                "error": float((end.double() - reference).norm() / reference.norm()),
                "there_and_back": there_and_back_error(block.field, state, end, tolerance),
                "seconds": median(times),
            }
        )
    return rows


def _test_errors(
    model: Classifier, block: ODEBlock, digits: Digits, tolerances: Sequence[float]
) -> dict[str, float]:
    states = [model.stem(images) for images in digits.images.split(BATCH)]
    errors = {}
    for tolerance in tolerances:
        logits = [model.head(block(state, dopri5(tolerance))[0]) for state in states]
        errors[f"{tolerance:g}"] = share_pct(torch.cat(logits), digits.labels)
    return errors


def _alone(block: ODEBlock, state: Tensor, tolerance: float) -> dict[str, Any]:
    nfe = [block(part, dopri5(tolerance))[1].forward.nfe for part in (state, *state.split(1))]
    return {"tolerance": tolerance, "batch": nfe[0], "images": nfe[1:]}
