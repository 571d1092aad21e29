"""The gradient of the ODE-Net's block on digits: untrained, trained a little, and made smooth."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from odenet.adjoint import Adjoint, InterpolatedAdjoint
from odenet.models.classifier import Classifier, classifier
from odenet.models.fields import ConvField
from odenet.ode import solve
from odenet.solvers import Adaptive, SolveStats, rms
from replication.chapters.adjoint.trials.gradients import (
    ABSOLUTE,
    RULES,
    Problem,
    errors,
    pull,
    sweep,
)
from replication.chapters.adjoint.trials.reversal import WAYS as STATES
from replication.data.mnist import Digits, load
from replication.peers import Way, ours, torchdiffeq_ways
from replication.trained import trained

# The rules, and what the adjoint can be told. OWN is what the ODE-Net itself is trained with.
OWN = "the ODE-Net's own"
WAYS: dict[str, Way] = {
    **RULES,
    "Adjoint, 10 x tolerance": ours(lambda at: Adjoint(Adaptive(10 * at, 10 * at))),
    "Adjoint, interpolated": ours(lambda tolerance: InterpolatedAdjoint()),
    "Adjoint, absolute": ABSOLUTE,
}
SCALED = ("Adjoint", "Adjoint, absolute", "torchdiffeq odeint_adjoint")


@dataclass(frozen=True)
class Trial:
    """One network, and the mean cross-entropy of a batch of test images behind its block."""

    seed: int = 0  # of the weights of an untrained network
    training: str = ""  # of a trained network: its trial's folder in the cache
    smooth: bool = False  # softplus for ReLU in the field
    images: int = 32
    tolerance: float = 1e-3
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3)  # there and back
    reference: float = 1e-6  # tolerance of the exact gradient, in double precision
    scales: Sequence[float] = (1e-3, 1.0, 1e3, 1e5)
    torchdiffeq: str = ""  # its version where it takes part


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Sweeps ``ways`` (each at ``tolerance``), ``scales`` and ``reversal``, and their scale.

    ``state_rms`` and ``slope_rms`` of the state that enters the block and of the field there;
    ``reference_error``: how far the reference is from one at ten times its tolerance. Gradients
    are those of the state that enters and of the field's parameters.
    """
    if trial.training:
        model = trained(trial.training, folder, trial.tolerance)[0].cpu()
    else:
        model = classifier("odenet", trial.tolerance, trial.seed).eval()
    _, digits = load(train_size=1, test_size=trial.images)
    problem = problem_of(model, digits, trial.smooth)
    double = problem_of(copy.deepcopy(model).double(), digits, trial.smooth)
    exact, nearly = (
        pull(double, RULES["Checkpoint"], at) for at in (trial.reference, 10 * trial.reference)
    )
    ways = {**WAYS, OWN: _own(model), **(torchdiffeq_ways() if trial.torchdiffeq else {})}
    scaled = {name: ways[name] for name in SCALED if name in ways}
    return {
        "state_rms": rms(problem.y0),
        "slope_rms": rms(problem.field(0.0, problem.y0).detach()),
        "reference_error": max(errors(nearly, exact).values()),
        "ways": sweep(problem, ways, exact, [trial.tolerance]),
        "scales": sweep(problem, scaled, exact, [trial.tolerance], trial.scales),
        "reversal": sweep(problem, STATES, exact, trial.tolerances),
    }


def _own(model: Classifier) -> Way:
    """The way of the model's block, whatever the tolerance."""
    solver: Any = model.block.solver

    def way(
        field: nn.Module, y0: Tensor, ts: Tensor, tolerance: float
    ) -> tuple[Tensor, SolveStats]:
        solution = solve(field, y0, ts, solver)
        return solution.ys, solution.stats

    return way


def problem_of(model: Classifier, digits: Digits, smooth: bool) -> Problem:
    """The block of ``model`` on ``digits``, in the precision of the model.

    With ``smooth``, softplus takes the place of ReLU in the field, whose weights stay.
    """
    field: Any = model.block.field
    dtype = next(field.parameters()).dtype
    with torch.no_grad():
        state = model.stem(digits.images.to(dtype))

    def loss(ys: Tensor) -> Tensor:
        return F.cross_entropy(model.head(ys[-1]), digits.labels)

    ts = torch.tensor([0.0, 1.0], dtype=dtype)
    return Problem(_Smooth(field) if smooth else field, state, ts, loss)


class _Smooth(nn.Module):
    """The field with its own parameters, and softplus where it has ReLU."""

    def __init__(self, field: ConvField) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: float, y: Tensor) -> Tensor:
        norms, convs = self.field.norms, self.field.convs
        for norm, conv in zip(norms, convs, strict=False):
            y = conv(t, F.softplus(norm(y)))
        return norms[-1](y)
