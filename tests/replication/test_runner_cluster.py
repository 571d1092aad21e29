"""Trials on a Dask cluster: the numbers of a serial run, whatever becomes of the workers."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy_clone
import toy_lab

from replication import __main__ as cli
from replication.runner import TrialError, run_trials
from replication.runner.trials import cluster
from replication.runner.trials.entries import cache, code, entry, find
from replication.runner.trials.tasks import attempt_for, differences

LIMIT_S = 120  # for what takes a few seconds on an idle machine


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
def lab(site, tmp_path, monkeypatch):
    """The module `lab.experiment`, with an empty cache, on the cluster of `site`."""
    file = site / "scheduler.json"
    toy_lab.until(lambda: file.exists() and file.read_text().endswith("}"), LIMIT_S)
    for name in ("JOBS", "DEVICE"):
        monkeypatch.delenv(f"ODENET_{name}", raising=False)
    monkeypatch.setenv("ODENET_CLUSTER", json.loads(file.read_text())["address"])
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ODENET_PROGRESS", str(tmp_path / "progress"))
    monkeypatch.syspath_prepend(site)
    yield toy_lab.load()
    toy_lab.forget()


def told(tmp_path: Path) -> str:
    return (tmp_path / "progress").read_text()


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
    assert {outcome.folder.parents[2] for outcome in outcomes} == {cache()}
    assert [outcome.evidence["found"] for outcome in outcomes] == [False] * 4
    monkeypatch.delenv("ODENET_CLUSTER")
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "another"))
    serial = run_trials(lab.learn, trials)
    assert [outcome.result for outcome in outcomes] == [outcome.result for outcome in serial]
    weights = [torch.load(outcome.folder / "weights.pt") for outcome in (outcomes[1], serial[1])]
    assert torch.equal(weights[0]["weight"], weights[1]["weight"])


def test_what_was_fetched_is_not_asked_for_again(lab, monkeypatch):
    first = run_trials(lab.run, [lab.Trial()])
    monkeypatch.setenv("ODENET_CLUSTER", "tcp://127.0.0.1:9")  # where nobody is
    assert run_trials(lab.run, [lab.Trial()]) == first


def test_progress_and_failures_of_remote_trials_are_told_here(lab, tmp_path):
    trials = [lab.Trial(seed=seed) for seed in (1, 0)]
    with pytest.raises(TrialError, match="experiment/ode-seed1: ArithmeticError: seed 1") as raised:
        run_trials(lab.fail, trials)
    assert find(entry(trials[1], code(lab.fail)))
    assert "experiment.py" in str(raised.value.__cause__)
    lines = told(tmp_path)
    for seed in (0, 1):
        assert f"experiment/ode-seed{seed} starts\n" in lines
    assert "experiment/ode-seed0 done in" in lines and "experiment/ode-seed1 FAILED" in lines
    assert "tcp://127.0.0.1:" in lines and "ArithmeticError: seed 1 is not for me" in lines


def test_a_worker_with_other_code_is_refused(lab, site):
    """Also where the files are the same by now: it has loaded the old ones."""
    run_trials(lab.run, [lab.Trial(size=1)])
    (site / "lab/helper.py").write_text(toy_lab.HELPER.replace("2 * x", "3 * x"))
    try:
        with pytest.raises(RuntimeError, match="cannot run these trials") as refused:
            run_trials(lab.run, [lab.Trial(size=2)])
    finally:
        (site / "lab/helper.py").write_text(toy_lab.HELPER)
    assert "it has loaded other code of lab.helper" in str(refused.value)


PRIVATE = """
from dataclasses import dataclass
from lab import experiment

@dataclass(frozen=True)
class Trial(experiment.Trial):
    pass

def run(trial, folder):
    return experiment.run(trial, folder)
"""


@pytest.fixture
def private(lab, tmp_path, monkeypatch):
    """A module that only this process can import."""
    (tmp_path / "private.py").write_text(PRIVATE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("private")
    del sys.modules["private"]


def test_what_cannot_load_the_experiment_is_refused(lab, private):
    with pytest.raises(RuntimeError, match="cannot load private:run.*No module named") as refused:
        run_trials(private.run, [lab.Trial()])
    assert "the scheduler: it cannot load private: No module named" in str(refused.value)


def test_a_task_that_dask_gives_up_is_not_waited_for(lab, private):
    """Such as one whose workers died again and again; here, one that no worker can load."""
    trials = [private.Trial(seed=1), lab.Trial(seed=0)]
    errors = []

    def ask():
        with pytest.raises(TrialError, match="^1 of 2 trials failed.*\n.*ode-seed1: ") as raised:
            run_trials(lab.run, trials)
        errors.append(raised)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    assert errors, "still waiting"
    assert find(entry(trials[1], code(lab.run)))


def test_a_worker_that_runs_several_trials_in_one_process_is_refused(lab):
    now = code(lab.run)
    threads = {"a": 1, "b": 8}
    both = SimpleNamespace(
        nthreads=lambda: threads,
        run=lambda *_, **__: dict.fromkeys(threads, now),
        run_on_scheduler=lambda *_: now,
    )
    with pytest.raises(RuntimeError, match="1 of 2 Dask processes.*\nb: it runs 8 tasks at once"):
        cluster._require_equal_workers(both, lab.run, now)


def test_a_worker_that_joins_late_is_held_to_the_same_code(lab):
    expected = code(lab.run) | {"torch": "1.0.0"}
    report = attempt_for(print, "tcp://late", expected, 7, lab.run, lab.Trial())
    assert report.number == 7 and "tcp://late cannot run this: it has torch" in report.error
    assert not cache().exists()


def test_a_scheduler_that_does_not_answer_is_told_before_anything_runs(
    lab, tmp_path, monkeypatch, capsys
):
    toy_clone.enter(toy_clone.make(tmp_path / "clone"), monkeypatch)
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    monkeypatch.setenv("ODENET_CLUSTER", "tcp://127.0.0.1:9")
    message = "no Dask scheduler answers at 'tcp://127.0.0.1:9'"
    with pytest.raises(ValueError, match=message):
        run_trials(lab.run, [lab.Trial()])
    assert cli.main(["run"]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.part.ipynb")) and not list(tmp_path.rglob("run.log"))


def test_torch_counts_as_much_as_code():
    here = {"torch": "2.1.0", "modules": {"lab.helper": "a"}}
    assert differences(here, here) == ""
    assert differences(here, here | {"torch": "2.2.0"}) == "it has torch 2.1.0, not 2.2.0"
    assert "lab.new" in differences(here, here | {"modules": {"lab.helper": "a", "lab.new": "b"}})
