"""Figure 3c: what the backward pass costs, by solver, by rule, and by the counter's honesty."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from odenet.adjoint import Adjoint, Backprop, Checkpoint, Gradient
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier
from odenet.ode import Solver
from odenet.solvers import Adaptive, SolveStats
from replication.data.mnist import Digits, load
from replication.device import clock, device
from replication.trained import trained

REPEATS = 3
REFERENCE = 1e-8  # tolerance, in double precision, of the gradient that others are compared with


@dataclass(frozen=True)
class Way:
    """A solver for both passes, the rule for a tolerance, and how the losses of a batch join."""

    rule: Callable[[float], Gradient]
    method: str = "dopri5"
    join: str = "mean"


# The paper solves one system backwards, of state, adjoint and parameter gradient, with one error
# norm over all of them and an absolute tolerance on the adjoint, in the units of the loss.
PAPER = Adjoint(scaled=False)
WAYS = {
    "paper": Way(lambda at: PAPER),
    "paper, summed loss": Way(lambda at: PAPER, join="sum"),
    "VODE": Way(lambda at: PAPER, "scipy_vode"),
    "VODE, summed loss": Way(lambda at: PAPER, "scipy_vode", "sum"),
    "relative": Way(lambda at: Adjoint()),
    "seminorm": Way(lambda at: Adjoint(seminorm=True)),
    "looser": Way(lambda at: Adjoint(Adaptive(100 * at, 100 * at))),
}


@dataclass(frozen=True)
class Trial:
    """The measurement of one trained network, on consecutive batches of test images."""

    training: str  # folder of its trial in the cache
    tolerances: Sequence[float] = (1e-1, 1e-2)
    batches: int = 2
    images: int = 8  # in a batch
    tolerance: float = 1e-3  # of the training; the backward pass is timed at this one


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """Plain numbers: ``rows``, one for each way, tolerance and batch, and ``seconds`` by rule.

    A row has way, tolerance, batch, nfe_forward, nfe_backward, drift (there and back) and
    gradient_error: the distance of the gradient of the block's parameters from the reference,
    relative to it. ``seconds``: of the block's backward pass, the median of three.
    """
    model, block = trained(trial.training, folder, trial.tolerance)
    _, test = load(train_size=1, test_size=trial.batches * trial.images)
    parts = [part.to(device()).split(trial.images) for part in test]
    batches = [Digits(*pair) for pair in zip(*parts, strict=True)]
    return {
        "rows": [row for i, batch in enumerate(batches) for row in _rows(model, batch, i, trial)],
        "seconds": _seconds(model, block, batches[0], trial.tolerance),
    }


def leaked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of ``run`` as a counter would log them that leaks from each batch into the next.

    It is reset after its forward count is read, but not after the backward pass. As reported of
    the paper's Figure 3, the forward count of each batch but the first then holds the backward
    count of the batch before, and one evaluation more; the first batch is left out.
    """
    backward = {(row["way"], row["tolerance"], row["batch"]): row["nfe_backward"] for row in rows}
    return [
        {**row, "nfe_forward": row["nfe_forward"] + before + 1}
        for row in rows
        if (before := backward.get((row["way"], row["tolerance"], row["batch"] - 1))) is not None
    ]


def _rows(model: Classifier, batch: Digits, number: int, trial: Trial) -> list[dict[str, Any]]:
    with torch.no_grad():
        state = model.stem(batch.images)
    precise = copy.deepcopy(model).double()
    checkpoint = Way(lambda at: Checkpoint())
    exact, _ = _pulled(precise, state.double(), batch.labels, checkpoint, REFERENCE)
    rows = []
    for tolerance, (name, way) in product(trial.tolerances, WAYS.items()):
        found, stats = _pulled(model, state, batch.labels, way, tolerance)
        measured = {
            "nfe_forward": stats.forward.nfe,
            # Where a method hands on no slope, our adjoint first looks whether the field is still
            # the same: one evaluation that is no part of the solve.
            "nfe_backward": stats.backward.nfe - (way.method == "scipy_vode"),
            "drift": stats.drift,
            "gradient_error": float((found.double() - exact).norm() / exact.norm()),
        }
        rows.append({"way": name, "tolerance": tolerance, "batch": number, **measured})
    return rows


def _pulled(
    model: Classifier, state: Tensor, labels: Tensor, way: Way, tolerance: float
) -> tuple[Tensor, SolveStats]:
    """The gradient of the mean loss with respect to the block's parameters, as one vector."""
    solver = Solver(way.method, Adaptive(tolerance, tolerance), way.rule(tolerance))
    end, stats = model.block(state, solver)
    loss = F.cross_entropy(model.head(end), labels, reduction=way.join)
    gradients = torch.autograd.grad(loss, list(model.block.parameters()))
    flat = torch.cat([g.reshape(-1) for g in gradients])
    return flat / (len(labels) if way.join == "sum" else 1), stats


def _seconds(
    model: Classifier, block: ODEBlock, batch: Digits, tolerance: float
) -> dict[str, float]:
    """Of the backward pass through the block: by backpropagation, the paper's adjoint, our own."""
    with torch.no_grad():
        state = model.stem(batch.images)
    control = Adaptive(tolerance, tolerance)
    own: Any = block.solver.gradient
    rules = {"backprop": Backprop(), "paper": PAPER, "own": own}
    times: dict[str, list[float]] = {name: [] for name in rules}
    for _ in range(REPEATS + 1):  # the first warms up
        for name, rule in rules.items():
            end, _ = block(state.requires_grad_(), Solver("dopri5", control, rule))
            loss = F.cross_entropy(model.head(end), batch.labels)
            started = clock()
            torch.autograd.grad(loss, [state, *block.parameters()])
            times[name].append(clock() - started)
    return {name: median(taken[1:]) for name, taken in times.items()}
