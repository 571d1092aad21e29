"""Spirals that wind inwards about one common centre, half of them in either direction."""

from dataclasses import dataclass
from math import pi
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

STEP = 0.1  # time between two grid points; the angle turns by 1 radian per unit of time
WINDOW = 100  # grid points in which observations are made
TOTAL = 200  # grid points altogether: as many to extrapolate to as were seen
VALIDATION = 1_000_000  # added to a seed: the seed of its validation spirals

# family -> radius at time t of a spiral that starts with radius r0
FAMILIES = MappingProxyType(
    {
        "log": lambda r0, t: r0 * torch.exp(-0.05 * t),
        "archimedean": lambda r0, t: r0 - 0.05 * t,
    }
)


@dataclass(frozen=True)
class Spirals:
    """Spirals on the grid, and the noisy observations of each at times of its own.

    ts (total,): the grid; clean (size, total, 2): the curves; direction (size,): +1 where the
    curve turns counter-clockwise, -1 where clockwise; index (size, observed): the grid points
    observed, ascending, all inside the window; times and values (size, observed[, 2]): the
    observations there.
    """

    ts: Tensor
    clean: Tensor
    direction: Tensor
    index: Tensor
    values: Tensor

    @property
    def times(self) -> Tensor:
        return self.ts[self.index]

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, which: Tensor | slice) -> "Spirals":
        chosen = (self.clean, self.direction, self.index, self.values)
        return Spirals(self.ts, *(part[which] for part in chosen))


def sample(
    size: int, *, observed: int = WINDOW, family: str = "log", noise: float = 0.1, seed: int = 0
) -> Spirals:
    """``size`` spirals, each seen at ``observed`` points of the window drawn without replacement.

    The radius starts uniformly in [1.3, 2.3], the angle uniformly; observations carry Gaussian
    noise of standard deviation ``noise`` in each coordinate. The curves and the noise of a seed are
    the same whatever ``observed`` is. Raises ValueError for an unknown family and for impossible
    sizes.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    if not 1 <= observed <= WINDOW:
        raise ValueError(f"observed must lie between 1 and {WINDOW}, got {observed}")
    if size < 1 or not noise >= 0:
        raise ValueError(f"size must be at least 1 and noise at least 0, got {size} and {noise}")
    generator = torch.Generator().manual_seed(seed)
    r0 = 1.3 + torch.rand(size, 1, generator=generator)
    angle = 2 * pi * torch.rand(size, 1, generator=generator)
    errors = noise * torch.randn(size, WINDOW, 2, generator=generator)
    order = torch.rand(size, WINDOW, generator=generator).argsort(1)

    ts = STEP * torch.arange(TOTAL)
    direction = 1 - 2 * (torch.arange(size) % 2)
    radius, phase = FAMILIES[family](r0, ts), angle + direction[:, None] * ts
    clean = torch.stack((radius * phase.cos(), radius * phase.sin()), -1)
    index = order[:, :observed].sort(1).values
    rows = torch.arange(size)[:, None]
    return Spirals(ts, clean, direction, index, (clean[:, :WINDOW] + errors)[rows, index])


def load(train_size: int = 1000, test_size: int = 500, **how: Any) -> tuple[Spirals, Spirals]:
    """Training and test spirals of one seed; no curve is in both.

    ``how`` and what is raised are as for ``sample``; ValueError too where a part would be empty.
    """
    if train_size < 1 or test_size < 1:
        raise ValueError(f"both parts need a spiral, got sizes {train_size} and {test_size}")
    both = sample(train_size + test_size, **how)
    return both[slice(train_size)], both[slice(train_size, None)]


def validation(size: int = 200, *, seed: int = 0, **how: Any) -> Spirals:
    """``size`` spirals, in neither part of ``load`` for a seed below 1,000,000.

    ``how`` and what is raised are as for ``sample``.
    """
    return sample(size, seed=VALIDATION + seed, **how)
