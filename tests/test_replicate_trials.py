"""Trials are kept by content, resumed where they stopped, and never trusted when damaged."""

import importlib
import json
import sys
import threading
from pathlib import Path

import pytest

from odenet.replicate import run_trial

EXPERIMENT = '''
"""A toy experiment."""
from dataclasses import dataclass
from . import helper

@dataclass(frozen=True)
class Trial:
    model: str = "ode"
    seed: int = 0
    size: int = 3

def run(trial, folder):
    calls = folder / "calls"  # stands for a checkpoint
    calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
    return {"value": helper.double(trial.size), "calls": len(calls.read_text()), "pair": (1, 2)}

def stop(trial, folder):
    """As `run`, but the first call is interrupted."""
    fresh = not (folder / "calls").exists()
    numbers = run(trial, folder)
    if fresh:
        raise KeyboardInterrupt
    return numbers
'''
HELPER = '"""Help."""\n\ndef double(x):\n    """Twice x."""\n    return 2 * x  # exact\n'


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A package `lab` with an experiment, and an empty cache."""
    package = tmp_path / "lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text(HELPER)
    (package / "unused.py").write_text("x = 1\n")
    (package / "experiment.py").write_text(EXPERIMENT)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ODENET_PROGRESS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lab.experiment")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        del sys.modules[name]


def calls(outcome) -> int:
    return len((outcome.folder / "calls").read_text())


def test_a_second_call_returns_the_same_without_running(lab):
    first = run_trial(lab.run, lab.Trial())
    second = run_trial(lab.run, lab.Trial())
    assert first == second
    assert first.result == {"value": 6, "calls": 1, "pair": [1, 2]}
    assert calls(second) == 1


def test_the_folder_can_be_read_by_people(lab, tmp_path):
    folder = run_trial(lab.run, lab.Trial(size=7)).folder
    assert folder.parent == tmp_path / "cache/trials/experiment"
    assert folder.name.startswith("ode-seed0-size7-")
    assert json.loads((folder / "trial.json").read_text())["trial"]["size"] == 7


@pytest.mark.parametrize("field", ["seed", "size", "model"])
def test_every_field_counts(lab, field):
    """Two values that look alike in the readable part of the folder's name."""
    folders = {run_trial(lab.run, lab.Trial(**{field: value})).folder for value in ("1 2", "1_2")}
    assert len(folders) == 2


def test_the_function_counts(lab):
    first = run_trial(lab.run, lab.Trial()).folder
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial())
    assert len(list(first.parent.iterdir())) == 2


def test_code_that_the_function_reaches_counts(lab):
    before = run_trial(lab.run, lab.Trial()).folder
    Path(lab.helper.__file__).write_text(HELPER.replace("2 * x", "3 * x"))
    assert run_trial(lab.run, lab.Trial()).folder != before


def test_comments_docstrings_and_other_modules_do_not_count(lab):
    before = run_trial(lab.run, lab.Trial()).folder
    helper = Path(lab.helper.__file__)
    helper.write_text(HELPER.replace("Twice x.", "Two times x.").replace("# exact", "# yes"))
    helper.with_name("unused.py").write_text("x = 2\n")
    assert run_trial(lab.run, lab.Trial()).folder == before


def test_an_interrupted_trial_goes_on_in_its_folder(lab):
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial())
    outcome = run_trial(lab.stop, lab.Trial())
    assert outcome.result["calls"] == 2
    assert len(list(outcome.folder.parent.iterdir())) == 1


@pytest.mark.parametrize("damage", ["", "{", '{"result": {"value": 6}}', None])
def test_a_damaged_result_is_set_aside_and_computed_again(lab, capsys, damage):
    outcome = run_trial(lab.run, lab.Trial())
    path = outcome.folder / "result.json"
    text = path.read_text().replace('"value": 6', '"value": 7') if damage is None else damage
    path.write_text(text)
    again = run_trial(lab.run, lab.Trial())
    assert again.result["value"] == 6 and calls(again) == 2
    assert path.with_suffix(".damaged").read_text() == text
    assert "result.json is damaged" in capsys.readouterr().err


def test_only_one_works_on_an_entry_and_the_other_waits(lab, capsys):
    """The lock is between open files, so a thread can stand for another process."""
    started, go_on = threading.Event(), threading.Event()

    def slow(trial, folder):
        started.set()
        assert go_on.wait(10)
        return lab.run(trial, folder)

    slow.__module__ = lab.__name__
    first = threading.Thread(target=run_trial, args=(slow, lab.Trial()))
    first.start()
    assert started.wait(10)
    threading.Timer(0.2, go_on.set).start()
    second = run_trial(slow, lab.Trial())
    first.join()
    assert calls(second) == second.result["calls"] == 1
    assert "another process works on" in capsys.readouterr().err


def test_a_function_typed_into_a_notebook_is_refused(lab):
    def run(trial, folder):
        return {}

    run.__module__ = "__main__"
    with pytest.raises(TypeError, match="must live in a module"):
        run_trial(run, lab.Trial())
