"""A path and its events in one solve: the truth, what is drawn from it, and the fit to both."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from odenet.models.fields import Autonomous
from odenet.models.poisson import PoissonPath, poisson_path
from replication.chapters.poisson import joint

TRIAL = joint.Trial(observations=2, sequences=3, iterations=0, tolerance=1e-4)
DATA = joint.Data([1.0, 4.0], torch.tensor([[0.5, 0.0], [0.0, 0.1]]).double(), [2.0, 4.0, 9.0])


class TrueLogRate(nn.Module):
    def forward(self, places):
        return joint.true_rate(places).log()[..., None]


def true_model(latent):
    """The model that is the truth: the path solves a linear ODE."""
    turn = nn.Linear(2, 2, bias=False)
    speed = 2 * math.pi / joint.TURN
    turn.weight.data = torch.tensor([[-0.05, -speed], [speed, -0.05]])
    start = joint.true_path(torch.tensor(0.0))
    return PoissonPath(Autonomous(turn), TrueLogRate(), start).double()


def test_the_true_rate_expects_twenty_events_around_the_two_visits():
    ts = torch.linspace(0, joint.DURATION, 2001, dtype=torch.float64)
    rate = joint.true_rate(joint.true_path(ts))
    assert float(torch.trapezoid(rate, ts)) == pytest.approx(20, rel=1e-6)
    visits = ((ts - 3).abs() < 1) | ((ts - 8).abs() < 1)
    assert float(rate[visits].mean()) > 5 * float(rate[~visits].mean())
    radius = joint.true_path(ts).norm(dim=1)
    assert [float(radius[0]), float(radius[-1])] == pytest.approx([1.2, 0.728], rel=1e-3)


def test_observations_are_noisy_places_and_events_lie_where_the_rate_says():
    data = joint.draw(replace(TRIAL, observations=5, sequences=200))
    assert len(data.times) == len(data.places) == 1000 and data.times == sorted(data.times)
    noise = data.places - joint.true_path(torch.tensor(data.times, dtype=torch.float64))
    assert float(noise.std()) == pytest.approx(joint.NOISE, rel=0.1)
    assert len(data.events) == pytest.approx(4000, abs=4 * math.sqrt(4000))
    grid = torch.linspace(0, joint.DURATION, 10_001, dtype=torch.float64)
    total = torch.cumulative_trapezoid(joint.true_rate(joint.true_path(grid)), grid)
    places = (torch.tensor(data.events) / joint.DURATION * 10_000).long().clamp(max=9_999)
    assert kstest((total[places] / total[-1]).numpy(), "uniform").pvalue > 0.01


def test_data_are_drawn_anew_for_each_seed_but_not_for_each_start():
    one, again, other = (
        joint.draw(replace(TRIAL, **way)) for way in ({}, {"start": 1}, {"seed": 1})
    )
    assert one.events == again.events != other.events
    assert torch.equal(one.places, again.places) and one.times != other.times


@torch.no_grad()
def test_one_solve_gives_the_likelihood_of_observations_and_of_events():
    torch.manual_seed(0)
    model = poisson_path()
    nats = {
        sees: joint.log_likelihood(model, DATA, replace(TRIAL, sees=sees))[0]
        for sees in joint.WEIGHTS
    }
    of_events, _ = model.log_likelihood(DATA.events, joint.DURATION, sequences=3)
    off = (model([0.0, *DATA.times]).z[1:] - DATA.places) / joint.NOISE
    of_places = -off.square().sum() / 2 - 4 * math.log(joint.NOISE * math.sqrt(2 * math.pi))
    assert float(nats["events"]) == pytest.approx(float(of_events), rel=1e-3)
    assert float(nats["observations"]) == pytest.approx(float(of_places), rel=1e-3)
    assert float(nats["both"]) == pytest.approx(float(nats["events"] + nats["observations"]))


def test_the_truth_has_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(joint, "poisson_path", true_model)
    result = joint.run(TRIAL, tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["path_error"] < 1e-6 and result["rate_error"] < 1e-6
    true = np.array(result["curve"]["rate"])
    constant = len(result["data"]["events"]) / 30
    error = np.trapezoid(np.abs(true - constant), result["curve"]["ts"]) / 20
    assert result["constant_error"] == pytest.approx(error, rel=1e-3)


def test_the_error_of_a_path_is_that_of_a_coordinate(tmp_path, monkeypatch):
    def shifted(latent):
        model = true_model(latent)
        model.start.data.zero_()  # where the path stays for ever
        return model

    monkeypatch.setattr(joint, "poisson_path", shifted)
    squared = joint.true_path(joint.GRID).square().sum(1) / 2
    expected = math.sqrt(float(torch.trapezoid(squared, joint.GRID)) / joint.DURATION)
    assert joint.run(TRIAL, tmp_path)["path_error"] == pytest.approx(expected, rel=1e-4)


def test_a_fit_climbs_the_likelihood(tmp_path, monkeypatch):
    monkeypatch.setattr(joint, "EPOCH", 10)
    before, after = (
        joint.run(replace(TRIAL, iterations=n), tmp_path / f"{n}")["log_likelihood"]
        for n in (0, 30)
    )
    assert after > before


def test_a_fit_to_something_unknown_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot see 'all'; known: both, observations, events"):
        joint.run(replace(TRIAL, sees="all"), tmp_path)
