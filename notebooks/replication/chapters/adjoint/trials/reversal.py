"""Solved back from its end, where does a state arrive, and what gradient comes of it?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import InterpolatedAdjoint
from replication.chapters.adjoint.trials.gradients import (
    ABSOLUTE,
    EXACT,
    RULES,
    Problem,
    mean_square,
    pull,
    small,
    sweep,
)
from replication.peers import Way, ours

# The adjoint that solves the state again, ours and the paper's; and two ways to do without.
WAYS: dict[str, Way] = {
    "Adjoint": RULES["Adjoint"],
    "Adjoint, absolute": ABSOLUTE,
    "Adjoint, interpolated": ours(lambda tolerance: InterpolatedAdjoint()),
    "Checkpoint": RULES["Checkpoint"],
}


class Decay(nn.Module):
    """``dy/dt = -rates y``, linear, so that the adjoint does not depend on the state."""

    def __init__(self, *rates: float) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.tensor(rates, dtype=torch.float64))

    def forward(self, t: float, y: Tensor) -> Tensor:
        return -self.rates * y


class Pendulum(nn.Module):
    """A pendulum with friction, ``u'' = -friction u' - gravity sin u``; states are (u, u')."""

    def __init__(self, friction: float, gravity: float = 1.0) -> None:
        super().__init__()
        self.constants = nn.Parameter(torch.tensor([friction, gravity], dtype=torch.float64))

    def forward(self, t: float, y: Tensor) -> Tensor:
        u, v = y.unbind(-1)
        friction, gravity = self.constants
        return torch.stack((v, -friction * v - gravity * torch.sin(u)), -1)


@dataclass(frozen=True)
class Trial:
    """One field, solved there and back at every tolerance, from twenty random states."""

    field: str = "decay"  # decay | pendulum | network
    seed: int = 0  # of the states, and of the weights of the network
    tolerances: Sequence[float] = (1e-2, 1e-4, 1e-6)


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """``rows``, a sweep of the tolerances, against a reference at tolerance 1e-12.

    Its ``drift`` is that of the two that solve the state again. Raises ValueError for an unknown
    field.
    """
    problem = _problem(trial.field, trial.seed)
    return {"rows": sweep(problem, WAYS, pull(problem, EXACT, 1e-12), trial.tolerances)}


def _problem(name: str, seed: int) -> Problem:
    field: nn.Module
    if name == "network":
        return replace(small(seed), ts=torch.tensor([0.0, 2.0], dtype=torch.float64))
    if name == "decay":
        field, size, end = Decay(1.0, 4.0, 8.0), 3, 1.0
    elif name == "pendulum":
        field, size, end = Pendulum(friction=3.0), 2, 4.0
    else:
        raise ValueError(f"unknown field {name!r}; known: decay, pendulum, network")
    generator = torch.Generator().manual_seed(seed)
    y0 = torch.randn(20, size, dtype=torch.float64, generator=generator)
    return Problem(field, y0, torch.tensor([0.0, end], dtype=torch.float64), mean_square)
