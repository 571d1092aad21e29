"""Table 1: plain numbers out, the same from the same trial, resumed after an interruption."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from odenet import Adaptive, Backprop, Solver, solve
from odenet.models.classifier import classifier
from replication.chapters.mnist import recipe
from replication.chapters.mnist.augment import moved
from replication.chapters.mnist.step_cost import step_cost
from replication.chapters.mnist.trials import classifiers as mnist
from replication.classify import error_pct, mistakes
from replication.data.mnist import Digits
from replication.device import device
from replication.probe import probe
from replication.trained import trained
from replication.training import Schedule

pytestmark = pytest.mark.slow  # the file as a whole

TRIAL = mnist.Trial(train_size=13, test_size=8, tolerance=0.1, probes=(1e-1, 1e-3))


def digits(size: int) -> Digits:
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(size, 1, 28, 28, generator=generator)
    return Digits(images, torch.arange(size) % 10)


@pytest.fixture(autouse=True, scope="module")
def _tiny_digits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            recipe.mnist,
            "load",
            lambda train_size, test_size: (digits(train_size), digits(test_size)),
        )
        for module in (mnist, recipe):
            patch.setattr(module, "BATCH_SIZE", 6)
        yield


def test_result_is_plain_numbers_with_a_history_from_before_training(tmp_path):
    result = mnist.run(TRIAL, tmp_path / "mnist" / "net")
    assert json.loads(json.dumps(result)) == result
    assert result["parameters"] == 232_970
    assert result["nfe_forward"] >= 7 and result["nfe_backward"] >= 4
    history = result["history"]
    assert history["epoch"] == [0, 1]
    assert len(history["validation_error_pct"]) == 2
    for name in ("nfe_probe", "there_and_back"):
        assert set(history[name]) == {"0.1", "0.001"}
        assert all(len(column) == 2 for column in history[name].values())
    assert set(result["steps"]) == {"own"}
    model, _ = trained("net", tmp_path / "nfe" / "trial", TRIAL.tolerance)  # as it was scored
    assert error_pct(model, digits(TRIAL.test_size)) == result["test_error_pct"]


def test_residual_network_has_no_probe_and_costs_its_depth(tmp_path):
    result = mnist.run(replace(TRIAL, model="resnet"), tmp_path)
    assert result["history"]["nfe_probe"] == {}
    assert (result["nfe_forward"], result["nfe_backward"]) == (6, 0)


def test_rknet_is_measured_with_checkpoints_and_with_backpropagation(tmp_path):
    steps = mnist.run(replace(TRIAL, model="rknet", epochs=0, probes=()), tmp_path)["steps"]
    assert set(steps) == {"own", "backprop"}
    assert steps["own"]["bytes_kept_block"] < steps["backprop"]["bytes_kept_block"] / 4


def test_held_out_digits_are_a_twelfth_always_the_same_and_never_trained_on(monkeypatch):
    monkeypatch.setattr(
        recipe.mnist,
        "load",
        lambda train_size, test_size: (
            Digits(torch.arange(train_size).view(-1, 1, 1, 1).float(), torch.arange(train_size)),
            digits(test_size),
        ),
    )
    learning, held_out, _ = recipe.split(1200, TRIAL.test_size)
    assert len(held_out.labels) == 100
    both = torch.cat((learning.labels, held_out.labels))
    assert both.sort().values.tolist() == list(range(1200))
    assert torch.equal(held_out.images.flatten().long(), held_out.labels)
    assert held_out.labels.tolist() != list(range(1100, 1200))  # taken from everywhere
    _, again, _ = recipe.split(1200, TRIAL.test_size)
    assert torch.equal(again.labels, held_out.labels)


def test_test_set_is_classified_once_after_the_last_epoch(tmp_path, monkeypatch):
    seen = []
    test = digits(TRIAL.test_size).images
    original = mnist.logits_of

    def noted(model, images):
        seen.append(torch.equal(images, test))
        return original(model, images)

    monkeypatch.setattr(mnist, "logits_of", noted)
    monkeypatch.setattr(mnist, "error_pct", lambda model, held: noted(model, held.images) is None)
    mnist.run(replace(TRIAL, model="none", epochs=3), tmp_path)
    assert seen == [False] * 4 + [True]


def test_interrupted_trial_ends_bitwise_as_one_that_was_not(tmp_path, monkeypatch):
    trial = replace(TRIAL, model="none", epochs=3)
    expected = mnist.run(trial, tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = iter([1, 2, 3, KeyboardInterrupt])
        patch.setattr(
            recipe.F, "cross_entropy", partial(_until_told, calls, recipe.F.cross_entropy)
        )
        with pytest.raises(KeyboardInterrupt):
            mnist.run(trial, tmp_path / "parts")
    result = mnist.run(trial, tmp_path / "parts")
    assert result["history"] == expected["history"]
    assert result["mistakes"] == expected["mistakes"]
    whole, parts = (torch.load(tmp_path / name / "weights.pt") for name in ("whole", "parts"))
    torch.testing.assert_close(whole, parts, rtol=0, atol=0)


def _until_told(calls, function, *args):
    if next(calls) is KeyboardInterrupt:
        raise KeyboardInterrupt
    return function(*args)


def test_no_epoch_at_all_is_a_trial_too(tmp_path):
    result = mnist.run(replace(TRIAL, model="mlp", epochs=0), tmp_path)
    assert result["history"]["epoch"] == [0] and result["seconds_per_epoch"] is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "vgg"}, "unknown classifier 'vgg'; known: mlp, none"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'; known: muon, adam"),
    ],
)
def test_unknown_model_or_optimizer_is_refused_before_anything_runs(wrong, said):
    with pytest.raises(ValueError, match=said):
        replace(TRIAL, **wrong)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20, 100])
def test_the_rates_rise_and_fall_in_trainings_of_any_length(steps):
    scheduler = recipe._learner(
        recipe.Recipe(0, 1), Schedule(1, steps, 1), classifier("mlp")
    ).scheduler
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(steps - 1):
        scheduler.optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    assert all(0 <= rate <= recipe.LR for rate in rates) and rates[-1] == min(rates)


def test_adam_trains_every_parameter_by_itself():
    model = classifier("resnet")
    optimizer = recipe.OPTIMIZERS["adam"](model)
    (group,) = optimizer.param_groups
    assert type(optimizer) is torch.optim.Adam and group["lr"] == 1e-3
    assert set(map(id, group["params"])) == set(map(id, model.parameters()))


def test_another_optimizer_changes_what_is_learnt(tmp_path):
    trial = replace(TRIAL, model="none", optimizer="adam")
    mnist.run(trial, tmp_path)
    learnt = torch.load(tmp_path / "weights.pt")
    for name, start in classifier("none", seed=trial.seed).state_dict().items():
        assert not torch.equal(learnt[name], start), name


def test_all_wrong_digits_are_kept_however_many(tmp_path, monkeypatch):
    monkeypatch.setattr("replication.classify.MOST", 2)
    result = mnist.run(replace(TRIAL, model="none", epochs=0), tmp_path)
    assert len(result["mistakes"]) == 2 < len(result["wrong"])
    assert len(result["wrong"]) == result["test_error_pct"] * TRIAL.test_size / 100
    assert {row["index"] for row in result["mistakes"]} <= set(result["wrong"])


def test_error_is_the_share_of_digits_misclassified():
    class Always3(torch.nn.Module):
        def forward(self, images):
            return torch.eye(10)[3].expand(len(images), 10), None

    assert error_pct(Always3(), digits(20)) == 90.0


def test_mistakes_are_listed_with_their_margin_the_surest_first():
    logits = torch.tensor([[5.0, 0, 0], [1, 2, 0], [0, 3, 9], [4, 0, 1]])
    rows = mistakes(logits, torch.tensor([0, 0, 1, 2]))
    assert rows == [
        {"index": 2, "label": 1, "predicted": 2, "margin": 6.0},
        {"index": 3, "label": 2, "predicted": 0, "margin": 3.0},
        {"index": 1, "label": 0, "predicted": 1, "margin": 1.0},
    ]


def test_no_more_than_300_mistakes_are_listed():
    assert len(mistakes(torch.eye(2)[[1] * 400], torch.zeros(400, dtype=torch.long))) == 300


def test_moving_shifts_a_dot_by_a_few_pixels_and_keeps_what_it_weighs():
    images = torch.zeros(40, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 1
    out = moved(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    weight = out.sum((1, 2, 3))
    assert (weight / 64 - 1).abs().max() < 0.3 and weight.std() > 0
    place = torch.arange(28.0)
    centres = torch.stack([(out.sum((1, 5 - d)) * place).sum(1) / weight for d in (2, 3)], 1)
    shifts = centres - 13.5
    assert 1 < shifts.abs().max() < 2.3 and len(shifts.unique(dim=0)) == 40
    assert torch.equal(out, moved(images, torch.Generator().manual_seed(0)))


def test_probe_counts_a_solve_forwards_and_measures_the_way_back():
    model, images = classifier("odenet"), digits(4).images
    found = probe(model, images, (1e-1, 1e-4))
    with torch.no_grad():
        state = model.stem(images)
        tight = Solver("dopri5", Adaptive(1e-4, 1e-4))
        end, work = model.block(state, tight)
        start = solve(model.block.field, end, (1.0, 0.0), tight).ys[-1]
    assert found["nfe"][1] == work.forward.nfe > found["nfe"][0]
    error = float((start - state).norm() / state.norm())
    assert found["there_and_back"][1] == pytest.approx(error)
    assert found["there_and_back"][1] < found["there_and_back"][0]


def test_step_counts_the_bytes_of_whole_and_block_and_leaves_the_model_as_it_was():
    model, batch = classifier("resnet"), digits(4)
    one, both = (step_cost(model, Digits(*(part[:n] for part in batch))) for n in (2, 4))
    for cost in (one, both):
        assert 0 < cost["bytes_kept_block"] < cost["bytes_kept"]
        assert cost["seconds_forward"] > 0 and cost["seconds_backward"] > 0
    # What is kept is per image, but for the indices of the labels' loss.
    assert both["bytes_kept_block"] == 2 * one["bytes_kept_block"]
    assert all(p.grad is None for p in model.parameters())


def test_bytes_of_a_step_do_not_depend_on_the_set_that_its_batch_is_from():
    model = classifier("mlp")
    few, many = (Digits(*(part[:4] for part in digits(size))) for size in (4, 400))
    kept = [step_cost(model, batch)["bytes_kept"] for batch in (few, many)]
    assert kept[0] == kept[1] > 0


def test_step_can_be_taken_with_another_solver():
    model, batch = classifier("odenet", tolerance=0.1), digits(2)
    plain = step_cost(model, batch, replace(model.block.solver, gradient=Backprop()))
    assert plain["bytes_kept_block"] > 4 * step_cost(model, batch)["bytes_kept_block"]


def test_training_takes_place_on_the_cpu_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("ODENET_DEVICE", raising=False)
    assert device() == torch.device("cpu")
    monkeypatch.setenv("ODENET_DEVICE", " cpu ")
    assert device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99"])
def test_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setenv("ODENET_DEVICE", name)
    with pytest.raises(ValueError, match=f"such as cpu or cuda, not '{name}'"):
        device()
