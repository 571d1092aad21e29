"""A trained ResNet read as Euler's method: what becomes of it when its steps are divided."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from odenet.models.blocks import ResidualBlocks
from odenet.models.classifier import Classifier
from replication.classify import BATCH, share_pct
from replication.data.mnist import Digits, load
from replication.device import device
from replication.trained import trained_classifier

FINEST = 256  # parts of a block: so far beyond those below that it passes for the ODE


@dataclass(frozen=True)
class Trial:
    """The measurement of one trained ResNet.

    Raises ValueError for more images than there are, and for too few parts to fit a slope.
    """

    training: str  # folder of its trial, beside this one's
    parts: Sequence[int] = (1, 2, 4, 8, 16)  # into which each block is divided
    images: int = 128  # test images whose states are compared
    test_parts: Sequence[int] = (1, 2, 4, 8)  # of blocks at which the test set is classified
    test_size: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.images <= self.test_size:
            raise ValueError(f"images must be 1 to test_size, {self.test_size}, not {self.images}")
        if len(self.parts) < 3:
            raise ValueError(f"a slope over the finer half needs three parts, not {self.parts}")


@torch.no_grad()
def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Plain numbers: ``distance`` and ``test_error_pct``, one for each number of parts, and order.

    ``distance``: of the state after the last block from that of blocks in FINEST parts, relative to
    it; ``order``: the slope of its logarithm against that of the step, over the finer half.
    """
    model = trained_classifier("resnet", trial.training, folder)
    branches = cast(ResidualBlocks, model.block).branches
    _, test = load(train_size=1, test_size=trial.test_size)
    images, labels = (part.to(device()) for part in test)

    state = model.stem(images[: trial.images])
    distance = distances(branches, state, trial.parts, FINEST)
    digits = Digits(images, labels)
    return {
        "distance": distance,
        "order": order(trial.parts, distance),
        "test_error_pct": [_test_error(model, branches, digits, m) for m in trial.test_parts],
    }


def divided(branches: Iterable[nn.Module], x: Tensor, parts: int) -> Tensor:
    """The state after all branches, each in so many Euler steps; one step is the residual block."""
    for branch in branches:
        for _ in range(parts):
            x = x + branch(x) / parts
    return x


def distances(
    branches: Iterable[nn.Module], state: Tensor, parts: Sequence[int], finest: int
) -> list[float]:
    """From the state of the finest steps, relative to it, for each number of parts."""
    end = divided(branches, state, finest)
    return [float((divided(branches, state, m) - end).norm() / end.norm()) for m in parts]


def order(parts: Sequence[int], distance: Sequence[float]) -> float:
    """The exponent p of distance ~ step^p over the finer half of the steps."""
    finer = slice(len(parts) // 2, None)
    steps = -np.log(parts[finer])
    return float(np.polyfit(steps, np.log(distance[finer]), 1)[0])


def _test_error(
    model: Classifier, branches: Iterable[nn.Module], digits: Digits, parts: int
) -> float:
    batches = digits.images.split(BATCH)
    logits = [model.head(divided(branches, model.stem(images), parts)) for images in batches]
    return share_pct(torch.cat(logits), digits.labels)
