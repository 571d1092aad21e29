"""The digits of MNIST, or an even part of them."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from replication.data.mnist_sources import ensure


class Digits(NamedTuple):
    """Images (n, 1, 28, 28), float32 in [0, 1], and their labels (n,), int64."""

    images: Tensor
    labels: Tensor


def load(
    root: Path | None = None, train_size: int = 60_000, test_size: int = 10_000
) -> tuple[Digits, Digits]:
    """The training and the test digits, fetched into ``root`` first if they are not there yet.

    A part of a set is spread evenly over it: the first half of the MNIST test set is cleaner than
    the second. ``root`` is the folder ``mnist`` in the cache (environment variable ODENET_CACHE) if
    not given. Raises ValueError for a size that the set does not have, and FileNotFoundError where
    no source has the files.
    """
    if root is None:
        root = Path(os.environ.get("ODENET_CACHE") or Path.home() / ".cache" / "odenet") / "mnist"
    folder = root / "MNIST" / "raw"  # where torchvision looks, too
    ensure(folder)
    return _read(folder, "train", train_size), _read(folder, "t10k", test_size, "test_size")


def _read(folder: Path, part: str, size: int, name: str = "train_size") -> Digits:
    pixels = np.fromfile(folder / f"{part}-images-idx3-ubyte", np.uint8, offset=16)
    labels = np.fromfile(folder / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)
    total = len(labels)
    if not 1 <= size <= total:
        raise ValueError(f"{name} must lie between 1 and {total}, got {size}")
    kept = np.arange(size) * total // size
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28)[kept])
    return Digits(images / 255, torch.from_numpy(labels[kept]).long())
