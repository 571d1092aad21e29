"""Achieved error against tolerance on the DETEST problems, beside torchdiffeq and SciPy."""

from __future__ import annotations

import pytest
import torch

from replication.benchmarks.detest import GRAVITY, MASSES, PROBLEMS, SUN, outer_planets
from replication.benchmarks.precision import PEERS, odenet_end, scipy_end, torchdiffeq_end

TOLERANCE = 1e-6


@pytest.mark.parametrize("name", PROBLEMS)
def test_error_stays_within_the_factor_of_the_best_libraries(name):
    problem = PROBLEMS[name]
    exact, _ = scipy_end(problem, "DOP853", 1e-12)
    for method, (theirs, scipys) in PEERS.items():
        ends = (
            odenet_end(problem, method, TOLERANCE),
            torchdiffeq_end(problem, theirs, TOLERANCE),
            scipy_end(problem, scipys, TOLERANCE),
        )
        ours, *others = (float((end - exact).abs().max()) for end, _ in ends)
        # One sequence of steps is luckier than another, by a factor like this.
        assert ours < 3 * max(*others, TOLERANCE), method


def test_the_planets_fall_towards_each_other_as_newton_says():
    """C5 against a plain double loop over the bodies, in coordinates relative to the sun."""
    y0 = PROBLEMS["C5"].y0
    x = y0[:15].view(5, 3)
    for i in range(5):
        pull = -(SUN + MASSES[i]) * x[i] / x[i].norm() ** 3
        for j in set(range(5)) - {i}:
            apart = x[j] - x[i]
            pull = pull + MASSES[j] * (apart / apart.norm() ** 3 - x[j] / x[j].norm() ** 3)
        torch.testing.assert_close(outer_planets(0.0, y0)[15 + 3 * i : 18 + 3 * i], GRAVITY * pull)
