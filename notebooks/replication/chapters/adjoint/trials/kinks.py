"""The gap between the adjoint's gradient and backpropagation's, with ReLU's kinks and without."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replication.chapters.adjoint.trials.block import problem_of
from replication.chapters.adjoint.trials.gradients import RULES, Problem, Row, errors, pull
from replication.data.mnist import load
from replication.trained import trained


@dataclass(frozen=True)
class Trial:
    """The block of one trained ODE-Net, and the mean cross-entropy of a batch behind it."""

    training: str  # its trial's folder in the cache
    images: int = 32
    tolerances: Sequence[float] = (1e-3, 1e-4)  # of the block as it was trained
    smooth_tolerances: Sequence[float] = (1e-3, 1e-4)  # with softplus


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The rows of ``gaps`` for the ``block`` in single precision, for the same in double
    precision, and there ``smooth``: the same weights with softplus in the place of ReLU.
    """
    model = trained(trial.training, folder)[0].cpu()
    _, digits = load(train_size=1, test_size=trial.images)
    double = copy.deepcopy(model).double()
    return {
        "block": gaps(problem_of(model, digits, smooth=False), trial.tolerances),
        "double": gaps(problem_of(double, digits, smooth=False), trial.tolerances),
        "smooth": gaps(problem_of(double, digits, smooth=True), trial.smooth_tolerances),
    }


def gaps(problem: Problem, tolerances: Iterable[float]) -> list[Row]:
    """From the loosest tolerance, the relative ``gap`` between two gradients of the parameters.

    That of Adjoint, solved back at the tolerance of the forward solve, and that of Backprop
    through the same forward solve. Beside it the evaluations of both passes of Adjoint.
    """
    rows = []
    for tolerance in sorted(tolerances, reverse=True):
        found, recorded = (pull(problem, RULES[way], tolerance) for way in ("Adjoint", "Backprop"))
        cost = {"nfe_forward": found.nfe_forward, "nfe_backward": found.nfe_backward}
        rows.append({"tolerance": tolerance, "gap": errors(found, recorded)["theta"], **cost})
    return rows
