"""The forty lines of chapter 03: they run in an empty file, and what they train is an ODE-Net."""

import re
from pathlib import Path

import nbformat
import pytest
import torch

from replication.data import mnist
from replication.data.mnist import Digits

NOTEBOOK = Path(__file__).parents[2] / "notebooks/03_mnist.ipynb"
pytestmark = pytest.mark.slow  # the file as a whole


@pytest.fixture
def source():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return next(cell.source for cell in cells if cell.id == "sketch")


@pytest.fixture(autouse=True)
def _two_kinds_of_digits(monkeypatch):
    def load(train_size, test_size):
        return digits(train_size), digits(test_size)

    def digits(count):  # bright above or below: an image of nothing but zeros has no norm
        images, labels = torch.rand(count, 1, 28, 28), torch.arange(count) % 2
        images[labels == 0, :, :14] *= 0.1
        images[labels == 1, :, 14:] *= 0.1
        return Digits(images, labels)

    monkeypatch.setattr(mnist, "load", load)


def test_it_learns_with_no_other_names_than_it_says(source):
    names = {}
    exec(re.search(r"seed, .* = .*", source)[0], names)
    assert names["sketch_size"] > 1000 and names["test_size"] > 1000
    names |= {"sketch_size": 640, "test_size": 20}
    with torch.random.fork_rng():
        exec(source, names)
    assert names["wrong"].sum() == 0
    assert names["stats"].backward.nfe > 0, "its gradients are those of the adjoint"
