"""Achieved error against tolerance on the DETEST problems, beside torchdiffeq and SciPy."""

from __future__ import annotations

import pytest
import torch
import torchdiffeq
from detest import END, PROBLEMS
from scipy.integrate import solve_ivp

from odenet import Adaptive, Solver, solve

# ours -> the same or the nearest method of torchdiffeq and of SciPy
PEERS = {
    "bosh3": ("bosh3", "RK23"),
    "dopri5": ("dopri5", "RK45"),
    "tsit5": ("dopri5", "RK45"),
    "dopri8": ("dopri8", "DOP853"),
}
TOLERANCE = 1e-6


def scipy_end(problem, method, tolerance):
    def f(t, y):
        return problem.f(t, torch.from_numpy(y)).numpy()

    span, y0 = (0, END), problem.y0.numpy()
    solution = solve_ivp(f, span, y0, method, rtol=tolerance, atol=tolerance)
    return torch.from_numpy(solution.y[:, -1].copy())


def torchdiffeq_end(problem, method, tolerance):
    ts = torch.tensor([0.0, END], dtype=torch.float64)
    same = {"rtol": tolerance, "atol": tolerance, "method": method}
    return torchdiffeq.odeint(problem.f, problem.y0, ts, **same)[-1]


@pytest.mark.parametrize("name", PROBLEMS)
def test_error_stays_within_the_factor_of_the_best_libraries(name):
    problem = PROBLEMS[name]
    exact = scipy_end(problem, "DOP853", 1e-12)
    for method, (theirs, scipys) in PEERS.items():
        solver = Solver(method, Adaptive(TOLERANCE, TOLERANCE))
        ends = (
            solve(problem.f, problem.y0, (0.0, END), solver).ys[-1],
            torchdiffeq_end(problem, theirs, TOLERANCE),
            scipy_end(problem, scipys, TOLERANCE),
        )
        ours, *others = (float((end - exact).abs().max()) for end in ends)
        # One sequence of steps is luckier than another, by a factor like this.
        assert ours < 3 * max(*others, TOLERANCE), method


def test_the_planets_fall_towards_each_other_as_newton_says():
    """C5 against a plain double loop over the bodies, in coordinates relative to the sun."""
    from detest import GRAVITY, MASSES, SUN, outer_planets

    y0 = PROBLEMS["C5"].y0
    x = y0[:15].view(5, 3)
    for i in range(5):
        pull = -(SUN + MASSES[i]) * x[i] / x[i].norm() ** 3
        for j in set(range(5)) - {i}:
            apart = x[j] - x[i]
            pull = pull + MASSES[j] * (apart / apart.norm() ** 3 - x[j] / x[j].norm() ** 3)
        torch.testing.assert_close(outer_planets(0.0, y0)[15 + 3 * i : 18 + 3 * i], GRAVITY * pull)
