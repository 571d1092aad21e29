"""Fits of a rate of events: the events, the numbers that a fit leaves, and its interruption."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from scipy.stats import kstest

from odenet.models.poisson import PoissonPath
from replication.chapters.poisson import trials as poisson

TRIAL = poisson.Trial(iterations=50, tolerance=1e-2)


def test_the_bursts_are_ten_evenly_spaced_events_each():
    events = poisson.bursts()
    assert len(events) == 20 and events == sorted(events)
    for low, high in poisson.BURSTS:
        inside = [t for t in events if low < t < high]
        gap = (high - low) / 10
        assert inside == pytest.approx([low + gap * (i + 0.5) for i in range(10)])


def test_the_known_rate_expects_twenty_events():
    ts = torch.linspace(0, poisson.DURATION, 2001, dtype=torch.float64)
    assert poisson.simpson(poisson.bumps(ts), poisson.DURATION) == pytest.approx(20, rel=1e-6)


def test_simulated_events_are_as_many_and_where_the_rate_says():
    sequences = 200
    events = poisson.simulate(poisson.bumps, sequences, torch.Generator().manual_seed(0))
    assert len(events) == pytest.approx(20 * sequences, abs=4 * math.sqrt(20 * sequences))
    grid = torch.linspace(0, poisson.DURATION, 10_001, dtype=torch.float64)
    total = torch.cumulative_trapezoid(poisson.bumps(grid), grid)
    places = (torch.tensor(events) / poisson.DURATION * 10_000).long().clamp(max=9_999)
    assert kstest((total[places] / total[-1]).numpy(), "uniform").pvalue > 0.01


def test_no_constant_rate_is_likelier_than_the_optimum():
    nats = [7 * math.log(rate) - 2 * 5.0 * rate for rate in (0.5, 0.69, 0.7, 0.71, 1.0)]
    assert max(nats) == pytest.approx(poisson.constant_nats(7, 5.0, sequences=2))


def test_simpson_is_exact_for_cubics_and_refuses_an_even_number_of_values():
    x = torch.linspace(0, 2, 5, dtype=torch.float64)
    assert poisson.simpson(x**3 + 1, 2.0) == pytest.approx(6)
    with pytest.raises(ValueError, match="odd number of values, got 4"):
        poisson.simpson(x[:4], 2.0)


def test_a_fit_is_plain_numbers_that_agree_with_each_other(tmp_path):
    result = poisson.run(replace(TRIAL, tolerance=1e-4), tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["events"] == 20 and result["rate_error"] is None
    curve = result["curve"]
    assert curve["integral"][0] == 0 and curve["integral"] == sorted(curve["integral"])
    rate = torch.tensor(curve["rate"], dtype=torch.float64)
    assert result["quadrature"] == pytest.approx(poisson.simpson(rate, poisson.DURATION))
    assert result["integral"] == pytest.approx(result["quadrature"], rel=1e-2)
    assert result["history"]["loss"][-1] > 0 and len(result["history"]["loss"]) == 2


def test_share_of_the_bursts_is_that_of_the_learned_rate(tmp_path, monkeypatch):
    monkeypatch.setattr(poisson, "BURSTS", ((0.0, 5.0), (5.0, 10.0)))
    assert poisson.run(TRIAL, tmp_path)["burst_share"] == pytest.approx(1, rel=1e-4)


def test_weights_left_behind_are_those_that_were_scored(tmp_path):
    result = poisson.run(TRIAL, tmp_path)
    model = poisson.load(TRIAL, tmp_path)
    with torch.no_grad():
        nats, path = model.log_likelihood(poisson.data(TRIAL), poisson.DURATION)
    assert (float(nats), float(path.integral[-1])) == (
        *(result["log_likelihood"], result["integral"]),
    )


def test_an_interrupted_fit_ends_bitwise_as_one_that_was_not(tmp_path, monkeypatch):
    trial = replace(TRIAL, iterations=100)
    expected = poisson.run(trial, tmp_path / "whole")
    original, calls = PoissonPath.log_likelihood, iter(range(70))

    def interrupted(self, *args, **kwargs):
        if next(calls) == 60:
            raise KeyboardInterrupt
        return partial(original, self, **kwargs)(*args)

    with monkeypatch.context() as patch:
        patch.setattr(PoissonPath, "log_likelihood", interrupted)
        with pytest.raises(KeyboardInterrupt):
            poisson.run(trial, tmp_path / "parts")
    result = poisson.run(trial, tmp_path / "parts")
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}


def test_another_start_fits_the_same_events_from_other_weights():
    known = replace(TRIAL, events="bumps", sequences=2)
    again, other = replace(known, start=1), replace(known, seed=1)
    assert poisson.data(known) == poisson.data(again) != poisson.data(other)
    first, second = poisson._model(known), poisson._model(again)
    assert not torch.equal(first.start, second.start)


def test_the_error_of_a_known_rate_is_relative_to_its_integral():
    ts = torch.linspace(0, poisson.DURATION, 401, dtype=torch.float64)
    trial = replace(TRIAL, events="bumps")
    assert poisson._rate_error(trial, ts, poisson.bumps(ts)) == 0
    assert poisson._rate_error(trial, ts, 1.5 * poisson.bumps(ts)) == pytest.approx(0.5)


def test_unknown_events_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown events 'waves'; known: bursts, bumps"):
        poisson.run(replace(TRIAL, events="waves"), tmp_path)
