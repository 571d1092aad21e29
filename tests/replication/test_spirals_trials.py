"""Experiments: plain numbers out, the same from the same trial, resumed after an interruption."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from replication.chapters.spirals import trials as spirals

CURVES = spirals.Trial(observed=10, iterations=4, train_size=60, test_size=6, validation_size=8)


def _until_told(calls, function, *args):
    if next(calls) is KeyboardInterrupt:
        raise KeyboardInterrupt
    return function(*args)


def test_unknown_models_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="unknown model 'gru'; known: latent_ode, latent_ode_untimed, rnn"
    ):
        spirals.run(replace(CURVES, model="gru"), tmp_path)


@pytest.fixture(scope="module", params=spirals.RECIPES)
def trained(request, tmp_path_factory):
    """A trial of each model, its result, and the model."""
    trial, folder = replace(CURVES, model=request.param), tmp_path_factory.mktemp("trial")
    return trial, spirals.run(trial, folder), spirals.load(trial, folder)


def test_spirals_result_is_plain_numbers(trained):
    trial, result, _ = trained
    assert json.loads(json.dumps(result)) == result
    assert result["rmse_window"] > 0
    if trial.model.startswith("rnn"):
        assert set(result["rmse_extrapolation"]) == {"trained", "grid"}


def test_weights_left_behind_are_those_that_were_scored(trained):
    trial, result, model = trained
    _, test = spirals.data(trial)
    predicted = spirals.predict(model, test)
    errors = {
        name: spirals.rmse(path[:, -100:], test.clean[:, 100:]) for name, path in predicted.items()
    }
    scored = result["rmse_extrapolation"]
    assert errors == (scored if trial.model.startswith("rnn") else {"whole": scored})
    length = 100 if trial.model.startswith("rnn") else 200
    assert {tuple(path.shape) for path in predicted.values()} == {(6, length, 2)}


def test_the_error_of_all_curves_is_the_root_mean_square_of_theirs():
    ones, zeros = torch.ones(3, 5, 2), torch.zeros(3, 5, 2)
    ones[1] = 2
    by_curve = spirals.rmse_by_curve(ones, zeros)
    assert by_curve.tolist() == [1, 2, 1]
    assert by_curve.square().mean().sqrt().item() == pytest.approx(spirals.rmse(ones, zeros))


@torch.no_grad()
def test_validation_loss_is_the_objective_in_full_on_spirals_of_their_own(trained):
    trial, result, model = trained
    curves = spirals.spirals.validation(8, observed=10)
    if trial.model.startswith("rnn"):
        loss = model.loss(curves.times, curves.values)
    else:
        loss, _ = model.loss(
            curves.times,
            curves.values,
            ts=curves.ts[:100],
            index=curves.index,
            noise=spirals.NOISE,
            kl_weight=1.0,
            generator=torch.Generator().manual_seed(0),
        )
    assert float(loss) == result["validation_loss"]


def test_another_start_trains_other_weights_on_the_same_spirals():
    other = replace(CURVES, start=1)
    for one, two in zip(spirals.data(CURVES), spirals.data(other), strict=True):
        assert torch.equal(one.values, two.values)
    first, second = spirals._model(CURVES), spirals._model(other)
    assert not torch.equal(first.posterior.weight, second.posterior.weight)


def test_the_start_with_the_lowest_validation_loss_is_chosen():
    assert spirals.chosen({"validation_loss": loss} for loss in (3.0, -1.5, 0.0)) == 1
    assert spirals.chosen({"validation_loss": loss} for loss in (math.nan, 2.0, 3.0)) == 1


def test_interrupted_spirals_trial_ends_bitwise_as_one_that_was_not(tmp_path, monkeypatch):
    trial = replace(CURVES, iterations=8)
    expected = spirals.run(trial, tmp_path / "whole")
    original, calls = spirals.LatentODE.loss, iter([1, 2, 3, 4, 5, KeyboardInterrupt])

    def interrupted(self, *args, **kwargs):
        return _until_told(calls, partial(original, self, **kwargs), *args)

    with monkeypatch.context() as patch:
        patch.setattr(spirals.LatentODE, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spirals.run(trial, tmp_path / "parts")
    result = spirals.run(trial, tmp_path / "parts")
    assert result == expected


def test_strides_are_the_mean_gap_and_the_grid():
    assert spirals.strides(100) == {"trained": 0.1, "grid": 0.1}
    times = spirals.data(replace(CURVES, observed=30, train_size=2000))[0].times
    gap = times.diff(dim=1).mean().item()
    assert spirals.strides(30)["trained"] == pytest.approx(gap, rel=5e-3)


def test_a_spirals_training_that_breaks_off_is_kept_as_the_worst_start(tmp_path, monkeypatch):
    def broken(self, *args, **kwargs):
        loss, stats = original(self, *args, **kwargs)
        return loss * math.inf, stats

    original = spirals.LatentODE.loss
    monkeypatch.setattr(spirals.LatentODE, "loss", broken)
    result = spirals.run(CURVES, tmp_path)
    assert math.isnan(result["validation_loss"])
    assert spirals.chosen([result, {"validation_loss": 5.0}]) == 1
