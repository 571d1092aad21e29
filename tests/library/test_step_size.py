"""The controls alone, on stub steps of known error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from odenet.solvers import Adaptive, Decision, FixedSteps
from odenet.solvers.tables import DOPRI5


@dataclass
class StubStep:
    """A step from 1 to 1 with the given error in units of the tolerance."""

    scaled_error: float
    h: float = 0.5
    interpolant = DOPRI5
    y0 = torch.ones(4)
    y1 = torch.ones(4)
    error_norm = None

    def error(self):
        return torch.full((4,), self.scaled_error * 2e-3)


CONTROL = Adaptive(rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("h", [0.5, -0.5])
@pytest.mark.parametrize(
    ("error", "accepted", "factor"),
    [
        (1.0 - 1e-5, True, 0.9),
        (1.0 + 1e-5, False, 0.9),
        (0.5**5, True, 1.8),
        (2.0**5, False, 0.45),
        (0.0, True, 10.0),
        (1e9, False, 0.2),
        (math.nan, False, 0.2),
        (math.inf, False, 0.2),
    ],
)
def test_adaptive_accepts_and_scales_by_the_error(error, accepted, factor, h):
    decision = CONTROL.adapt(StubStep(error, h), None)
    assert decision.accepted is accepted
    assert decision.dt == pytest.approx(factor * h, rel=1e-4)
    assert decision.error == pytest.approx(error, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(("previous", "factor"), [(0.5**5, 0.5**0.4), (1.0, 1.0)])
def test_pi_control_remembers_the_last_accepted_error(previous, factor):
    control = Adaptive(1e-3, 1e-3, integral=0.3, proportional=0.4)
    last = Decision(True, 0.5, previous)
    expected = 0.5 * 0.9 * (0.5**5) ** (-0.7 / 5) * factor
    assert control.adapt(StubStep(0.5**5), last).dt == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("h", [0.5, -0.5])
def test_no_attempt_is_longer_than_the_longest_step(h):
    control = Adaptive(1e-3, 1e-3, max_step=0.6)
    assert control.adapt(StubStep(0.0, h), None).dt == math.copysign(0.6, h)


def test_tolerances_may_differ_by_entry():
    strict = Adaptive(1e-3, torch.tensor([1.0, 1.0, 1.0, 1e-9]))
    assert not strict.adapt(StubStep(2.0), None).accepted
    assert Adaptive(1e-3, torch.ones(4)).adapt(StubStep(2.0), None).accepted


def test_adaptive_judges_with_the_given_norm():
    blind = Adaptive(1e-3, 1e-3, norm=lambda x: x[:0].sum())
    assert blind.adapt(StubStep(1e6), None).accepted


@pytest.mark.parametrize("end", [3.0, -3.0])
def test_first_step_is_signed_and_stays_inside_the_interval(end):
    def field(t, y):
        return -y

    y = torch.ones(2, dtype=torch.float64)
    assert CONTROL.first_step(end) is None
    h = CONTROL.search_step(field, 0.0, y, field(0.0, y), end, 5)
    assert math.copysign(1, h) == math.copysign(1, end)
    assert 0 < abs(h) <= 3
    assert Adaptive(initial=0.25).first_step(end) == math.copysign(0.25, end)


@pytest.mark.parametrize(
    ("control", "ts", "stops"),
    [
        (FixedSteps(4), (0.0, 0.3, 1.0), [0.25, 0.5, 0.75, 1.0]),
        (FixedSteps(2), (1.0, 0.0), [0.5, 0.0]),
        (FixedSteps(size=0.4), (0.0, 1.0), [0.4, 0.8, 1.0]),
        (FixedSteps(size=0.1), (0.3, 0.0), [0.2, 0.1, 0.0]),
        (FixedSteps(size=5.0), (0.0, 1.0), [1.0]),
        (FixedSteps(), (0.0, 0.3, 1.0), [0.3, 1.0]),
        (FixedSteps(grid=(0.0, 0.2, 0.9, 1.0)), (0.1, 1.0), [0.2, 0.9, 1.0]),
        (FixedSteps(grid=(0.0, 0.2, 0.9, 1.0)), (1.0, 0.1), [0.9, 0.2, 0.1]),
        (Adaptive(), (0.0, 0.3, 1.0), [1.0]),
    ],
)
def test_stops_are_where_a_step_must_end(control, ts, stops):
    got = list(control.stop_times(ts))
    assert got == pytest.approx(stops)
    assert got[-1] == ts[-1]


def test_a_resumed_control_keeps_its_step():
    assert Adaptive().restart((0.0, 1.0), -0.25).initial == 0.25
    assert FixedSteps(8).restart((4.0, 0.0), 0.0) == FixedSteps(size=0.5)
    assert FixedSteps(size=0.3).restart((4.0, 0.0), 0.0) == FixedSteps(size=0.3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adaptive(rtol=0.0, atol=0.0),
        lambda: Adaptive("1e-5"),
        lambda: Adaptive(safety=math.nan),
        lambda: Adaptive(max_step=math.nan),
        lambda: Adaptive(max_steps=0.5),
        lambda: Adaptive(jump_times=(0.0, math.inf)),
        lambda: Adaptive(atol=-1e-3),
        lambda: Adaptive(rtol=math.nan),
        lambda: Adaptive(initial=0.0),
        lambda: Adaptive(max_steps=0),
        lambda: Adaptive(min_step=0.2, max_step=0.1),
        lambda: Adaptive(atol=torch.tensor([1e-3, -1.0])),
        lambda: Adaptive(0.0, torch.tensor([1e-3, 0.0])),
        lambda: Adaptive(integral=0.0),
        lambda: Adaptive(shrink=1.5),
        lambda: Adaptive(jump_times=0.3),
        lambda: Adaptive(norm=None),
        lambda: Adaptive(torch.tensor([1e-3], requires_grad=True)),
        lambda: FixedSteps(grid=0.3),
        lambda: FixedSteps(0),
        lambda: FixedSteps(2.5),
        lambda: FixedSteps(size=-0.1),
        lambda: FixedSteps(3, size=0.1),
        lambda: FixedSteps(size="0.1"),
        lambda: FixedSteps(grid=(0.0, math.nan)),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises((TypeError, ValueError), match="must"):
        make()


def test_numbers_may_be_numpys():
    three = np.float32(1e-3)
    control = Adaptive(three, three, initial=three, max_steps=np.int64(9), jump_times=[three])
    assert control.jump_times == (float(three),) and FixedSteps(np.int64(4), None).count == 4


@pytest.mark.parametrize("end", [2.0, -2.0])
def test_the_first_length_is_looked_for_in_the_direction_of_the_solve(end):
    seen = []

    def field(t, y):
        seen.append(t)
        return -y

    y = torch.ones(3)
    dt = Adaptive(1e-6, 1e-6).search_step(field, 0.0, y, -y, end, 5)
    (trial,) = seen
    assert 0 < trial / end < 1 and 0 < dt / end < 1
