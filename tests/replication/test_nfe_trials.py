"""Figure 3: measurements of a trained network, from the weights that its trial left."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from torch.nn import functional as F

from odenet import Adaptive, Adjoint, Solver, solve
from odenet.models.classifier import classifier
from replication.chapters.nfe.trials import backward, forward, inputs
from replication.data.mnist import Digits
from replication.trained import trained

SWEEP = forward.Trial(
    "net", tolerances=(1e-1, 1e-4), batches=2, images=4, test_size=10, alone=(0.1,), reference=1e-5
)
PULL = backward.Trial("net", tolerances=(1e-1,), batches=2, images=3, tolerance=0.1, reference=1e-4)


def digits(size: int) -> Digits:
    generator = torch.Generator().manual_seed(size)
    return Digits(torch.rand(size, 1, 28, 28, generator=generator), torch.arange(size) % 10)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """That of a trial, beside the shelf with the weights of a training named "net"."""
    for module in (forward, backward):
        monkeypatch.setattr(
            module, "load", lambda train_size, test_size: (digits(train_size), digits(test_size))
        )
    weights = tmp_path / "mnist" / "net" / "weights.pt"
    weights.parent.mkdir(parents=True)
    torch.save(classifier("odenet", seed=3).state_dict(), weights)
    return tmp_path / "nfe" / "trial"


@pytest.fixture
def rows(folder):
    return forward.run(SWEEP, folder)["rows"]


def test_weights_are_those_of_the_training_named(folder):
    model, block = trained("net", folder)
    assert model.block is block and not model.training
    for a, b in zip(model.parameters(), classifier("odenet", seed=3).parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(FileNotFoundError):
        trained("another", folder)


def test_sweep_has_a_row_for_each_tolerance_and_batch_with_clean_counts(folder):
    result = forward.run(SWEEP, folder)
    assert json.loads(json.dumps(result)) == result
    rows = result["rows"]
    assert [(row["batch"], row["tolerance"]) for row in rows] == [
        *((0, 1e-1), (0, 1e-4), (1, 1e-1), (1, 1e-4))
    ]
    loose, tight = rows[:2]
    for name in ("error", "there_and_back"):
        assert 0 < tight[name] < loose[name]
    assert tight["nfe"] > loose["nfe"] and tight["seconds"] > 0
    _, work = trained("net", folder)[0](digits(10).images[:4], _solver(1e-4))
    assert tight["nfe"] == work.forward.nfe


def test_error_is_relative_to_the_reference(rows, folder):
    model, block = trained("net", folder)
    with torch.no_grad():
        state = model.stem(digits(10).images[:4])
        rough, _ = block(state, _solver(0.1))
        exact, _ = block(state, _solver(1e-6))
        back = solve(block.field, rough, (1.0, 0.0), _solver(0.1)).ys[-1]
    assert rows[0]["error"] == pytest.approx(float((rough - exact).norm() / exact.norm()), rel=0.05)
    assert rows[0]["there_and_back"] == pytest.approx(float((back - state).norm() / state.norm()))


def test_error_of_the_test_set_is_that_of_the_solver_at_each_tolerance(folder):
    errors = forward.run(SWEEP, folder)["test_error_pct"]
    test, (model, _) = digits(10), trained("net", folder)
    with torch.no_grad():
        logits, _ = model(test.images, _solver(0.1))
    wrong = int((logits.argmax(1) != test.labels).sum())
    assert set(errors) == {"0.1", "0.0001"} and errors["0.1"] == 10 * wrong


def test_images_alone_are_counted_one_by_one_beside_their_batch(folder):
    (alone,) = forward.run(SWEEP, folder)["alone"]
    model, block = trained("net", folder)
    with torch.no_grad():
        state = model.stem(digits(10).images[:4])
        one = block(state[2:3], _solver(0.1))[1].forward.nfe
        batch = block(state, _solver(0.1))[1].forward.nfe
    assert (alone["batch"], alone["images"][2], len(alone["images"])) == (batch, one, 4)


def test_more_images_than_there_are_are_refused(folder):
    with pytest.raises(ValueError, match="3 batches of 4 do not fit 10 images"):
        forward.run(replace(SWEEP, batches=3), folder)


def test_backward_pass_has_a_row_for_each_way_and_batch(folder):
    result = backward.run(PULL, folder)
    assert json.loads(json.dumps(result)) == result
    assert [(row["way"], row["batch"]) for row in result["rows"]] == [
        (way, batch) for batch in (0, 1) for way in backward.WAYS
    ]
    assert all(0 < row["gradient_error"] < 1 for row in result["rows"])
    assert set(result["seconds"]) == {"backprop", "paper", "own"}
    assert min(result["seconds"].values()) > 0


def test_counts_are_those_of_a_solve_and_its_pullback(folder, monkeypatch):
    monkeypatch.setattr(backward, "WAYS", MappingProxyType({"paper": backward.WAYS["paper"]}))
    row = backward.run(PULL, folder)["rows"][1]
    model, block = trained("net", folder)
    test = digits(6)
    state = model.stem(test.images[3:]).detach()
    rule = Adjoint(seminorm=False, scaled=False)
    end, work = block(state, Solver("dopri5", Adaptive(0.1, 0.1), rule))
    F.cross_entropy(model.head(end), test.labels[3:]).backward()
    assert (row["nfe_forward"], row["nfe_backward"]) == (work.forward.nfe, work.backward.nfe)
    assert row["drift"] == pytest.approx(work.drift)


def test_gradient_error_does_not_depend_on_how_the_losses_join(folder, monkeypatch):
    ways = {"mean": backward.Way(lambda at: Adjoint()), "sum": backward.Way(lambda at: Adjoint())}
    ways["sum"] = replace(ways["sum"], join="sum")
    monkeypatch.setattr(backward, "WAYS", MappingProxyType(ways))
    mean, total = backward.run(PULL, folder)["rows"][:2]
    assert mean["nfe_backward"] == total["nfe_backward"]
    assert mean["gradient_error"] == pytest.approx(total["gradient_error"], rel=1e-2)


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
    return inputs.run(inputs.Trial(iterations=30, inputs=9, drawn=3, tolerance=1e-4), None)


def test_inputs_are_solved_alone_and_counted(line):
    assert json.loads(json.dumps(line)) == json.loads(json.dumps(line, default=float))
    assert len(line["inputs"]) == len(line["nfe"]) == 9 and len(line["ways"]) == 3
    # A given first step: six evaluations for each, and one to begin with.
    assert all(count % 6 == 1 for count in line["nfe"])
    first = line["ways"][0]
    assert len(first) == line["nfe"][0]
    assert first[0] == (0.0, -inputs.END) and first[-1][0] == 1.0
    assert first == sorted(first)


def test_training_brings_the_map_nearer():
    errors = [inputs.run(inputs.Trial(iterations=n, inputs=3), None)["error"] for n in (1, 60)]
    assert errors[1] < 0.9 * errors[0]


def test_middle_over_sides_compares_the_means_of_the_thirds():
    assert inputs.middle_over_sides([10, 10, 20, 20, 30, 30]) == 1.0
    assert inputs.middle_over_sides([40, 10, 40]) == 0.25
    assert inputs.middle_over_sides([10, 20, 20, 10]) == 2.0


def test_unknown_map_is_refused():
    with pytest.raises(ValueError, match="unknown map 'sine'; known: cube, step"):
        inputs.run(inputs.Trial(map="sine"), None)


def _solver(tolerance):
    return Solver("dopri5", Adaptive(tolerance, tolerance))
