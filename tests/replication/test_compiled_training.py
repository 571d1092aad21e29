"""Trainings with compiled solves: the same results, and no other solve is compiled.

The code is run as it is; that compiled code does what it does is tested in test_compile.
"""

from dataclasses import replace

import pytest
import torch

import odenet.compile
from odenet import Checkpoint, FixedSteps, Solver, solve
from odenet.models.latent import LatentODE
from odenet.models.poisson import poisson_path
from odenet.solvers import InitialValueProblem
from replication import compiled_training
from replication.chapters.poisson import trials as poisson
from replication.chapters.spirals import trials as spirals
from replication.compiled_training import WholeSolve, compiled_solves

pytestmark = pytest.mark.slow  # the file as a whole

EVENTS = poisson.Trial(iterations=50, tolerance=1e-2)
CURVES = spirals.Trial(observed=10, iterations=4, train_size=60, test_size=6, validation_size=8)


@pytest.fixture
def asked(monkeypatch):
    """The names of the functions that were to be compiled."""
    names = []

    def noted(function, *structure):
        names.append(function.__name__)
        return function

    def whole():
        names.append("whole solve")
        return InitialValueProblem.solve

    monkeypatch.setattr(odenet.compile, "_compiled", noted)
    monkeypatch.setattr(compiled_training, "whole", whole)
    return names


def test_events_are_fitted_the_same(tmp_path, asked):
    eager = poisson.run(EVENTS, tmp_path / "eager")
    assert not asked
    compiled = poisson.run(replace(EVENTS, compiled=True), tmp_path / "compiled")
    assert set(asked) == {"attempt", "pull_back"}
    assert compiled["history"]["loss"][1:] == pytest.approx(eager["history"]["loss"][1:])
    assert compiled["log_likelihood"] == pytest.approx(eager["log_likelihood"])


def test_latent_odes_are_trained_the_same(tmp_path, asked):
    eager = spirals.run(CURVES, tmp_path / "eager")
    compiled = spirals.run(replace(CURVES, compiled=True), tmp_path / "compiled")
    assert asked == ["whole solve"]
    for key in ("validation_loss", "rmse_extrapolation"):
        assert compiled[key] == pytest.approx(eager[key], rel=1e-4)


def test_a_recurrent_network_has_no_solves(tmp_path, asked):
    spirals.run(replace(CURVES, model="rnn", compiled=True), tmp_path)
    assert not asked


@pytest.mark.parametrize("model", [LatentODE(), poisson_path()], ids=["spirals", "events"])
def test_the_solver_is_as_it_was_after_an_interruption(model):
    eager = model.solver
    with pytest.raises(KeyboardInterrupt), compiled_solves(model, True):
        assert model.solver != eager
        assert isinstance(model.solver.gradient, Checkpoint | WholeSolve)
        assert (model.solver.method, model.solver.control) == (eager.method, eager.control)
        raise KeyboardInterrupt
    assert model.solver is eager


def test_a_model_without_compiled_solves_keeps_its_own(asked):
    model = torch.nn.Identity()
    with compiled_solves(model, False):
        pass
    assert not asked


def test_a_whole_solve_is_one_graph_for_all_weights():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def gradients(rule):
        torch.manual_seed(0)
        field = LatentODE().field
        found = []
        for _ in range(2):
            y0 = torch.randn(3, 4, requires_grad=True)
            ys = solve(field, y0, (0.0, 0.3, 1.0), Solver("rk4", FixedSteps(size=0.5), rule)).ys
            found += torch.autograd.grad(ys.square().sum(), [y0, *field.parameters()])
            with torch.no_grad():
                for p in field.parameters():
                    p.mul_(0.5)
        return found

    compiled = gradients(WholeSolve(compiled_training.whole(backend)))
    for ours, eager in zip(compiled, gradients("backprop"), strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-6)
    assert len(graphs) == 1
