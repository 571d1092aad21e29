"""The Adams methods: their printed coefficients, and what a step costs."""

from __future__ import annotations

import pytest
import torch

from odenet.solvers import METHODS, Counts, FixedSteps
from odenet.solvers.adams import Quadrature
from odenet.solvers.loop import steps


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ((0.0, -1.0), (3 / 2, -1 / 2)),
        ((0.0, -1.0, -2.0, -3.0), (55 / 24, -59 / 24, 37 / 24, -9 / 24)),
        ((1.0, 0.0), (1 / 2, 1 / 2)),
        ((1.0, 0.0, -1.0, -2.0), (9 / 24, 19 / 24, -5 / 24, 1 / 24)),
    ],
)
def test_equal_steps_give_the_printed_coefficients(nodes, weights):
    assert [w for _, w in Quadrature(nodes).weights] == pytest.approx(weights, rel=1e-12)


def field(t, y):
    return torch.cos(3 * y) - t


def solved(name):
    counts = Counts()
    start = torch.ones(2, dtype=torch.float64)
    *_, last = steps(field, start, (0.0, 2.0), METHODS[name], FixedSteps(40), counts)
    return last, counts.nfe


@pytest.mark.parametrize(("name", "corrections"), [("explicit_adams", 0), ("implicit_adams", 2)])
def test_a_step_costs_one_evaluation_and_one_for_each_correction(name, corrections):
    assert solved(name)[1] == 3 * 4 + 37 * (1 + corrections)  # three steps are Runge-Kutta's


def test_corrections_make_the_step_more_exact():
    start = torch.ones(2, dtype=torch.float64)
    *_, exact = steps(field, start, (0.0, 2.0), METHODS["dopri8"], FixedSteps(200), Counts())
    explicit, implicit = (
        float((solved(name)[0].y1 - exact.y1).abs().max())
        for name in ("explicit_adams", "implicit_adams")
    )
    assert implicit < explicit / 3
