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
        generator = torch.Generator().manual_seed(0)
        labels = [torch.arange(n) % 2 for n in (train_size, test_size)]
        noise = [torch.rand(len(of), 1, 28, 28, generator=generator) for of in labels]
        return tuple(
            Digits(x * of.view(-1, 1, 1, 1), of) for x, of in zip(noise, labels, strict=True)
        )

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
