"""The non-stiff DETEST problems (Hull, Enright, Fellen, Sedgwick 1972), all from t = 0 to 20."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

END = 20.0


@dataclass(frozen=True)
class Problem:
    f: Callable[[float, Tensor], Tensor]
    y0: Tensor


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def predator_prey(t, y):
    return torch.stack((2 * (y[0] - y[0] * y[1]), y[0] * y[1] - y[1]))


def reaction(t, y):
    return torch.stack((y[1] - y[0], y[0] - 2 * y[1] + y[2], y[1] - y[2]))


def nonlinear_reaction(t, y):
    return torch.stack((-y[0], y[0] - y[1] ** 2, y[1] ** 2))


def torus(t, y):
    r = torch.hypot(y[0], y[1])
    return torch.stack((-y[1] - y[0] * y[2] / r, y[0] - y[1] * y[2] / r, y[0] / r))


def rigid_body(t, y):
    return torch.stack((y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]))


def linear(matrix: Tensor) -> Callable[[float, Tensor], Tensor]:
    return lambda t, y: matrix @ y


def unit(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)[0]


def decay_chain(rates: Tensor) -> Tensor:
    """Each substance decays at its rate into the next; the last one is stable."""
    return torch.diag(rates, -1) - torch.diag(torch.cat((rates, tensor(0.0))))


def parabolic(n: int) -> Tensor:
    ones = torch.ones(n - 1, dtype=torch.float64)
    return torch.diag(ones, 1) + torch.diag(ones, -1) - 2 * torch.eye(n, dtype=torch.float64)


MASSES = tensor(
    0.000954786104043,
    0.000285583733151,
    0.0000437273164546,
    0.0000517759138449,
    0.00000277777777778,
)
SUN, GRAVITY = 1.00000597682, 2.95912208286
PLACES = tensor(
    *(3.42947415189, 3.35386959711, 1.35494901715),
    *(6.64145542550, 5.97156957878, 2.18231499728),
    *(11.2630437207, 14.6952576794, 6.27960525067),
    *(-30.1552268759, 1.65699966404, 1.43785752721),
    *(-21.1238353380, 28.4465098142, 15.3882659679),
)
VELOCITIES = tensor(
    *(-0.557160570446, 0.505696783289, 0.230578543901),
    *(-0.415570776342, 0.365682722812, 0.169143213293),
    *(-0.325325669158, 0.189706021964, 0.0877265322780),
    *(-0.0240476254170, -0.287659532608, -0.117219543175),
    *(-0.176860753121, -0.216393453025, -0.0148647893090),
)


def outer_planets(t, y):
    x, v = y.view(2, 5, 3)
    to_sun = x / x.norm(dim=1, keepdim=True) ** 3
    apart = x[None] - x[:, None]
    cubes = apart.norm(dim=2) ** 3 + torch.eye(5, dtype=x.dtype)
    pull = (MASSES[None, :, None] * (apart / cubes[..., None] - to_sun[None])).sum(1)
    own = MASSES[:, None] * to_sun  # the sum above took each planet's own share once too often
    return torch.cat((v, GRAVITY * (pull + own - (SUN + MASSES[:, None]) * to_sun))).view(-1)


def orbit(t, y):
    return torch.cat((y[2:], -y[:2] / torch.hypot(y[0], y[1]) ** 3))


def orbit_start(eccentricity: float) -> Tensor:
    e = eccentricity
    return tensor(1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e)))


def second_order(acceleration) -> Callable[[float, Tensor], Tensor]:
    return lambda t, y: torch.stack((y[1], acceleration(t, y[0], y[1])))


PROBLEMS = {
    "A1": Problem(lambda t, y: -y, tensor(1.0)),
    "A2": Problem(lambda t, y: -(y**3) / 2, tensor(1.0)),
    "A3": Problem(lambda t, y: y * math.cos(t), tensor(1.0)),
    "A4": Problem(lambda t, y: y / 4 * (1 - y / 20), tensor(1.0)),
    "A5": Problem(lambda t, y: (y - t) / (y + t), tensor(4.0)),
    "B1": Problem(predator_prey, tensor(1.0, 3.0)),
    "B2": Problem(reaction, tensor(2.0, 0.0, 1.0)),
    "B3": Problem(nonlinear_reaction, tensor(1.0, 0.0, 0.0)),
    "B4": Problem(torus, tensor(3.0, 0.0, 0.0)),
    "B5": Problem(rigid_body, tensor(0.0, 1.0, 1.0)),
    "C1": Problem(linear(decay_chain(torch.ones(9, dtype=torch.float64))), unit(10)),
    "C2": Problem(linear(decay_chain(torch.arange(1, 10, dtype=torch.float64))), unit(10)),
    "C3": Problem(linear(parabolic(10)), unit(10)),
    "C4": Problem(linear(parabolic(51)), unit(51)),
    "C5": Problem(outer_planets, torch.cat((PLACES, VELOCITIES))),
    "D1": Problem(orbit, orbit_start(0.1)),
    "D2": Problem(orbit, orbit_start(0.3)),
    "D3": Problem(orbit, orbit_start(0.5)),
    "D4": Problem(orbit, orbit_start(0.7)),
    "D5": Problem(orbit, orbit_start(0.9)),
    "E1": Problem(
        second_order(lambda t, y, v: -v / (t + 1) - (1 - 0.25 / (t + 1) ** 2) * y),
        tensor(0.6713967071418030, 0.09540051444747446),
    ),
    "E2": Problem(second_order(lambda t, y, v: (1 - y**2) * v - y), tensor(2.0, 0.0)),
    "E3": Problem(
        second_order(lambda t, y, v: y**3 / 6 - y + 2 * math.sin(2.78535 * t)), tensor(0.0, 0.0)
    ),
    "E4": Problem(second_order(lambda t, y, v: 0.032 - 0.4 * v**2), tensor(30.0, 0.0)),
    "E5": Problem(second_order(lambda t, y, v: torch.sqrt(1 + v**2) / (25 - t)), tensor(0.0, 0.0)),
}
