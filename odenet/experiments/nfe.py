"""Figure 3: what a trained ODE-Net costs, and how exact it is, at each tolerance."""

import copy
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from odenet.data.mnist import Digits
from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier
from odenet.ode import Solver
from odenet.solvers import Adaptive

REPEATS = 3  # of a timed solve, after one that warms up


def sweep(
    model: Classifier,
    digits: Digits,
    tolerances: Sequence[float],
    batches: int,
    *,
    reference_tolerance: float = 1e-7,
    batch_size: int = 128,
) -> list[dict[str, Any]]:
    """One row for each tolerance and each of the first ``batches`` batches of ``digits``.

    tolerance, batch (its number); nfe_forward, nfe_backward: evaluations of one forward solve and
    of the adjoint solve of the mean loss; error: root mean square of the ODE block's output minus
    that of a solve in double precision at ``reference_tolerance``, relative to that output's own;
    seconds_forward: median of the ODE block alone; error_pct: of the batch. Raises ValueError for
    a model without an ODE block and for more images than there are.
    """
    if not isinstance(model.block, ODEBlock):
        raise ValueError("only a model with an ODE block has a tolerance to sweep")
    if not 1 <= batches * batch_size <= len(digits.labels):
        raise ValueError(
            f"{batches} batches of {batch_size} do not fit {len(digits.labels)} images"
        )
    model.eval()
    exact = copy.deepcopy(model.block).double()
    parts = [part.split(batch_size)[:batches] for part in digits]
    rows = []
    for number, (images, labels) in enumerate(zip(*parts, strict=True)):
        with torch.no_grad():
            state = model.stem(images)
            reference, _ = exact(state.double(), _solver(reference_tolerance))
        for tolerance in tolerances:
            measured = _measure(model, state, reference, labels, tolerance)
            rows.append({"tolerance": tolerance, "batch": number, **measured})
    return rows


def _measure(
    model: Classifier, state: Tensor, reference: Tensor, labels: Tensor, tolerance: float
) -> dict[str, Any]:
    with torch.no_grad():
        value, work = model.block(state, _solver(tolerance))
        seconds = [_seconds(model.block, state, tolerance) for _ in range(REPEATS)]
        wrong = (model.head(value).argmax(1) != labels).float().mean()
        error = (value.double() - reference).norm() / reference.norm()
    return {
        "nfe_forward": work.forward.nfe,
        "nfe_backward": _backward_nfe(model, state, labels, tolerance),
        "error": float(error),
        "seconds_forward": median(seconds),
        "error_pct": 100 * float(wrong),
    }


def _seconds(block: torch.nn.Module, state: Tensor, tolerance: float) -> float:
    started = time.perf_counter()
    block(state, _solver(tolerance))
    return time.perf_counter() - started


def _backward_nfe(model: Classifier, state: Tensor, labels: Tensor, tolerance: float) -> int:
    value, work = model.block(state, _solver(tolerance, "adjoint"))
    loss = F.cross_entropy(model.head(value), labels)
    torch.autograd.grad(loss, list(model.block.parameters()))
    return work.backward.nfe


def _solver(tolerance: float, gradient: str = "backprop") -> Solver:
    return Solver("dopri5", Adaptive(tolerance, tolerance), gradient)
