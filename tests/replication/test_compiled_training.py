"""Trainings with compiled solves: the same results, and no other solve is compiled.

The rules are used as they are; that compiled code does what they do is tested in test_compiled.
"""

from dataclasses import replace

import pytest
import torch

from odenet.adjoint import GRADIENTS, Checkpoint
from odenet.models.latent import LatentODE
from odenet.models.poisson import poisson_path
from replication import compiled_training
from replication.chapters.poisson import trials as poisson
from replication.chapters.spirals import trials as spirals
from replication.compiled_training import compiled_solves

EVENTS = poisson.Trial(iterations=50, tolerance=1e-2)
CURVES = spirals.Trial(observed=10, iterations=4, train_size=60, test_size=6, validation_size=8)


@pytest.fixture
def asked(monkeypatch):
    """The names of the rules that were to be compiled."""
    names = []

    def compiled(name):
        names.append(name)
        return GRADIENTS[name]

    monkeypatch.setattr(compiled_training, "Compiled", compiled)
    return names


def test_events_are_fitted_the_same(tmp_path, asked):
    eager = poisson.run(EVENTS, tmp_path / "eager")
    assert not asked
    compiled = poisson.run(replace(EVENTS, compiled=True), tmp_path / "compiled")
    assert asked == ["checkpoint"]
    assert compiled["history"]["loss"][1:] == pytest.approx(eager["history"]["loss"][1:])
    assert compiled["log_likelihood"] == pytest.approx(eager["log_likelihood"])


def test_latent_odes_are_trained_the_same(tmp_path, asked):
    eager = spirals.run(CURVES, tmp_path / "eager")
    compiled = spirals.run(replace(CURVES, compiled=True), tmp_path / "compiled")
    assert asked == ["checkpoint"]
    for key in ("validation_loss", "rmse_extrapolation"):
        assert compiled[key] == pytest.approx(eager[key], rel=1e-4)


def test_a_recurrent_network_has_no_solves(tmp_path, asked):
    spirals.run(replace(CURVES, model="rnn", compiled=True), tmp_path)
    assert not asked


@pytest.mark.parametrize("model", [LatentODE(), poisson_path()], ids=["spirals", "events"])
def test_the_solver_is_as_it_was_after_an_interruption(model, asked):
    eager = model.solver
    with pytest.raises(KeyboardInterrupt), compiled_solves(model, True):
        assert isinstance(model.solver.gradient, Checkpoint)
        assert (model.solver.method, model.solver.control) == (eager.method, eager.control)
        raise KeyboardInterrupt
    assert model.solver is eager


def test_a_model_without_compiled_solves_keeps_its_own(asked):
    model = torch.nn.Identity()
    with compiled_solves(model, False):
        pass
    assert not asked
