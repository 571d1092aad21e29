"""Fits of a rate of events: the events, the numbers that a fit leaves, and its interruption."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from odenet.models.poisson import PoissonPath
from replication.chapters.poisson import trials as poisson

TRIAL = poisson.Trial(iterations=20, tolerance=1e-4)


@pytest.fixture(autouse=True, scope="module")
def _short_epochs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poisson, "EPOCH", 10)
        yield


def test_the_bursts_are_ten_evenly_spaced_events_each():
    events = poisson.bursts()
    assert len(events) == 20 and events == sorted(events)
    for low, high in poisson.BURSTS:
        inside = [t for t in events if low < t < high]
        gap = (high - low) / 10
        assert inside == pytest.approx([low + gap * (i + 0.5) for i in range(10)])


def test_the_known_rate_expects_twenty_events():
    ts = torch.linspace(0, poisson.DURATION, 2001, dtype=torch.float64)
    assert float(torch.trapezoid(poisson.bumps(ts), ts)) == pytest.approx(20, rel=1e-6)


def test_simulated_events_are_as_many_and_where_the_rate_says():
    sequences = 200
    events = poisson.simulate(sequences, torch.Generator().manual_seed(0))
    assert len(events) == pytest.approx(20 * sequences, abs=4 * math.sqrt(20 * sequences))
    grid = torch.linspace(0, poisson.DURATION, 10_001, dtype=torch.float64)
    total = torch.cumulative_trapezoid(poisson.bumps(grid), grid)
    places = (torch.tensor(events) / poisson.DURATION * 10_000).long().clamp(max=9_999)
    assert kstest((total[places] / total[-1]).numpy(), "uniform").pvalue > 0.01


def test_no_constant_rate_is_likelier_than_the_optimum():
    nats = [7 * math.log(rate) - 2 * 5.0 * rate for rate in (0.5, 0.69, 0.7, 0.71, 1.0)]
    assert max(nats) == pytest.approx(poisson.constant_nats(7, 5.0, sequences=2))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return poisson.run(TRIAL, tmp_path_factory.mktemp("whole"))


def test_an_integral_is_exact_for_cubics_and_leaves_out_what_lies_outside():
    assert poisson._integral(poisson.GRID**3 + 1, 2, 4) == pytest.approx(62)


def test_a_fit_is_plain_numbers_that_agree_with_each_other(fitted):
    assert json.loads(json.dumps(fitted)) == fitted
    assert fitted["events"] == 20 and "rate_error" not in fitted
    curve = fitted["curve"]
    assert curve["integral"][0] == 0 and curve["integral"] == sorted(curve["integral"])
    rate, ts = (np.array(curve[name]) for name in ("rate", "ts"))
    assert fitted["quadrature"] == pytest.approx(np.trapezoid(rate, ts), rel=1e-4)
    assert fitted["integral"] == pytest.approx(fitted["quadrature"], rel=1e-2)
    inside = [(low <= ts) & (ts <= high) for low, high in poisson.BURSTS]
    share = sum(np.trapezoid(rate[at], ts[at]) for at in inside) / fitted["quadrature"]
    assert fitted["burst_share"] == pytest.approx(share, rel=1e-2)
    assert fitted["history"]["loss"][-1] > 0 and len(fitted["history"]["loss"]) == 3


def test_an_interrupted_fit_ends_bitwise_as_one_that_was_not(fitted, tmp_path, monkeypatch):
    original, calls = PoissonPath.log_likelihood, iter(range(20))

    def interrupted(self, *args, **kwargs):
        if next(calls) == 15:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PoissonPath, "log_likelihood", interrupted)
        with pytest.raises(KeyboardInterrupt):
            poisson.run(TRIAL, tmp_path)
    assert poisson.run(TRIAL, tmp_path) == fitted


def test_events_are_drawn_anew_for_each_seed_but_not_for_each_start():
    known = replace(TRIAL, events="bumps", sequences=2)
    again, other = replace(known, start=1), replace(known, seed=1)
    assert poisson.data(known) == poisson.data(again) != poisson.data(other)


def test_the_error_of_a_known_rate_is_relative_to_its_integral(tmp_path):
    known = poisson.run(replace(TRIAL, events="bumps", iterations=0), tmp_path)
    ts = np.array(known["curve"]["ts"])
    true = poisson.bumps(torch.tensor(ts)).numpy()
    for key, rate in (
        ("rate_error", np.array(known["curve"]["rate"])),
        ("constant_error", known["events"] / poisson.DURATION),
    ):
        assert known[key] == pytest.approx(np.trapezoid(np.abs(rate - true), ts) / 20, rel=1e-3)


def test_unknown_events_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown events 'waves'; known: bursts, bumps"):
        poisson.run(replace(TRIAL, events="waves"), tmp_path)


def test_a_fit_that_breaks_off_is_never_the_likeliest(tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        nats, path = original(self, *args, **kwargs)
        return nats * math.inf, path

    original = PoissonPath.log_likelihood
    monkeypatch.setattr(PoissonPath, "log_likelihood", broken)
    assert poisson.run(TRIAL, tmp_path) == {"log_likelihood": -math.inf}
