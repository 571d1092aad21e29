"""Experiments: plain numbers out, the same from the same trial, resumed after an interruption."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from odenet import Adaptive, Solver
from odenet.data.mnist import Digits
from odenet.experiments import mnist, nfe, spirals
from odenet.models.classifier import classifier

TRIAL = mnist.Trial(model="odenet", train_size=12, test_size=8, batch_size=6, tolerance=0.1)
CURVES = spirals.Trial(observed=10, iterations=4, train_size=60, test_size=6)


def digits(size: int) -> Digits:
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(size, 1, 28, 28, generator=generator)
    return Digits(images, torch.arange(size) % 10)


@pytest.fixture(autouse=True)
def _tiny_digits(monkeypatch):
    monkeypatch.setattr(
        mnist.mnist, "load", lambda train_size, test_size: (digits(train_size), digits(test_size))
    )


def test_mnist_result_is_plain_numbers_with_a_history_from_before_training(tmp_path):
    result = mnist.run(TRIAL, tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["parameters"] == 232_970
    assert result["nfe_forward"] >= 8 and result["nfe_backward"] >= 8
    history = result["history"]
    assert history["epoch"] == [0, 1]
    assert history["train_loss"][0] is None and history["train_loss"][1] > 0
    assert history["nfe_train"] == [None, result["nfe_forward"]]
    assert history["test_error_pct"][1] == result["test_error_pct"]
    probes = history["nfe_probe"]
    assert set(probes) == {"0.001", "1e-05"}
    assert all(loose < tight for loose, tight in zip(*probes.values(), strict=True))


def test_residual_network_has_no_probe_and_costs_its_depth(tmp_path):
    result = mnist.run(replace(TRIAL, model="resnet"), tmp_path)
    assert result["history"]["nfe_probe"] == {}
    assert (result["nfe_forward"], result["nfe_backward"]) == (6, 0)


def test_mnist_weights_left_behind_are_those_that_were_scored(tmp_path):
    trial = replace(TRIAL, model="none", epochs=2)
    result = mnist.run(trial, tmp_path)
    model = mnist.load(trial, tmp_path)
    assert not model.training
    assert mnist.error_pct(model, digits(trial.test_size)) == result["test_error_pct"]


@pytest.mark.parametrize("crop", [False, True])
def test_interrupted_mnist_trial_ends_bitwise_as_one_that_was_not(tmp_path, monkeypatch, crop):
    trial = replace(TRIAL, model="none", epochs=3, crop=crop)
    expected = mnist.run(trial, tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = iter([1, 2, 3, KeyboardInterrupt])
        patch.setattr(mnist.F, "cross_entropy", partial(_until_told, calls, mnist.F.cross_entropy))
        with pytest.raises(KeyboardInterrupt):
            mnist.run(trial, tmp_path / "parts")
    result = mnist.run(trial, tmp_path / "parts")
    assert result["history"] == expected["history"]
    whole, parts = (mnist.load(trial, tmp_path / name) for name in ("whole", "parts"))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def _until_told(calls, function, *args):
    if next(calls) is KeyboardInterrupt:
        raise KeyboardInterrupt
    return function(*args)


def test_error_is_the_share_of_digits_misclassified():
    class Always3(torch.nn.Module):
        def forward(self, images):
            return torch.eye(10)[3].expand(len(images), 10), None

    assert mnist.error_pct(Always3(), digits(20)) == 90.0


def test_crop_shifts_each_image_by_at_most_four_pixels_and_fills_with_zeros():
    images = torch.zeros(40, 1, 28, 28)
    images[:, :, 13, 14] = 1
    moved = mnist.cropped(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    places = moved[:, 0].nonzero()
    assert places[:, 0].tolist() == list(range(40))
    shifts = places[:, 1:] - torch.tensor([13, 14])
    assert shifts.abs().max() == 4 and len(shifts.unique(dim=0)) > 20


def test_unknown_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown classifier 'vgg'"):
        mnist.run(replace(TRIAL, model="vgg"), tmp_path)
    with pytest.raises(ValueError, match="unknown model 'gru'; known: latent_ode, rnn, rnn_gap"):
        spirals.run(replace(CURVES, model="gru"), tmp_path)


def test_sweep_has_a_row_for_each_tolerance_and_batch_with_clean_counts():
    model = classifier("odenet")
    rows = nfe.sweep(model, digits(8), (1e-1, 1e-4), 2, reference_tolerance=1e-5, batch_size=4)
    assert [(row["batch"], row["tolerance"]) for row in rows] == [
        *((0, 1e-1), (0, 1e-4), (1, 1e-1), (1, 1e-4))
    ]
    assert json.loads(json.dumps(rows)) == rows
    loose, tight = rows[:2]
    assert tight["error"] < loose["error"]
    assert tight["nfe_forward"] > loose["nfe_forward"]
    _, work = model(digits(8).images[:4], Solver("dopri5", Adaptive(1e-4, 1e-4)))
    assert tight["nfe_forward"] == work.forward.nfe
    assert tight["nfe_backward"] > 0 and tight["seconds_forward"] > 0
    assert 0 <= tight["error_pct"] <= 100


def test_sweep_error_is_relative_to_the_reference():
    model = classifier("odenet")
    (row,) = nfe.sweep(model, digits(4), [0.1], 1, reference_tolerance=1e-5, batch_size=4)
    with torch.no_grad():
        state = model.stem(digits(4).images)
        rough, _ = model.block(state, Solver("dopri5", Adaptive(0.1, 0.1)))
        exact, _ = model.block(state, Solver("dopri5", Adaptive(1e-6, 1e-6)))
    expected = (rough - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert row["error"] == pytest.approx(float(expected), rel=0.05)


def test_sweep_leaves_the_model_as_it_was():
    model = classifier("odenet")
    nfe.sweep(model, digits(4), [0.1], 1, reference_tolerance=1e-3, batch_size=4)
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())


def test_sweep_refuses_models_without_tolerance_and_more_images_than_there_are():
    with pytest.raises(ValueError, match="only a model with an ODE block"):
        nfe.sweep(classifier("resnet"), digits(4), [0.1], 1, batch_size=4)
    with pytest.raises(ValueError, match="2 batches of 4 do not fit 4 images"):
        nfe.sweep(classifier("odenet"), digits(4), [0.1], 2, batch_size=4)


@pytest.mark.parametrize("model", ["latent_ode", "rnn", "rnn_gap"])
def test_spirals_result_is_plain_numbers_and_curves_to_draw(tmp_path, model):
    result = spirals.run(replace(CURVES, model=model), tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["rmse_window"] > 0
    assert len(result["history"]["train_loss"]) == 3  # before training, and two passes
    curve = result["curves"][0]
    assert len(curve["clean"]) == len(curve["times"]) == 200 and len(curve["observed"]) == 10
    if model == "latent_ode":
        assert result["rmse_extrapolation"] > 0 and result["nfe_forward"] == 100
        assert len(curve["predicted"]["latent_ode"]) == 200
    else:
        assert set(result["rmse_extrapolation"]) == {"trained", "grid"}
        assert all(len(predicted) == 100 for predicted in curve["predicted"].values())


def test_figure_shows_both_directions(tmp_path):
    result = spirals.run(replace(CURVES, model="rnn"), tmp_path)
    assert sorted(curve["direction"] for curve in result["curves"]) == [-1, -1, 1, 1]


def test_spirals_weights_left_behind_are_those_that_were_scored(tmp_path):
    result = spirals.run(CURVES, tmp_path)
    model = spirals.load(CURVES, tmp_path)
    _, test = spirals.spirals.load(60, 6, observed=10)
    with torch.no_grad():
        curves, _ = model(test.times, test.values, test.ts)
    assert spirals.rmse(curves[:, 100:], test.clean[:, 100:]) == result["rmse_extrapolation"]


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


@pytest.mark.parametrize("epochs", [0, 1])
def test_one_batch_is_enough_for_a_trial(tmp_path, epochs):
    trial = replace(TRIAL, model="none", epochs=epochs, batch_size=12)
    result = mnist.run(trial, tmp_path)
    assert len(result["history"]["epoch"]) == epochs + 1
