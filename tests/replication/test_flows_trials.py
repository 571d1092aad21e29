"""Experiments on flows: plain numbers out, each run by itself, resumed after an interruption."""

import json
from dataclasses import replace

import pytest
import torch

from odenet.models.flow import log_normal
from replication.chapters.flows import training
from replication.chapters.flows.trials import energies, likelihood, theorem
from replication.data.densities import energy, grid, log_normalizer

MATCH = energies.Trial(size=2, iterations=3, samples=200)
FIT = likelihood.Trial(size=2, iterations=3, held_out=100)
LAYERS = {"model": "planar", "target": "U4", "annealed": (True, False), "seeds": 2}


@pytest.fixture(autouse=True, scope="module")
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "BATCH", 16)
        patch.setattr(training, "PROBE", 100)
        yield


def plain(result):
    return json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("more", [{"seeds": 2}, {"penalty": 0.1, "decay": False}, LAYERS])
def test_divergences_are_plain_positive_numbers_that_a_tighter_solve_confirms(more, tmp_path):
    trial = replace(MATCH, **more)
    result = energies.run(trial, tmp_path)
    assert plain(result)
    assert result["curve"]["step"] == [0, 1, 2, 3]
    for row, member in zip(result["flows"], energies.members(trial), strict=True):
        assert (row["annealed"], row["seed"]) == member
        assert row["kl"] > 0 and row["kl"] == pytest.approx(row["kl_tight"], abs=1e-2)
        assert len(row["curve_kl"]) == 4
        untrained, now = row["nfe"]
        planar = trial.model == "planar"
        assert untrained == now == 0 if planar else min(untrained, now) >= 14


def test_divergence_of_the_noise_itself_is_that_of_a_sum_over_samples(tmp_path):
    """A planar flow without layers is the identity, whose divergence needs no flow."""
    trial = replace(MATCH, model="planar", size=0, iterations=0, samples=20_000)
    (row,) = energies.run(trial, tmp_path)["flows"]
    z, area = grid(6.0, 300)
    log_q = log_normal(z)
    exact = (log_q.exp() * (log_q + energy("U1")(z))).sum() * area
    exact = float(exact) + log_normalizer("U1")
    assert row["kl"] == pytest.approx(exact, abs=5 * row["error"])


def test_a_run_does_not_depend_on_the_runs_beside_it(tmp_path):
    both = replace(MATCH, model="planar", annealed=(True, False), iterations=0)
    alone = replace(both, annealed=(False,))
    rows = [
        energies.run(trial, tmp_path / name)["flows"][-1]
        for name, trial in (("both", both), ("alone", alone))
    ]
    assert rows[0]["kl"] == pytest.approx(rows[1]["kl"], rel=1e-9)


def test_annealing_weights_only_the_runs_that_ask_for_it():
    trial = replace(MATCH, iterations=100, annealed=(True, False))
    for step, weight in ((0, 0.01), (20, 0.505), (40, 1)):
        assert energies.weights(trial, step).tolist() == pytest.approx([weight, 1])


@pytest.mark.parametrize("model", ["continuous", "planar"])
def test_densities_of_trained_flows_have_mass_one(model, tmp_path):
    trial = replace(MATCH, model=model, seeds=2)
    energies.run(trial, tmp_path)
    x, area = grid(7.0, 80)
    mass = energies.density(energies.load(trial, tmp_path), x).sum(1) * area
    assert mass.tolist() == pytest.approx([1, 1], abs=1e-2)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("module, trial", [(energies, MATCH), (likelihood, FIT)])
def test_an_interrupted_training_ends_as_one_that_was_not(module, trial, tmp_path, monkeypatch):
    whole = module.run(trial, tmp_path / "whole")
    save, left = training.train.__globals__["save"], [2]

    def fail(*arguments):
        save(*arguments)
        left[0] -= 1
        if not left[0]:
            raise Interrupted

    monkeypatch.setitem(training.train.__globals__, "save", fail)
    with pytest.raises(Interrupted):
        module.run(trial, tmp_path / "parts")
    resumed = module.run(trial, tmp_path / "parts")
    for result in (whole, resumed):
        del result["seconds"]
    assert resumed == whole


def test_likelihoods_come_with_the_true_one_and_with_the_way_back(tmp_path):
    result = likelihood.run(replace(FIT, seeds=2), tmp_path)
    assert plain(result)
    one, other = result["flows"]
    assert one["true"] == other["true"] and one["nll"] != other["nll"]
    for row in (one, other):
        assert row["nll"] > row["true"]
        assert row["nll"] == pytest.approx(row["nll_tight"], abs=1e-3)
        loose, tight = row["reversal"]
        assert 0 < tight["rms"] <= tight["worst"] < loose["worst"]
        assert tight["nfe_sampling"] >= 14 and tight["nfe_likelihood"] >= 14


def test_layers_are_scored_without_a_solver(tmp_path):
    trial = replace(FIT, model="planar", sets=("circles", "moons"))
    rows = likelihood.run(trial, tmp_path)["flows"]
    assert [row["set"] for row in rows] == ["circles", "moons"]
    assert all("reversal" not in row for row in rows)


@pytest.mark.parametrize("model", ["continuous", "planar"])
def test_pictures_lead_from_noise_to_what_the_flow_has_learned(model, tmp_path):
    trial = replace(FIT, model=model, size=4)
    likelihood.run(trial, tmp_path)
    flow = likelihood.load(trial, tmp_path)
    x, area = grid(9.0, 90)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    steps = likelihood.pictures(flow, 0, (0.25, 1.0), x, z)
    for step in steps:
        assert float(step["density"].sum()) * area == pytest.approx(1, abs=2e-2)
    whole = flow(z[None])[0] if model == "continuous" else flow.inverse(z[None])[-1]
    assert torch.allclose(steps[-1]["points"], whole[0], atol=1e-2)
    assert steps[-1]["centre"].tolist() == [0, 0]


def test_a_run_alone_is_the_run_among_others():
    both = training.untrained(training.Training(size=3), (0, 1))
    lone = training.alone(both, 1)
    z = torch.randn(2, 5, 2)
    slopes = [f.carrier(0.5, torch.cat((y, y[..., :1]), -1)) for f, y in ((both, z), (lone, z[1:]))]
    assert torch.allclose(slopes[0][1], slopes[1][0])


def test_a_flow_is_counted_as_if_it_were_alone():
    """One that is hard to solve costs the others nothing."""
    flow = training.untrained(training.Training(size=3), (0, 1))
    z = torch.randn(2, 50, 2, generator=torch.Generator().manual_seed(0))
    before = training.counts(flow, z)
    with torch.no_grad():
        for p in flow.parameters():
            p[1] *= 3
    after = training.counts(flow, z)
    assert after[0] == before[0] and after[1] > before[1]


def test_each_run_is_cut_by_its_own_length_and_nonsense_is_dropped():
    p = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = training.SideBySide([p], lr=0.1)
    p.grad = torch.tensor([[300.0, 400.0], [3.0, 4.0], [float("nan"), 1.0]])
    optimizer.step()
    assert p.grad.flatten().tolist() == pytest.approx([6, 8, 3, 4, 0, 0])
    assert p[:2].lt(0).all() and p[2].tolist() == [0, 0]


def test_a_batch_without_a_finite_loss_teaches_its_run_nothing_and_stops_no_other():
    p = torch.nn.Parameter(torch.tensor([[1.0], [0.0], [1.0]]))
    optimizer = training.SideBySide([p], lr=0.1)
    loss = training.summed((p.log() * torch.tensor([[1.0], [1.0], [-1.0]])).sum(1))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert p.flatten().tolist() == pytest.approx([0.9, 0.0, 1.1], abs=1e-4)


@pytest.mark.parametrize("module, trial", [(energies, MATCH), (likelihood, FIT)])
def test_unknown_models_are_refused(module, trial, tmp_path):
    with pytest.raises(ValueError, match="known: continuous, planar"):
        module.run(replace(trial, model="glow"), tmp_path)


def test_what_is_left_of_the_theorem_is_the_error_of_the_solver(monkeypatch):
    for name, value in {"DIMS": (2, 4), "CELLS": 60, "PROBES": (1, 16)}.items():
        monkeypatch.setattr(theorem, name, value)
    result = theorem.run(theorem.Trial(), None)
    assert plain(result)
    assert len(result["linear"]) == 2 and max(result["linear"]) < 1e-4
    assert all(abs(mass - 1) < 1e-3 for mass in result["mass"].values())
    assert max(result["there_and_back"].values()) < 1e-4 and result["traces"] < 1e-9
    one, sixteen = result["hutchinson"]
    assert 2 < one / sixteen < 8


def test_cost_of_a_width_is_timed_forward_and_backward(monkeypatch):
    for name, value in {"WIDTHS": (2, 4), "DETERMINANTS": (3,), "REPEATS": 1}.items():
        monkeypatch.setattr(theorem, name, value)
    result = theorem.run_cost(theorem.CostTrial(), None)
    assert [row["units"] for row in result["rows"]] == [2, 4]
    assert result["determinants"][0]["units"] == 3
    assert plain(result)
