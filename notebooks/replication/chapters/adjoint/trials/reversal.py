"""Solved back from its end, where does a state arrive, and what gradient comes of it?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import InterpolatedAdjoint
from replication.chapters.adjoint.trials.gradients import (
    EXACT,
    RULES,
    Problem,
    Pulled,
    Row,
    measured,
    pull,
    small,
)
from replication.peers import Way, ours

# The adjoint that solves the state again, and the two ways to know it without.
WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "Adjoint": RULES["Adjoint"],
        "Adjoint, interpolated": ours(lambda tolerance: InterpolatedAdjoint()),
        "Checkpoint": RULES["Checkpoint"],
    }
)


def there_and_back(problem: Problem, exact: Pulled, tolerances: Iterable[float]) -> list[Row]:
    """What is measured of each way at each tolerance; ``drift`` is that of Adjoint alone."""
    return [
        {"way": name, "tolerance": at, **measured(problem, way, at, exact)}
        for at in tolerances
        for name, way in WAYS.items()
    ]


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


def _decay(seed: int) -> Problem:
    return Problem(Decay(1.0, 4.0, 8.0), _states(seed, 3), _span(1.0), _mean_square)


def _pendulum(seed: int) -> Problem:
    return Problem(Pendulum(friction=3.0), _states(seed, 2), _span(4.0), _mean_square)


def _network(seed: int) -> Problem:
    return replace(small(seed), ts=_span(2.0))


FIELDS = MappingProxyType({"decay": _decay, "pendulum": _pendulum, "network": _network})


@dataclass(frozen=True)
class Trial:
    """One field, solved there and back at every tolerance, from twenty random states."""

    field: str = "decay"  # decay | pendulum | network
    seed: int = 0  # of the states, and of the weights of the network
    tolerances: Sequence[float] = (1e-2, 1e-4, 1e-6)


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """``rows`` of ``there_and_back``, against a reference at tolerance 1e-12.

    Raises ValueError for an unknown field.
    """
    if trial.field not in FIELDS:
        raise ValueError(f"unknown field {trial.field!r}; known: {', '.join(FIELDS)}")
    problem = FIELDS[trial.field](trial.seed)
    return {"rows": there_and_back(problem, pull(problem, EXACT, 1e-12), trial.tolerances)}


def _states(seed: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(20, size, dtype=torch.float64, generator=generator)


def _span(end: float) -> Tensor:
    return torch.tensor([0.0, end], dtype=torch.float64)


def _mean_square(ys: Tensor) -> Tensor:
    return ys[-1].square().mean()
