"""What the tests of both packages share."""

import functools
import os
from pathlib import Path

import pytest
import torch

import odenet.compile

NOTEBOOKS = str(Path(__file__).parents[1] / "notebooks")
# For the processes that tests start, as the Makefile does: `replication` is imported from there.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (NOTEBOOKS, os.environ.get("PYTHONPATH"))))


@pytest.fixture(autouse=True)
def seeded():
    """Each test draws the same numbers, whichever tests ran before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, with none of the settings of the shell that runs the tests."""
    for name in ("TRIALS", "TRAIN", "JOBS", "CLUSTER", "DEVICE"):
        monkeypatch.delenv(f"ODENET_{name}", raising=False)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def uncompiled(monkeypatch):
    """Compiled solves run their functions as they are: the same numbers, without a compiler."""
    monkeypatch.setattr(odenet.compile, "_compiled", lambda function, *_: function)


@pytest.fixture
def traced(monkeypatch):
    """PyTorch compiles to graphs behind guards, and makes no C++ of them, which takes long."""
    real = torch.compile

    def trace(function, *, options=None, **settings):
        return real(function, backend="aot_eager", **settings)

    monkeypatch.setattr(torch, "compile", trace)
    compiled = functools.cache(odenet.compile._compiled.__wrapped__)
    monkeypatch.setattr(odenet.compile, "_compiled", compiled)
