"""Figure 3: measurements of a trained network, from the weights that its trial left."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from odenet import Adaptive, Adjoint, Solver, solve
from odenet.models.classifier import classifier
from replication.chapters.nfe.trials import backward, forward, inputs
from replication.data.mnist import Digits
from replication.probe import dopri5
from replication.trained import trained

pytestmark = pytest.mark.slow  # the file as a whole

SWEEP = forward.Trial("net", (1e-1, 1e-3), batches=2, images=3, test_size=10, alone=(0.1,))
PULL = backward.Trial("net", tolerances=(1e-1,), batches=2, images=2, tolerance=0.1)


def digits(size: int) -> Digits:
    generator = torch.Generator().manual_seed(size)
    return Digits(torch.rand(size, 1, 28, 28, generator=generator), torch.arange(size) % 10)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """That of a trial, beside the shelf with the weights of a training named "net"."""
    root = tmp_path_factory.mktemp("cache")
    weights = root / "mnist" / "net" / "weights.pt"
    weights.parent.mkdir(parents=True)
    torch.save(classifier("odenet", seed=3).state_dict(), weights)
    with pytest.MonkeyPatch.context() as patch:
        for module in (forward, backward):
            patch.setattr(
                module,
                "load",
                lambda train_size, test_size: (digits(train_size), digits(test_size)),
            )
        patch.setattr(forward, "REFERENCE", 1e-4)
        patch.setattr(forward, "OF_IMAGES", 1e-5)
        patch.setattr(backward, "REFERENCE", 1e-3)
        yield root / "nfe" / "trial"


@pytest.fixture(scope="module")
def swept(folder):
    return forward.run(SWEEP, folder)


@pytest.fixture(scope="module")
def pulled(folder):
    return backward.run(PULL, folder)


@pytest.fixture(scope="module")
def network(folder):
    return trained("net", folder)


@pytest.mark.parametrize("name", ["paper", "VODE"])
def test_backward_counts_are_those_of_the_solve_alone(name, network, monkeypatch):
    model, block = network
    monkeypatch.setattr(backward, "WAYS", {name: backward.WAYS[name]})
    batch = digits(PULL.images)
    calls = []
    count = block.field.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    backward._pulled(model, model.stem(batch.images), batch.labels, backward.WAYS[name], 1e-2)
    count.remove()
    trial = replace(PULL, tolerances=(1e-2,))
    (found,) = backward._rows(model, batch, 0, trial)
    assert found["nfe_backward"] == sum(calls) > 0


def test_weights_are_those_of_the_training_named(network, folder):
    model, block = network
    assert model.block is block and not model.training
    for a, b in zip(model.parameters(), classifier("odenet", seed=3).parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(FileNotFoundError):
        trained("another", folder)


def test_sweep_has_a_row_for_each_tolerance_and_batch_with_clean_counts(swept, network):
    assert json.loads(json.dumps(swept)) == swept
    rows = swept["rows"]
    assert [row["tolerance"] for row in rows] == [1e-1, 1e-3, 1e-1, 1e-3]
    loose, tight = rows[:2]
    for name in ("error", "there_and_back"):
        assert 0 < tight[name] < loose[name]
    assert tight["nfe"] > loose["nfe"] and tight["seconds"] > 0
    _, work = network[0](digits(10).images[:3], dopri5(1e-3))
    assert tight["nfe"] == work.forward.nfe


@torch.no_grad()
def test_error_is_relative_to_the_reference(swept, network):
    model, block = network
    state = model.stem(digits(10).images[:3])
    rough, _ = block(state, dopri5(0.1))
    exact, _ = block(state, dopri5(1e-5))
    back = solve(block.field, rough, (1.0, 0.0), dopri5(0.1)).ys[-1]
    row = swept["rows"][0]
    assert row["error"] == pytest.approx(float((rough - exact).norm() / exact.norm()), rel=0.05)
    assert row["there_and_back"] == pytest.approx(float((back - state).norm() / state.norm()))


@torch.no_grad()
def test_error_of_the_test_set_is_that_of_the_solver_at_each_tolerance(swept, network):
    test = digits(10)
    logits, _ = network[0](test.images, dopri5(0.1))
    wrong = int((logits.argmax(1) != test.labels).sum())
    errors = swept["test_error_pct"]
    assert set(errors) == {"0.1", "0.001"} and errors["0.1"] == 10 * wrong


@torch.no_grad()
def test_images_alone_are_counted_one_by_one_beside_their_batch(swept, network):
    (alone,) = swept["alone"]
    model, block = network
    state = model.stem(digits(10).images[:3])
    one = block(state[2:3], dopri5(0.1))[1].forward.nfe
    batch = block(state, dopri5(0.1))[1].forward.nfe
    assert (alone["batch"]["nfe"], alone["images"]["nfe"][2]) == (batch, one)
    assert [len(alone[way]["errors"]) for way in ("batch", "images")] == [3, 3]


@torch.no_grad()
def test_errors_of_images_are_relative_to_each_and_differ_between_the_ways(swept, network):
    (alone,) = swept["alone"]
    model, block = network
    state = model.stem(digits(10).images[:3])
    exact, _ = block(state, dopri5(1e-6))
    for way, end in (
        ("batch", block(state, dopri5(0.1))[0][1:2]),
        ("images", block(state[1:2], dopri5(0.1))[0]),
    ):
        error = float((end - exact[1:2]).norm() / exact[1:2].norm())
        assert alone[way]["errors"][1] == pytest.approx(error, rel=0.05)


@torch.no_grad()
def test_error_in_the_solvers_norm_weighs_each_number_by_its_tolerance(swept, network):
    model, block = network
    state = model.stem(digits(10).images[:3])
    rough, _ = block(state, dopri5(0.1))
    exact, _ = block(state, dopri5(1e-5))
    scaled = (rough - exact) / (0.1 + 0.1 * exact.abs())
    row = swept["rows"][0]
    assert row["scaled_error"] == pytest.approx(float(scaled.square().mean().sqrt()), rel=0.05)


def test_tolerances_are_timed_in_turns(network, monkeypatch):
    _, block = network
    ticks = iter(range(1000))
    monkeypatch.setattr(forward, "clock", lambda: float(next(ticks)))
    state = torch.zeros(1, 64, 7, 7)
    seen = []
    monkeypatch.setattr(forward, "dopri5", lambda at: seen.append(at) or dopri5(at))
    assert forward._seconds(block, state, [0.1, 0.01]) == {0.1: 1.0, 0.01: 1.0}
    assert seen == [0.1, 0.01] * forward.ROUNDS


def test_more_images_than_there_are_are_refused(folder):
    with pytest.raises(ValueError, match="4 batches of 3 do not fit 10 test images"):
        forward.run(replace(SWEEP, batches=4), folder)


def test_backward_pass_has_a_row_for_each_way_and_batch(pulled):
    assert json.loads(json.dumps(pulled)) == pulled
    assert [(row["way"], row["batch"]) for row in pulled["rows"]] == [
        (way, batch) for batch in (0, 1) for way in backward.WAYS
    ]
    assert all(0 < row["gradient_error"] < 1 for row in pulled["rows"])
    assert set(pulled["seconds"]) == {"backprop", "paper", "own"}
    assert min(pulled["seconds"].values()) > 0


def test_counts_are_those_of_a_solve_and_its_pullback(pulled, network):
    (_, row) = [row for row in pulled["rows"] if row["way"] == "paper"]
    model, block = network
    test = digits(4)
    state = model.stem(test.images[2:]).detach()
    rule = Adjoint(seminorm=False, scaled=False)
    end, work = block(state, Solver("dopri5", Adaptive(0.1, 0.1), rule))
    F.cross_entropy(model.head(end), test.labels[2:]).backward()
    assert (row["nfe_forward"], row["nfe_backward"]) == (work.forward.nfe, work.backward.nfe)
    assert row["drift"] == pytest.approx(work.drift)


def test_gradient_does_not_depend_on_how_the_losses_join(network):
    model, _ = network
    labels = digits(2).labels
    state = model.stem(digits(2).images).detach()
    mean, total = (
        backward._pulled(model, state, labels, backward.Way(lambda at: Adjoint(), join=join), 0.1)
        for join in ("mean", "sum")
    )
    assert mean[1].backward.nfe == total[1].backward.nfe
    torch.testing.assert_close(mean[0], total[0], rtol=1e-3, atol=1e-6)


def counted(way, batch, forward, pulled, tolerance=0.1):
    row = {"way": way, "tolerance": tolerance, "batch": batch}
    return {**row, "nfe_forward": forward, "nfe_backward": pulled}


def test_leaking_counter_adds_the_backward_count_of_the_batch_before_and_one():
    rows = [
        counted("a", 0, 14, 12),
        counted("b", 0, 20, 30),
        counted("a", 1, 15, 13),
        counted("b", 1, 21, 31),
        counted("a", 2, 16, 14),
        counted("a", 1, 50, 60, tolerance=0.01),
    ]
    assert backward.leaked(rows) == [
        counted("a", 1, 15 + 12 + 1, 13),
        counted("b", 1, 21 + 30 + 1, 31),
        counted("a", 2, 16 + 13 + 1, 14),
    ]


def test_as_many_evaluations_backwards_look_like_half_to_a_counter_that_leaks():
    rows = backward.leaked([counted("a", i, 100, 100) for i in range(3)])
    ratios = [row["nfe_backward"] / row["nfe_forward"] for row in rows]
    assert ratios == [100 / 201] * 2


@pytest.fixture(scope="module")
def line():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "INPUTS", 9)
        patch.setattr(inputs, "TOLERANCE", 1e-4)
        return inputs.run(inputs.Trial(iterations=60), None)


def test_inputs_are_solved_alone_and_counted(line):
    assert json.loads(json.dumps(line)) == json.loads(json.dumps(line, default=float))
    assert len(line["inputs"]) == len(line["nfe"]) == 9 and len(line["ways"]) == inputs.DRAWN
    # A given first step: six evaluations for each, and one to begin with.
    assert all(count % 6 == 1 for count in line["nfe"])
    first = line["ways"][0]
    assert len(first) == line["nfe"][0]
    assert first[0] == (0.0, -inputs.END) and first[-1][0] == 1.0
    assert first == sorted(first)


def test_training_brings_the_map_nearer(line):
    assert line["error"] < 0.9 * inputs.run(inputs.Trial(iterations=1), None)["error"]


def test_middle_over_sides_compares_the_means_of_the_thirds():
    assert inputs.middle_over_sides([10, 10, 20, 20, 30, 30]) == 1.0
    assert inputs.middle_over_sides([40, 10, 40]) == 0.25
    assert inputs.middle_over_sides([10, 20, 20, 10]) == 2.0


def test_unknown_map_is_refused():
    with pytest.raises(ValueError, match="unknown map 'sine'; known: cube, step"):
        inputs.run(inputs.Trial(map="sine"), None)
