"""Experiments: plain numbers out, the same from the same trial, resumed after an interruption."""

import json
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


@pytest.mark.parametrize("model", spirals.RECIPES)
def test_spirals_result_is_plain_numbers(tmp_path, model):
    result = spirals.run(replace(CURVES, model=model), tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["rmse_window"] > 0 and len(result["history"]["train_loss"]) == 3
    if model.startswith("latent_ode"):
        assert result["rmse_extrapolation"] > 0 and result["nfe_forward"] == 100
    else:
        assert set(result["rmse_extrapolation"]) == {"trained", "grid"}


def test_predictions_continue_the_window(tmp_path):
    for name, shapes in (
        ("latent_ode", {"whole": (6, 200, 2)}),
        ("rnn", {"trained": (6, 100, 2), "grid": (6, 100, 2)}),
    ):
        trial = replace(CURVES, model=name)
        spirals.run(trial, tmp_path / name)
        _, test = spirals.data(trial)
        predicted = spirals.predict(spirals.load(trial, tmp_path / name), test)
        assert {stride: tuple(path.shape) for stride, path in predicted.items()} == shapes


@pytest.mark.parametrize("model", ["latent_ode", "rnn_gap"])
def test_spirals_weights_left_behind_are_those_that_were_scored(tmp_path, model):
    trial = replace(CURVES, model=model)
    result = spirals.run(trial, tmp_path)
    _, test = spirals.spirals.load(60, 6, observed=10)
    predicted = spirals.predict(spirals.load(trial, tmp_path), test)
    errors = {
        name: spirals.rmse(path[:, -100:], test.clean[:, 100:]) for name, path in predicted.items()
    }
    scored = result["rmse_extrapolation"]
    assert errors == ({"whole": scored} if model == "latent_ode" else scored)


def test_the_error_of_all_curves_is_the_root_mean_square_of_theirs():
    ones, zeros = torch.ones(3, 5, 2), torch.zeros(3, 5, 2)
    ones[1] = 2
    by_curve = spirals.rmse_by_curve(ones, zeros)
    assert by_curve.tolist() == [1, 2, 1]
    assert by_curve.square().mean().sqrt().item() == pytest.approx(spirals.rmse(ones, zeros))


def test_validation_loss_is_the_objective_on_spirals_of_their_own(tmp_path):
    trial = replace(CURVES, model="rnn")
    result = spirals.run(trial, tmp_path)
    curves = spirals.spirals.validation(8, observed=10)
    with torch.no_grad():
        loss = spirals.load(trial, tmp_path).loss(curves.times, curves.values)
    assert float(loss) == result["validation_loss"]


def test_validation_loss_weighs_the_divergence_in_full(tmp_path):
    result = spirals.run(CURVES, tmp_path)
    curves = spirals.spirals.validation(8, observed=10)
    with torch.no_grad():
        loss, _ = spirals.load(CURVES, tmp_path).loss(
            curves.times,
            curves.values,
            ts=curves.ts[:100],
            index=curves.index,
            noise=CURVES.noise,
            kl_weight=1.0,
            generator=torch.Generator().manual_seed(0),
        )
    assert float(loss) == result["validation_loss"]


def test_another_start_trains_other_weights_on_the_same_spirals(tmp_path):
    other = replace(CURVES, start=1)
    for one, two in zip(spirals.data(CURVES), spirals.data(other), strict=True):
        assert torch.equal(one.values, two.values)
    first, second = spirals._model(CURVES), spirals._model(other)
    assert not torch.equal(first.posterior.weight, second.posterior.weight)


def test_the_start_with_the_lowest_validation_loss_is_chosen():
    assert spirals.chosen({"validation_loss": loss} for loss in (3.0, -1.5, 0.0)) == 1


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
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}


def test_strides_are_the_mean_gap_and_the_grid():
    assert spirals.strides(30) == pytest.approx({"trained": 1 / 3, "grid": 0.1})
