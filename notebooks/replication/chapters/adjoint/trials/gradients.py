"""How far the gradient of a solve is from exact, and what it costs, by rule and by library."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop, Checkpoint
from odenet.models.fields import MLPField
from replication.peers import Way, ours, torchdiffeq_ways

Row = dict[str, Any]
# The three rules, each at the tolerance of its forward solve.
RULES: dict[str, Way] = {
    "Backprop": ours(lambda tolerance: Backprop()),
    "Checkpoint": ours(lambda tolerance: Checkpoint()),
    "Adjoint": ours(lambda tolerance: Adjoint()),
}
# The adjoint as the paper has it: in the units of the loss, every integral in the error norm.
ABSOLUTE = ours(lambda tolerance: Adjoint(scaled=False))
EXACT = ours(lambda tolerance: Backprop(), "dopri8")
SCALED_AT = 1e-4  # the tolerance at which the loss is scaled


@dataclass(frozen=True)
class Problem:
    """A loss of the states (times, ...) that ``field`` reaches from ``y0`` at times ``ts``.

    The gradient with respect to the times is wanted where ``ts`` requires one.
    """

    field: nn.Module
    y0: Tensor
    ts: Tensor
    loss: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pulled:
    """Gradients by name (y0, theta, t0, t1), their cost, and the drift where it is known."""

    gradients: dict[str, Tensor]
    nfe_forward: int
    nfe_backward: int
    drift: float | None


def pull(problem: Problem, way: Way, tolerance: float, scale: float = 1.0) -> Pulled:
    """The gradients of ``scale`` times the loss, divided by ``scale``.

    Evaluations are counted by a hook on the field, every library's alike.
    """
    nfe = 0

    def count(*_: object) -> None:
        nonlocal nfe
        nfe += 1

    y0, ts = problem.y0.detach().requires_grad_(), problem.ts
    parameters = list(problem.field.parameters())
    hook = problem.field.register_forward_hook(count)
    try:
        ys, stats = way(problem.field, y0, ts, tolerance)
        forward = nfe
        loss = scale * problem.loss(ys)
        inputs = [y0, *parameters, *([ts] if ts.requires_grad else [])]
        found = [g / scale for g in torch.autograd.grad(loss, inputs)]
    finally:
        hook.remove()
    of_y0, of_parameters = found[0], found[1 : 1 + len(parameters)]
    parts = {"y0": of_y0, "theta": torch.cat([g.flatten() for g in of_parameters])}
    times = {"t0": found[-1][0], "t1": found[-1][-1]} if ts.requires_grad else {}
    return Pulled(parts | times, forward, nfe - forward, stats.drift if stats else None)


def errors(found: Pulled, exact: Pulled) -> dict[str, float]:
    """By name, the distance of a gradient from the exact one, relative to its length."""
    pairs = {name: (found.gradients[name], g.double()) for name, g in exact.gradients.items()}
    return {name: float((x.double() - g).norm() / g.norm()) for name, (x, g) in pairs.items()}


def sweep(
    problem: Problem,
    ways: Mapping[str, Way],
    exact: Pulled,
    tolerances: Iterable[float],
    scales: Iterable[float] = (1.0,),
) -> list[Row]:
    """A row for each way, tolerance, and constant (``scale``) that multiplies the loss.

    The relative error of each gradient and, as ``error``, the largest; drift and evaluations.
    """
    rows = []
    for (name, way), tolerance, scale in product(ways.items(), tolerances, scales):
        found = pull(problem, way, tolerance, scale)
        each = errors(found, exact)
        cost = {"nfe_forward": found.nfe_forward, "nfe_backward": found.nfe_backward}
        case = {"way": name, "tolerance": tolerance, "scale": scale}
        rows.append({**case, **each, "error": max(each.values()), "drift": found.drift, **cost})
    return rows


@dataclass(frozen=True)
class Trial:
    """Gradients on one small field, at every tolerance, and at 1e-4 by scale of the loss."""

    seed: int = 0  # of the weights and of the states
    tolerances: Sequence[float] = (1e-2, 1e-4, 1e-6)
    scales: Sequence[float] = (1e-3, 1.0, 1e3, 1e5)
    torchdiffeq: str = ""  # its version where it takes part


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """``errors``, a sweep of the tolerances, and ``scales``; the reference is at tolerance 1e-12.

    ``gaps``: for each tolerance, the relative distance of each gradient of Adjoint from that of
    Backprop.
    """
    problem = small(trial.seed)
    theirs = torchdiffeq_ways() if trial.torchdiffeq else {}
    exact = pull(problem, EXACT, 1e-12)
    adjoints = {"Adjoint": RULES["Adjoint"], "Adjoint, absolute": ABSOLUTE}
    adjoints |= {name: way for name, way in theirs.items() if "adjoint" in name}
    pairs = [
        [pull(problem, RULES[name], at) for name in ("Adjoint", "Backprop")]
        for at in trial.tolerances
    ]
    return {
        "errors": sweep(problem, {**RULES, **theirs}, exact, trial.tolerances),
        "gaps": [
            {"tolerance": at, **errors(*pair)}
            for at, pair in zip(trial.tolerances, pairs, strict=True)
        ],
        "scales": sweep(problem, adjoints, exact, [SCALED_AT], trial.scales),
    }


def small(seed: int) -> Problem:
    """Twenty states in the plane, a net of 50 tanh units, and the mean square of four outputs.

    In double precision. Twice PyTorch's initial weights, for with those the solutions are nearly
    straight and no tolerance is a challenge.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        field = MLPField(2, 50, 2).double()
        y0 = torch.randn(20, 2, dtype=torch.float64)
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(2)
    ts = torch.linspace(0, 2, 5, dtype=torch.float64, requires_grad=True)
    return Problem(field, y0, ts, mean_square)


def mean_square(ys: Tensor) -> Tensor:
    """That of all outputs but the start."""
    return ys[1:].square().mean()
