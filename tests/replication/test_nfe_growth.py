"""The training by the authors' recipe: its crops, its networks, and when it counts."""

import pytest
import torch

from replication.chapters.nfe.trials import growth
from replication.data.mnist import Digits

SMALL = {"train_size": 4, "test_size": 2, "probes": (1e-2,)}


@pytest.fixture
def four_digits(monkeypatch):
    """Two batches of two digits, and two to test on."""
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    digits = Digits(images, torch.arange(6))
    parts = Digits(*(x[:4] for x in digits)), Digits(*(x[4:] for x in digits))
    monkeypatch.setattr(growth, "load", lambda train_size, test_size: parts)
    monkeypatch.setattr(growth, "BATCH_SIZE", 2)


def test_a_crop_is_a_window_of_the_padded_image_and_each_image_has_its_own():
    images = 1 + torch.arange(200 * 6 * 5.0).reshape(200, 1, 6, 5)
    crops = growth.cropped(images, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, [4] * 4)
    places = []
    for crop, whole in zip(crops, padded, strict=True):
        windows = whole[0].unfold(0, 6, 1).unfold(1, 5, 1)
        ((top, left),) = (windows == crop[0]).all(-1).all(-1).nonzero().tolist()[:1]
        places.append((top, left))
    tops, lefts = map(set, zip(*places, strict=True))
    assert tops == lefts == set(range(9)) and len(set(places)) > 60


def test_it_counts_before_the_training_after_the_early_steps_and_after_each_epoch(
    four_digits, tmp_path, monkeypatch
):
    seen = []
    plain = growth.probed

    def probed(model, images, tolerances):
        steps = [p.detach().clone() for p in model.parameters()]
        seen.append(sum(float(p.sum()) for p in steps))
        return plain(model, images, tolerances)

    monkeypatch.setattr(growth, "probed", probed)
    result = growth.run(growth.Trial(epochs=2, early=(1,), **SMALL), tmp_path)
    assert [row["step"] for row in result["early"]] == [1]
    assert result["history"]["epoch"] == [0, 1, 2] and len(result["history"]["nfe"]) == 3
    # Untrained, after one step, after two, after four: the weights differ each time.
    assert len(seen) == 4 == len(set(seen))
    assert result["parameters"] == 208_266


def test_each_variant_changes_one_thing():
    networks = {name: growth.network(growth.Trial(variant=name)) for name in growth.VARIANTS}
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    norm = 2 * 64  # scale and shift of a GroupNorm
    recipe = sizes["recipe"]
    assert sizes == {
        "recipe": recipe,
        "normed-stem": recipe + norm,
        "bare-field": recipe - norm,
        "adam": recipe,
    }
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        states = {name: net.stem(images) for name, net in networks.items()}
    assert states["recipe"].shape == (2, 64, 6, 6)
    assert states["normed-stem"].square().mean() == pytest.approx(1, abs=1e-3)
    learners = {name: growth._learner(growth.Trial(variant=name), networks[name]) for name in sizes}
    kinds = {name: type(learner.optimizer).__name__ for name, learner in learners.items()}
    assert kinds == {"recipe": "SGD", "normed-stem": "SGD", "bare-field": "SGD", "adam": "Adam"}


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="unknown variant 'none'; known: recipe, normed-stem"):
        growth.network(growth.Trial(variant="none"))
