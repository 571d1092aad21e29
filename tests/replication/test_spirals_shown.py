"""The latent ODE that chapter 05 writes out is the one that its trials train."""

from pathlib import Path

import nbformat
import pytest
import torch

from odenet.models.latent import LatentODE
from replication.chapters.spirals import trials

NOTEBOOK = Path(__file__).parents[2] / "notebooks/05_spirals.ipynb"
TRIAL = trials.Trial(observed=10, iterations=6, train_size=70, test_size=4, validation_size=8)
CURVES, _ = trials.data(TRIAL)


@pytest.fixture(scope="module")
def shown():
    """What the cells that show the model, its loss and its training define."""
    cells = {cell.id: cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
    names = {}
    for cell in (cells[name] for name in ("model", "loss", "fit")):
        assert not cell.metadata.get("tags")
        exec(cell.source, names)
    return names


@pytest.fixture
def both(shown):
    """The model of the chapter and that of the library, in one state."""
    theirs = trials._model(TRIAL)
    ours = shown["LatentODE"]()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_one_state_draws_the_same_curves(both):
    ours, theirs = both
    encoded = ours.encode(CURVES.times, CURVES.values)
    for one, other in zip(encoded, theirs.encode(CURVES.times, CURVES.values), strict=True):
        assert torch.equal(one, other)
    expected, _ = theirs(CURVES.times, CURVES.values, CURVES.ts)
    torch.testing.assert_close(ours(encoded[0], CURVES.ts), expected)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_loss_and_its_gradients_are_the_same(shown, both, beta):
    ours, theirs = both
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    loss = shown["negative_elbo"](ours, CURVES, beta, one)
    expected, _ = trials._loss(theirs, CURVES, beta, other)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for name, weights in ours.named_parameters():
        theirs_too = theirs.get_parameter(name).grad
        torch.testing.assert_close(weights.grad, theirs_too, rtol=1e-4, atol=1e-4)


def test_three_passes_end_in_the_weights_of_a_trial(shown, both, tmp_path):
    ours, _ = both
    assert type(ours) is not LatentODE
    draws = torch.Generator().manual_seed(TRIAL.seed)
    shown["fit"](ours, CURVES, 3, TRIAL.rate, draws)
    trials.run(TRIAL, tmp_path)  # of six batches: three passes of two
    trained = trials.load(TRIAL, tmp_path).state_dict()
    start = trials._model(TRIAL).state_dict()
    for name, weights in ours.state_dict().items():
        torch.testing.assert_close(weights, trained[name], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(trained["decoder.0.weight"], start["decoder.0.weight"], atol=1e-3)
