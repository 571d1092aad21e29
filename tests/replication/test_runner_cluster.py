"""Trials on a Dask cluster: the numbers of a serial run, whatever becomes of the workers."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import toy_clone
import toy_lab

from replication import __main__ as cli
from replication.runner import TrialError, executors, run_trials
from replication.runner.trials import cache_folder, find, place_of

LIMIT_S = 120  # for what takes a few seconds on an idle machine

pytestmark = pytest.mark.slow


def dask(root: Path, kind: str, *options: str) -> subprocess.Popen:
    """A scheduler or a worker, which can import `lab` and has a cache of its own."""
    path = os.pathsep.join((str(root), os.environ["PYTHONPATH"]))
    names = {"ODENET_CACHE": str(root / "cache of the workers"), "PYTHONPATH": path}
    common = ["--no-dashboard", "--scheduler-file", str(root / "scheduler.json"), *options]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ODENET_")}
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{kind}", *common],
        cwd=root,
        env=inherited | names | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package `lab`, a scheduler on loopback and two workers."""
    root = tmp_path_factory.mktemp("site")
    toy_lab.write(root)
    scheduler = dask(root, "scheduler", "--host", "127.0.0.1", "--port", "0")
    worker = ("--host", "127.0.0.1", "--no-nanny", "--nthreads", "1")
    processes = [scheduler, *(dask(root, "worker", *worker) for _ in range(2))]
    try:
        yield root
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture
def lab(site, cache, monkeypatch):
    """The module `lab.experiment`, with an empty cache, on the cluster of `site`."""
    file = site / "scheduler.json"
    toy_lab.until(lambda: file.exists() and file.read_text().endswith("}"), LIMIT_S)
    monkeypatch.setenv("ODENET_CLUSTER", json.loads(file.read_text())["address"])
    monkeypatch.syspath_prepend(site)
    yield toy_lab.load()
    toy_lab.forget()


def test_a_worker_killed_in_the_middle_changes_no_number(lab, site, tmp_path, monkeypatch):
    """Its trial goes on from the checkpoint on the other worker; the results come to this cache."""
    trials = [lab.Trial(seed=seed) for seed in range(4)]
    outcomes = []
    asking = threading.Thread(target=lambda: outcomes.extend(run_trials(lab.learn, trials)))
    asking.start()
    toy_lab.until((site / "lab/pid").exists, LIMIT_S)
    os.kill(int((site / "lab/pid").read_text()), signal.SIGKILL)
    (site / "lab/go").touch()
    asking.join(LIMIT_S)
    assert len(outcomes) == 4
    assert [(outcome.folder / "calls").read_text() for outcome in outcomes] == ["x", "xx", "x", "x"]
    assert {outcome.folder.parents[2] for outcome in outcomes} == {cache_folder()}
    assert [outcome.evidence["found"] for outcome in outcomes] == [False] * 4
    monkeypatch.delenv("ODENET_CLUSTER")
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "another"))
    serial = run_trials(lab.learn, trials)
    assert [outcome.result for outcome in outcomes] == [outcome.result for outcome in serial]
    weights = [torch.load(outcome.folder / "weights.pt") for outcome in (outcomes[1], serial[1])]
    assert torch.equal(weights[0]["weight"], weights[1]["weight"])


def test_failures_of_remote_trials_are_told_here(lab, capsys):
    trials = [lab.Trial(seed=seed) for seed in (1, 0)]
    with pytest.raises(TrialError, match="ode-seed1-.*: ArithmeticError: seed 1"):
        run_trials(lab.fail, trials)
    assert find(place_of(lab.fail, trials[1]))
    told = capsys.readouterr().err
    assert "experiment.py" in told and "done, " in told


def test_a_worker_with_other_code_is_refused(lab, site):
    """Also where the files are the same by now: it has loaded the old ones."""
    run_trials(lab.run, [lab.Trial(size=1)])
    toy_lab.forget()
    (site / "lab/helper.py").write_text(toy_lab.HELPER.replace("2 * x", "3 * x"))
    try:
        again = toy_lab.load()
        with pytest.raises(TrialError, match="it holds other code.* Start it anew in this clone"):
            run_trials(again.run, [again.Trial(size=2)])
    finally:
        (site / "lab/helper.py").write_text(toy_lab.HELPER)


PRIVATE = """
from dataclasses import dataclass
from lab import experiment

@dataclass(frozen=True)
class Trial(experiment.Trial):
    pass
"""


def test_a_trial_that_no_worker_can_load_is_not_waited_for(lab, tmp_path, monkeypatch):
    (tmp_path / "private.py").write_text(PRIVATE)
    monkeypatch.syspath_prepend(tmp_path)
    private = importlib.import_module("private")
    errors = []

    def ask():
        with pytest.raises(TrialError, match="have different environments") as raised:
            run_trials(lab.run, [private.Trial(seed=1), lab.Trial(seed=0)])
        errors.append(raised)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    del sys.modules["private"]
    assert errors, "still waiting"


def test_a_scheduler_that_does_not_answer_is_told_before_anything_runs(
    lab, tmp_path, monkeypatch, capsys
):
    toy_clone.enter(toy_clone.make(tmp_path / "clone"), monkeypatch)
    monkeypatch.setattr(executors, "CONNECT_S", 0.5)
    monkeypatch.setenv("ODENET_CLUSTER", "tcp://127.0.0.1:9")
    message = "no Dask scheduler answers at 'tcp://127.0.0.1:9'"
    with pytest.raises(ValueError, match=message):
        run_trials(lab.run, [lab.Trial()])
    assert cli.main(["run"]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.part.ipynb")) and not list(tmp_path.rglob("run.log"))
