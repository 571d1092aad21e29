"""Densities in the plane: energies to match, and points to learn from.

U1, U3 and U4 are the energies of Rezende and Mohamed (2015), Table 1; points are scikit-learn's two
circles and two moons, scaled by 1.6 and centred.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from types import MappingProxyType

import torch
from sklearn.datasets import make_circles, make_moons
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
EDGE, WALL = 4.0, 5.0  # beyond the edge the energy rises by WALL times the distance squared
SCALE = 1.6  # of the points
MAKERS = MappingProxyType({"circles": partial(make_circles, factor=0.5), "moons": make_moons})
NOISE = MappingProxyType({"circles": 0.06, "moons": 0.07})  # before scaling
MIDDLE = MappingProxyType({"circles": (0.0, 0.0), "moons": (0.5, 0.25)})  # before scaling


def _ring(z: Tensor) -> Tensor:
    x = z[..., 0]
    radius = torch.linalg.vector_norm(z, dim=-1)
    left, right = _bell(x + 2, 0.6), _bell(x - 2, 0.6)
    return 0.5 * ((radius - 2) / 0.4).square() - torch.logaddexp(left, right)


def _split(z: Tensor) -> Tensor:
    x, y = z.unbind(-1)
    off = y - torch.sin(math.pi / 2 * x)
    hump = 3 * torch.exp(_bell(x - 1, 0.6))
    return -torch.logaddexp(_bell(off, 0.35), _bell(off + hump, 0.35))


def _fork(z: Tensor) -> Tensor:
    x, y = z.unbind(-1)
    off = y - torch.sin(math.pi / 2 * x)
    ramp = 3 * torch.sigmoid((x - 1) / 0.3)
    return -torch.logaddexp(_bell(off, 0.4), _bell(off + ramp, 0.35))


def _bell(x: Tensor, width: float) -> Tensor:
    return -0.5 * (x / width).square()


ENERGIES = MappingProxyType({"U1": _ring, "U3": _split, "U4": _fork})


def energy(name: str) -> Energy:
    """The energy of points (..., 2) in a box with soft walls: (...).

    ``U + 5 sum_i max(|z_i| - 4, 0)^2``, for U3 and U4 do not rise along the first coordinate, so
    that exp(-U) has no finite integral over the plane. Raises ValueError for an unknown name.
    """
    if name not in ENERGIES:
        raise ValueError(f"unknown energy {name!r}; known: {', '.join(ENERGIES)}")
    inside = ENERGIES[name]
    return lambda z: inside(z) + WALL * torch.relu(z.abs() - EDGE).square().sum(-1)


@cache
def log_normalizer(name: str, points: int = 1400) -> float:
    """The logarithm of the integral of exp(-energy), by a sum over a grid on [-7, 7]^2.

    The expectation of ``log q + energy`` under any density q is at least minus this number, and
    the difference is the Kullback-Leibler divergence from q to the target.
    """
    z, area = grid(7.0, points)
    return float(torch.logsumexp(-energy(name)(z), 0)) + math.log(area)


def grid(reach: float, points: int) -> tuple[Tensor, float]:
    """Middles (points^2, 2) of equal cells of [-reach, reach]^2, and the area of a cell.

    Row by row from the lowest y, each from the left; in double precision.
    """
    side = 2 * reach / points
    middles = -reach + side * (torch.arange(points, dtype=torch.float64) + 0.5)
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), -1), side**2


def sample(name: str, size: int, *, seed: int) -> Tensor:
    """``size`` points (size, 2) of the two circles or moons; ValueError for another name."""
    _check(name)
    points, _ = MAKERS[name](size, noise=NOISE[name], random_state=seed)
    return SCALE * (torch.from_numpy(points).float() - torch.tensor(MIDDLE[name]))


def log_density(name: str, z: Tensor) -> Tensor:
    """The logarithm of the density that ``sample`` draws from, at points (n, 2): (n,).

    Each curve by 2000 points on it, a Gaussian about each. Raises ValueError for an unknown name.
    """
    _check(name)
    curves = _curves(name, 2000)
    middle = torch.tensor(MIDDLE[name], dtype=torch.float64)
    distance = torch.cdist(z.double() / SCALE + middle, curves)
    width = NOISE[name]
    mixed = torch.logsumexp(_bell(distance, width), 1) - math.log(len(curves))
    return mixed - math.log(2 * math.pi * width**2 * SCALE**2)


def _curves(name: str, points: int) -> Tensor:
    """The curves without noise, each as so many points at equal angles."""
    turn = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    if name == "circles":
        angle = 2 * math.pi * turn
        outer = torch.stack((angle.cos(), angle.sin()), -1)
        return torch.cat((outer, 0.5 * outer))
    angle = math.pi * turn
    upper = torch.stack((angle.cos(), angle.sin()), -1)
    return torch.cat((upper, torch.tensor([1.0, 0.5], dtype=torch.float64) - upper))


def _check(name: str) -> None:
    if name not in NOISE:
        raise ValueError(f"unknown points {name!r}; known: {', '.join(NOISE)}")
