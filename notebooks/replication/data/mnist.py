"""The digits of MNIST, or an even part of them."""

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from replication.data.mnist_sources import ensure
from replication.data.torchvision_import import torchvision


class Digits(NamedTuple):
    """Images (n, 1, 28, 28), float32 in [0, 1], and their labels (n,), int64."""

    images: Tensor
    labels: Tensor


def load(
    root: str | Path | None = None, train_size: int = 60_000, test_size: int = 10_000
) -> tuple[Digits, Digits]:
    """The training and the test digits, fetched into ``root`` first if they are not there yet.

    A part of a set is spread evenly over it: the first half of the MNIST test set is cleaner than
    the second. ``root`` is the folder ``mnist`` in the cache (environment variable ODENET_CACHE) if
    not given. Raises ValueError for a size that the set does not have, and FileNotFoundError where
    no source has the files.
    """
    if root is None:
        root = Path(os.environ.get("ODENET_CACHE") or "~/.cache/odenet", "mnist")
    root = Path(root).expanduser()
    ensure(root / "MNIST" / "raw")
    return _read(root, True, train_size), _read(root, False, test_size, "test_size")


def _read(root: Path, train: bool, size: int, name: str = "train_size") -> Digits:
    digits = torchvision.datasets.MNIST(root, train)
    total = len(digits)
    if not 1 <= size <= total:
        raise ValueError(f"{name} must lie between 1 and {total}, got {size}")
    kept = torch.arange(size) * total // size
    return Digits(digits.data[kept, None] / 255, digits.targets[kept])
