"""Achieved error against tolerance on non-stiff problems, beside torchdiffeq and SciPy.

One or two of each class of DETEST (Hull, Enright, Fellen, Sedgwick 1972), from t = 0 to 20.
"""

import math

import pytest
import torch
import torchdiffeq
from scipy.integrate import solve_ivp

from odenet import Adaptive, Solver, solve

pytestmark = pytest.mark.slow  # the file as a whole

END = 20.0
# ours -> the same or the nearest method of torchdiffeq and of SciPy, and a tolerance
PEERS = {
    "bosh3": ("bosh3", "RK23", 1e-4),
    "dopri5": ("dopri5", "RK45", 1e-6),
    "tsit5": ("dopri5", "RK45", 1e-6),
    "dopri8": ("dopri8", "DOP853", 1e-6),
}


def torus(t, y):
    r = torch.hypot(y[0], y[1])
    return torch.stack((-y[1] - y[0] * y[2] / r, y[0] - y[1] * y[2] / r, y[0] / r))


def orbit(t, y):
    return torch.cat((y[2:], -y[:2] / torch.hypot(y[0], y[1]) ** 3))


PROBLEMS = {
    "A3": (lambda t, y: y * math.cos(t), [1.0]),
    "A5": (lambda t, y: (y - t) / (y + t), [4.0]),
    "B1": (lambda t, y: torch.stack((2 * (y[0] - y[0] * y[1]), y[0] * y[1] - y[1])), [1.0, 3.0]),
    "B4": (torus, [3.0, 0.0, 0.0]),
    "C1": (lambda t, y: torch.cat((y[:1] * -1, y[:-2] - y[1:-1], y[-2:-1])), [1.0] + [0.0] * 9),
    "D1": (orbit, [0.9, 0.0, 0.0, math.sqrt(1.1 / 0.9)]),
    "D5": (orbit, [0.1, 0.0, 0.0, math.sqrt(1.9 / 0.1)]),
    "E2": (lambda t, y: torch.stack((y[1], (1 - y[0] ** 2) * y[1] - y[0])), [2.0, 0.0]),
    "E5": (lambda t, y: torch.stack((y[1], torch.sqrt(1 + y[1] ** 2) / (25 - t))), [0.0, 0.0]),
}


@torch.no_grad()
@pytest.mark.parametrize("name", PROBLEMS)
def test_error_stays_within_the_factor_of_the_best_libraries(name):
    f, start = PROBLEMS[name]
    y0 = torch.tensor(start, dtype=torch.float64)
    ts = torch.tensor([0.0, END], dtype=torch.float64)

    def by_scipy(method, tolerance):
        def slope(t, y):
            return f(t, torch.from_numpy(y)).numpy()

        found = solve_ivp(slope, (0.0, END), start, method, rtol=tolerance, atol=tolerance)
        return torch.from_numpy(found.y[:, -1])

    exact = by_scipy("DOP853", 1e-12)
    for method, (theirs, scipys, tolerance) in PEERS.items():
        same = {"rtol": tolerance, "atol": tolerance, "method": theirs}
        solver = Solver(method, Adaptive(tolerance, tolerance, max_steps=10**6))
        ends = (
            solve(f, y0, ts, solver).ys[-1],
            torchdiffeq.odeint(f, y0, ts, **same)[-1],
            by_scipy(scipys, tolerance),
        )
        ours, *others = (float((end - exact).abs().max()) for end in ends)
        # One sequence of steps is luckier than another, by a factor like this.
        assert ours < 3 * max(*others, tolerance), method
