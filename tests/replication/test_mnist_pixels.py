"""Raw pixels: what enters the block, which networks there are, and what a training tells."""

import json

import pytest
import torch

from odenet.models.blocks import ODEBlock
from replication.chapters.mnist import recipe
from replication.chapters.mnist.trials import pixels
from replication.data.mnist import Digits
from replication.pixels import CHANNELS, MEAN, SPREAD, Pixels

pytestmark = pytest.mark.slow  # the file as a whole


@pytest.fixture(autouse=True)
def _tiny_digits(monkeypatch):
    def load(train_size, test_size):
        generator = torch.Generator().manual_seed(train_size)
        return tuple(
            Digits(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10)
            for n in (train_size, test_size)
        )

    monkeypatch.setattr(recipe.mnist, "load", load)


def test_state_is_the_image_in_each_channel_and_has_nothing_to_learn():
    image = torch.arange(28.0 * 28).view(1, 1, 28, 28)
    stem = Pixels()
    state = stem(image)
    assert state.shape == (1, CHANNELS, 14, 14) and not list(stem.parameters())
    block = image[0, 0, 2:4, 4:6].mean()  # two by two pixels
    expected = (block - MEAN) / SPREAD
    assert torch.allclose(state[0, :, 1, 2], expected.expand(CHANNELS))


def test_without_a_block_the_logits_are_linear_in_the_pixels():
    model = pixels.network(pixels.Trial("none"))
    a, b = torch.rand(2, 3, 1, 28, 28)
    with torch.no_grad():
        one, two, between = (model(x)[0] for x in (a, b, (a + b) / 2))
    torch.testing.assert_close((one + two) / 2, between)


def test_all_blocks_have_one_width_and_start_from_the_head_of_their_seed():
    models = {name: pixels.network(pixels.Trial(name, seed=3)) for name in pixels.BLOCKS}
    heads = [model.head[2].weight for model in models.values()]
    assert all(torch.equal(heads[0], head) for head in heads)
    branches = [len(models[name].block.branches) for name in ("none", "resblock", "resnet")]
    assert branches == [0, 1, 6] and isinstance(models["odenet"].block, ODEBlock)


def test_result_is_plain_numbers_and_an_ode_is_tested_at_two_tolerances(tmp_path):
    trial = pixels.Trial(train_size=13, test_size=8)
    result = pixels.run(trial, tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert set(result["by_tolerance"]) == {"loose", "tight"}
    assert result["nfe_forward"] >= 13 and (tmp_path / "weights.pt").is_file()
    other = pixels.run(pixels.Trial("none", train_size=13, test_size=8), tmp_path / "none")
    assert other["by_tolerance"] == {} and other["nfe_forward"] == 0


def test_unknown_block_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="unknown block 'vgg'; known: none, resblock"):
        pixels.Trial("vgg")
