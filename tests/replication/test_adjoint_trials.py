"""What chapter 02 measures: bytes counted exactly, gradients and evaluations that are right."""

import json
import math
import sys
from dataclasses import replace
from functools import cache
from importlib.metadata import version

import pytest
import torch
from torch import nn

from replication import peers
from replication.chapters.adjoint.trials import block, gradients, kinks, memory, reversal
from replication.chapters.adjoint.trials.gradients import RULES, Problem, Pulled, pull
from replication.data.mnist import Digits
from replication.memory import Held, kept_bytes

pytestmark = pytest.mark.slow  # the file as a whole

VECTOR = 1000 * 4  # bytes
SMALL = gradients.Trial(tolerances=(1e-2, 1e-4), scales=(1.0, 1e5))
BLOCK = block.Trial(
    images=2,
    tolerances=(1e-1,),
    reference=1e-3,
    tolerance=1e-2,
    scales=(1.0, 1e4),
)


def vector() -> torch.Tensor:
    return torch.ones(1000, requires_grad=True)


def plain(result):
    return json.loads(json.dumps(result)) == result


# Bytes


def test_a_saved_storage_counts_once_however_often_it_is_saved():
    x = vector()
    kept, _ = kept_bytes(lambda: (x.sin(), x.cos(), x[:10].square()))
    assert kept == VECTOR


def test_what_counts_is_what_the_value_keeps_and_not_what_was_discarded():
    x = vector()

    def way():
        (x.detach() + 1).requires_grad_().exp().exp()  # a graph that nobody holds
        return x.exp()

    assert kept_bytes(way)[0] == VECTOR


def test_the_peak_outlives_the_graph_and_the_count_does_not():
    x = vector()
    with Held() as held:
        y = x.exp().exp()
        assert held.now == 2 * VECTOR
        y.sum().backward()
        del y
    assert (held.now, held.peak) == (0, 2 * VECTOR)


def test_tensors_set_aside_do_not_count():
    x, w = vector(), vector()
    assert kept_bytes(lambda: x * w)[0] == 2 * VECTOR
    assert kept_bytes(lambda: x * w, [w])[0] == VECTOR


@pytest.fixture(scope="module")
def kept():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "IMAGES", 1)
        result = memory.run(memory.Trial(tolerances=(1e-1, 1e-2, 1e-3), outputs=(1, 5)), None)
    assert plain(result)
    return result


def by_rule(rows, rule):
    return [row for row in rows if row["rule"] == rule]


def test_backprop_keeps_one_evaluation_for_each_evaluation(kept):
    first, *others = by_rule(kept["by_tolerance"], "backprop")
    assert others[-1]["nfe"] > first["nfe"]
    for row in others:
        more = row["nfe"] - first["nfe"]
        assert row["kept"] - first["kept"] == more * kept["evaluation"]


def test_checkpoint_keeps_a_state_and_a_slope_for_each_step(kept):
    first, *others = by_rule(kept["by_tolerance"], "checkpoint")
    for row in others:
        more = (row["nfe"] - first["nfe"]) // 6
        assert row["kept"] - first["kept"] == 2 * more * kept["state"]


def test_adjoint_keeps_the_start_the_outputs_and_a_slope_whatever_the_evaluations(kept):
    for row in by_rule(kept["by_tolerance"] + kept["by_outputs"], "adjoint"):
        assert row["kept"] == (1 + 1 + row["outputs"] + 1) * kept["state"]
        assert row["peak"] > row["kept"] + kept["evaluation"] - kept["state"]


# Gradients


def decay_problem() -> Problem:
    ts = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    return Problem(reversal.Decay(0.3, 1.1), y0, ts, lambda ys: ys[-1].square().sum())


EVERY_WAY = {**RULES, "Adjoint, absolute": gradients.ABSOLUTE, **peers.torchdiffeq_ways()}


@pytest.mark.parametrize("name", EVERY_WAY)
def test_gradients_of_linear_decay_are_those_of_the_closed_form(name):
    problem = decay_problem()
    rates, time = problem.field.rates.detach(), 1.5
    end = problem.y0 * torch.exp(-rates * time)
    in_time = (2 * end * -rates * end).sum()
    exact = {
        "y0": 2 * end * torch.exp(-rates * time),
        "theta": (-2 * time * end.square()).flatten(),
        "t0": -in_time,
        "t1": in_time,
    }
    found = pull(problem, EVERY_WAY[name], 1e-9)
    for part, gradient in exact.items():
        torch.testing.assert_close(found.gradients[part], gradient, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", RULES)
def test_evaluations_counted_by_hook_are_those_that_the_solve_counts(name):
    solved = []

    def way(*arguments):
        solved.append(RULES[name](*arguments))
        return solved[-1]

    problem = gradients.small(0)
    found = pull(problem, way, 1e-4)
    ((_, work),) = solved
    assert found.nfe_forward == work.forward.nfe
    assert found.nfe_backward == work.backward.nfe
    assert found.drift == work.drift
    assert not problem.field._forward_hooks


def test_an_error_is_relative():
    def pulled(y0, theta):
        parts = {"y0": torch.tensor(y0), "theta": torch.tensor(theta)}
        return Pulled(parts, 0, 0, None)

    found, exact = pulled([3.0, 5.0], [10.0]), pulled([3.0, 4.0], [8.0])
    assert gradients.errors(found, exact) == {"y0": 0.2, "theta": 0.25}


@pytest.fixture(scope="module")
def small_result():
    result = gradients.run(SMALL, None)
    assert plain(result)
    return result


def test_without_torchdiffeq_there_are_our_three_rules(small_result):
    assert {row["way"] for row in small_result["errors"]} == set(RULES)
    assert len(small_result["errors"]) == 2 * len(RULES)


def test_checkpoint_is_backprop_and_the_gap_to_adjoint_is_some_tolerances(small_result):
    by_way = {name: [r for r in small_result["errors"] if r["way"] == name] for name in RULES}
    for replayed, recorded in zip(by_way["Checkpoint"], by_way["Backprop"], strict=True):
        for part in ("y0", "theta"):
            assert replayed[part] == pytest.approx(recorded[part], rel=1e-6)
    for row in small_result["gaps"]:
        gaps = [row[part] for part in ("y0", "theta", "t0", "t1")]
        assert 0 < max(gaps) < 100 * row["tolerance"]


def test_a_constant_changes_the_cost_of_the_absolute_adjoint_only(small_result):
    def counts(way):
        return [r["nfe_backward"] for r in small_result["scales"] if r["way"] == way]

    one, scaled = counts("Adjoint")
    assert one == scaled
    one, scaled = counts("Adjoint, absolute")
    assert one < scaled


def test_torchdiffeq_takes_part_where_it_is_asked_to():
    trial = gradients.Trial(tolerances=(1e-3,), scales=(1.0,), torchdiffeq=version("torchdiffeq"))
    result = gradients.run(trial, None)
    theirs = [row for row in result["errors"] if row["way"] not in RULES]
    assert [row["way"] for row in theirs] == list(peers.torchdiffeq_ways())
    assert all(0 < row["theta"] < 0.1 for row in theirs)


def test_without_torchdiffeq_its_version_is_empty_and_its_ways_are_missing(monkeypatch):
    assert peers.installed() == version("torchdiffeq")
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    assert peers.installed() == ""
    with pytest.raises(ModuleNotFoundError):
        peers.torchdiffeq_ways()


def test_a_field_comes_from_its_seed_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (gradients.small(seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    assert torch.equal(one.y0, same.y0) and not torch.equal(one.y0, other.y0)
    assert torch.equal(one.field.layers[0].weight, same.field.layers[0].weight)


# There and back


def at(result, way):
    return [row for row in result["rows"] if row["way"] == way]


def test_linear_decay_drifts_by_its_growth_and_keeps_its_gradient():
    result = reversal.run(reversal.Trial("decay", tolerances=(1e-6,)), None)
    assert plain(result)
    (again,) = at(result, "Adjoint")
    assert 10 < again["drift"] / 1e-6 < 10 * math.exp(8)
    assert again["error"] < 1e-5


def test_a_pendulum_with_friction_loses_its_gradient_unless_states_are_kept():
    with pytest.warns(RuntimeWarning, match="worth nothing"):
        result = reversal.run(reversal.Trial("pendulum", tolerances=(1e-4,)), None)
    (again,), (papers,), (read,), (replayed,) = (at(result, way) for way in reversal.WAYS)
    assert again["drift"] > 0.1 and again["error"] > 0.1
    assert papers["drift"] > 0.1 and papers["error"] > 0.1
    assert read["error"] < 1e-3 and replayed["error"] < 1e-3
    assert read["drift"] is None and replayed["drift"] is None


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="'spring'; known: decay, pendulum, network"):
        reversal.run(reversal.Trial("spring"), None)


# The block of the ODE-Net


def tiny_digits(train_size, test_size):
    def digits(size):
        generator = torch.Generator().manual_seed(size)
        return Digits(torch.rand(size, 1, 28, 28, generator=generator), torch.arange(size) % 10)

    return digits(train_size), digits(test_size)


@pytest.fixture(scope="module")
def on_block():
    """Runs a trial, each once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "load", tiny_digits)
        yield cache(lambda trial, folder=None: block.run(trial, folder))


def test_every_way_is_measured_on_the_block(on_block):
    result = on_block(BLOCK)
    assert plain(result)
    by_way = {row["way"]: row for row in result["ways"]}
    assert set(by_way) == {*block.WAYS, block.OWN}
    assert all(row["error"] == max(row["y0"], row["theta"]) for row in result["ways"])
    assert by_way["Backprop"]["nfe_backward"] == 0
    assert by_way["Adjoint, 10 x tolerance"]["nfe_backward"] < by_way["Adjoint"]["nfe_backward"]
    assert by_way["Adjoint"]["drift"] > 0 and by_way["Adjoint, interpolated"]["drift"] is None
    assert all(0 < row["error"] < 1 for row in result["ways"])
    assert {row["way"] for row in result["reversal"]} == set(reversal.WAYS)
    assert {row["way"] for row in result["scales"]} == {"Adjoint", "Adjoint, absolute"}


def test_the_networks_own_way_is_that_of_its_block(on_block):
    (own,) = [row for row in on_block(BLOCK)["ways"] if row["way"] == block.OWN]
    model = block.classifier("odenet", BLOCK.tolerance, BLOCK.seed)
    _, digits = tiny_digits(1, BLOCK.images)
    logits, work = model(digits.images)
    nn.functional.cross_entropy(logits, digits.labels).backward()
    assert own["nfe_forward"] == work.forward.nfe
    assert own["nfe_backward"] == work.backward.nfe
    assert own["drift"] == pytest.approx(work.drift, rel=1e-3)


def test_the_trained_network_is_the_one_that_another_trial_left(on_block, tmp_path):
    weights = tmp_path / "mnist" / "net" / "weights.pt"
    weights.parent.mkdir(parents=True)
    torch.save(block.classifier("odenet", seed=BLOCK.seed).state_dict(), weights)
    other = replace(BLOCK, training="net", seed=BLOCK.seed + 1)
    assert on_block(other, tmp_path / "adjoint" / "trial") == on_block(BLOCK)


def test_the_smooth_network_has_the_same_weights_and_another_slope(on_block):
    smooth, rough = on_block(replace(BLOCK, smooth=True)), on_block(BLOCK)
    assert smooth["state_rms"] == rough["state_rms"]
    assert smooth["ways"][0]["error"] != rough["ways"][0]["error"]


def test_softplus_stands_where_relu_did_and_nowhere_else(monkeypatch):
    field = block.classifier("odenet").block.field
    y = torch.randn(1, 64, 7, 7)
    smooth = block._Smooth(field)
    assert [p is q for p, q in zip(smooth.parameters(), field.parameters(), strict=True)]
    monkeypatch.setattr(block.F, "softplus", nn.functional.relu)
    torch.testing.assert_close(smooth(0.3, y), field(0.3, y))


# ReLU's kinks


def test_the_gap_is_that_between_adjoint_and_backprop_and_falls_with_the_tolerance():
    problem = gradients.small(0)
    loose, tight = kinks.gaps(problem, [1e-3, 1e-5])
    found, recorded = (pull(problem, RULES[way], 1e-3) for way in ("Adjoint", "Backprop"))
    theta = recorded.gradients["theta"]
    gap = float((found.gradients["theta"] - theta).norm() / theta.norm())
    assert loose["gap"] == pytest.approx(gap) and 0 < tight["gap"] < loose["gap"] / 10
    assert loose["nfe_backward"] == found.nfe_backward > 0


def test_kinks_are_measured_on_the_trained_block_in_both_precisions(tmp_path, monkeypatch):
    monkeypatch.setattr(kinks, "load", tiny_digits)
    weights = tmp_path / "mnist" / "net" / "weights.pt"
    weights.parent.mkdir(parents=True)
    torch.save(block.classifier("odenet").state_dict(), weights)
    trial = kinks.Trial("net", images=2, tolerances=(1e-1,), smooth_tolerances=(1e-1, 1e-2))
    result = kinks.run(trial, tmp_path / "adjoint" / "trial")
    assert plain(result)
    assert [len(result[name]) for name in ("block", "double", "smooth")] == [1, 1, 2]
    (single,), (double,) = result["block"], result["double"]
    assert single["gap"] == pytest.approx(double["gap"], rel=1e-2) and single != double
    assert result["smooth"][0]["gap"] != double["gap"]
