"""Events along a latent path: closed forms of likelihoods and their gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import simpson
from torch import nn

from odenet import Adaptive, Solver
from odenet.models.poisson import PoissonPath, poisson_path

TIGHT = Solver("dopri5", Adaptive(1e-10, 1e-10))
EVENTS, DURATION = [0.5, 1.25, 3.0], 4.0
GROWTH, LOG_START = 0.7, -0.3  # of a rate exp(LOG_START + GROWTH t)


class Clock(nn.Module):
    """dz/dt = 1, so that z is the time."""

    def forward(self, t, z):
        return torch.ones_like(z)


def exponential() -> PoissonPath:
    """A path whose rate is exp(LOG_START + GROWTH t)."""
    log_rate = nn.Linear(1, 1, dtype=torch.float64)
    nn.init.constant_(log_rate.weight, GROWTH)
    nn.init.constant_(log_rate.bias, LOG_START)
    return PoissonPath(Clock(), log_rate, torch.zeros(1, dtype=torch.float64), TIGHT)


def integral(t: float) -> float:
    return math.exp(LOG_START) * math.expm1(GROWTH * t) / GROWTH


def test_the_integral_of_a_known_rate_is_exact_at_every_time_of_the_solve():
    path = exponential()([0.0, *EVENTS, DURATION])
    expected = [integral(t) for t in (0.0, *EVENTS, DURATION)]
    assert path.integral.tolist() == pytest.approx(expected, rel=1e-8)
    assert path.z[:, 0].tolist() == pytest.approx([0.0, *EVENTS, DURATION])


@pytest.mark.parametrize("sequences", [1, 3])
def test_the_likelihood_of_a_known_rate_is_the_closed_form(sequences):
    nats, _ = exponential().log_likelihood(EVENTS, DURATION, sequences=sequences)
    expected = sum(LOG_START + GROWTH * t for t in EVENTS) - sequences * integral(DURATION)
    assert nats.item() == pytest.approx(expected, rel=1e-8)


def test_the_slope_in_the_log_of_the_scale_is_events_minus_integral():
    model = exponential()
    model.log_likelihood(EVENTS, DURATION)[0].backward()
    slope = len(EVENTS) - integral(DURATION)
    assert float(model.both.log_rate.bias.grad) == pytest.approx(slope, rel=1e-6)


def test_the_slope_in_the_growth_is_the_closed_form():
    model = exponential()
    model.log_likelihood(EVENTS, DURATION)[0].backward()
    moment = math.exp(LOG_START) * (
        DURATION * math.exp(GROWTH * DURATION) / GROWTH - math.expm1(GROWTH * DURATION) / GROWTH**2
    )  # integral of t times the rate
    assert float(model.both.log_rate.weight.grad) == pytest.approx(sum(EVENTS) - moment, rel=1e-6)


def test_events_at_one_time_count_each_and_their_order_does_not_matter():
    model = exponential()
    once, _ = model.log_likelihood([0.5, 3.0], DURATION)
    twice, path = model.log_likelihood([3.0, 0.5, 3.0], DURATION)
    assert (twice - once).item() == pytest.approx(LOG_START + GROWTH * 3)
    assert len(path.z) == 4  # times 0, 0.5, 3 and 4


@pytest.mark.parametrize("made", [tuple, np.array, torch.tensor, iter])
def test_events_come_in_any_container(made):
    events = [3.0, 0.5, 3.0]
    listed, _ = exponential().log_likelihood(events, DURATION)
    assert exponential().log_likelihood(made(events), DURATION)[0].item() == listed.item()


@pytest.mark.parametrize(("duration", "sequences"), [(0.0, 1), (-4.0, 1), (math.nan, 1), (4.0, 0)])
def test_no_duration_and_no_sequence_are_refused(duration, sequences):
    with pytest.raises(ValueError, match="duration must be above 0 and sequences at least 1"):
        exponential().log_likelihood([], duration, sequences=sequences)


@pytest.mark.parametrize("outside", [0.0, DURATION, -1.0, math.nan])
def test_an_event_outside_the_interval_is_refused(outside):
    with pytest.raises(ValueError, match=r"events must lie inside \(0, 4.0\)"):
        exponential().log_likelihood([1.0, outside], DURATION)


def test_no_event_at_all_has_the_likelihood_of_silence():
    nats, _ = exponential().log_likelihood([], DURATION)
    assert nats.item() == pytest.approx(-integral(DURATION), rel=1e-8)


def test_the_integral_in_the_solve_is_that_of_the_rates_that_it_returns():
    model = poisson_path()
    model.solver = TIGHT
    with torch.no_grad():
        path = model([4 * i / 400 for i in range(401)])
    by_hand = simpson(path.log_rate.exp().numpy(), dx=4 / 400)
    assert float(path.integral[-1]) == pytest.approx(by_hand, rel=1e-8)
