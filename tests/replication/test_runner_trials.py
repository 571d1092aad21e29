"""Trials are kept by content, resumed where they stopped, and never trusted when damaged."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import toy_lab

from replication.runner import TrialError, run_trial, run_trials
from replication.runner.metrics import TRIALS
from replication.runner.trials import ask, evidence
from replication.runner.trials.entries import code, entry, find


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The module `lab.experiment` of a package of its own, and an empty cache."""
    toy_lab.write(tmp_path)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "cache"))
    for name in ("PROGRESS", "JOBS", "CLUSTER", "DEVICE"):
        monkeypatch.delenv(f"ODENET_{name}", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield toy_lab.load()
    toy_lab.forget()


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
    Path(lab.helper.__file__).write_text(toy_lab.HELPER.replace("2 * x", "3 * x"))
    assert run_trial(lab.run, lab.Trial()).folder != before


def test_comments_docstrings_and_other_modules_do_not_count(lab):
    before = run_trial(lab.run, lab.Trial()).folder
    helper = Path(lab.helper.__file__)
    helper.write_text(
        toy_lab.HELPER.replace("Twice x.", "Two times x.").replace("# exact", "# yes")
    )
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
    assert path.with_name("result.json.damaged").read_text() == text
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


# Many at once


def test_outcomes_come_in_the_order_given_and_equal_trials_run_once(lab):
    sizes = [3, 1, 3, 2, 1]
    outcomes = run_trials(lab.run, [lab.Trial(size=size) for size in sizes])
    assert [outcome.result["value"] for outcome in outcomes] == [2 * size for size in sizes]
    assert {calls(outcome) for outcome in outcomes} == {1}
    assert outcomes[0] == outcomes[2] == run_trial(lab.run, lab.Trial(size=3))


def test_no_trials_have_no_outcomes(lab):
    assert run_trials(lab.run, []) == []


def test_only_what_is_missing_is_computed(lab):
    run_trial(lab.run, lab.Trial(size=1))
    outcomes = run_trials(lab.run, [lab.Trial(size=1), lab.Trial(size=2)])
    assert [outcome.evidence["found"] for outcome in outcomes] == [True, False]
    assert {calls(outcome) for outcome in outcomes} == {1}


def test_a_failure_waits_for_the_others_and_names_itself(lab, capsys):
    trials = [lab.Trial(seed=seed) for seed in (1, 0, 2)]
    with pytest.raises(TrialError) as raised:
        run_trials(lab.fail, trials)
    message = "1 of 3 trials failed; the others are finished and kept\n"
    assert (
        str(raised.value) == f"{message}experiment/ode-seed1: ArithmeticError: seed 1 is not for me"
    )
    assert isinstance(raised.value.__cause__, ArithmeticError)
    told = capsys.readouterr().err
    assert "experiment/ode-seed1 FAILED" in told and "experiment.py" in told
    now = code(lab.fail)
    kept = [find(entry(trial, now)) for trial in trials]
    assert kept[0] is None and kept[1] and kept[2]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("JOBS", "two", "ODENET_JOBS must be a number of processes, 1 or more, not 'two'"),
        ("JOBS", "0", "not '0'"),
        ("JOBS", "-1", "not '-1'"),
        ("CLUSTER", "localhost:8786", "such as tcp://host:8786, not 'localhost:8786'"),
        ("CLUSTER", "http://localhost", "not 'http://localhost'"),
    ],
)
def test_an_engine_that_makes_no_sense_is_refused(lab, monkeypatch, name, given, message):
    monkeypatch.setenv(f"ODENET_{name}", given)
    with pytest.raises(ValueError, match=message):
        run_trials(lab.run, [lab.Trial()])


def test_one_engine_at_a_time(lab, monkeypatch):
    monkeypatch.setenv("ODENET_JOBS", "2")
    monkeypatch.setenv("ODENET_CLUSTER", "tcp://127.0.0.1:8786")
    with pytest.raises(ValueError, match="give one of them"):
        run_trials(lab.run, [lab.Trial()])


def test_local_processes_give_the_same_numbers_and_share_the_threads(lab, tmp_path, monkeypatch):
    trials = [lab.Trial(seed=seed) for seed in (0, 1, 2, 2)]
    (Path(lab.__file__).parent / "go").touch()
    serial = run_trials(lab.learn, trials)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("ODENET_PROGRESS", str(tmp_path / "progress"))
    monkeypatch.setenv("ODENET_JOBS", "2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    local = run_trials(lab.learn, trials)
    assert [outcome.result for outcome in local] == [outcome.result for outcome in serial]
    assert {outcome.evidence["threads"] for outcome in local} == {1}
    told = (tmp_path / "progress").read_text()
    assert "experiment/ode-seed2 done in" in told and "3 of 3" in told
    assert re.search(r"process \d+ \| experiment/ode-seed1 starts\n", told)
    assert re.search(r"process \d+ \| toy seed 1 \| epoch 3/3: 100%", told)


def test_the_end_of_a_local_process_is_explained_and_leaves_what_had_finished(lab, monkeypatch):
    monkeypatch.setenv("ODENET_JOBS", "2")
    with pytest.raises(RuntimeError, match="ended from outside.*give the same command again"):
        run_trials(lab.die, [lab.Trial(seed=seed) for seed in (0, 1)])
    assert find(entry(lab.Trial(seed=0), code(lab.die)))


def test_two_processes_with_the_same_trials_share_the_work(lab, tmp_path):
    """Each trial is computed by one of them, and both have all outcomes."""
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import lab.experiment as lab; "
        "from replication.runner import run_trials; "
        "found = run_trials(lab.run, [lab.Trial(seed=seed) for seed in range(20)]); "
        "print(json.dumps([outcome.result for outcome in found]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert results[0] == results[1] and {numbers["calls"] for numbers in results[0]} == {1}


# Evidence


def test_the_evidence_says_what_a_trial_cost_and_where_it_ran(lab):
    (outcome,) = run_trials(lab.run, [lab.Trial(size=7)])
    told = outcome.evidence
    assert told["trial"] == "experiment/ode-seed0-size7" and told["found"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["started"])
    assert told["seconds"] >= 0 and told["peak_memory_mb"] > 100  # torch alone takes that
    assert told["device"] == "cpu" and "cores" in told["processor"]
    assert told["threads"] == torch.get_num_threads() and told["torch"] == torch.__version__
    assert run_trial(lab.run, lab.Trial(size=7)).evidence == told | {"found": True}


def test_the_cost_of_interrupted_parts_counts(lab, monkeypatch):
    """Also of one that could not say goodbye: what it had noted until then stands."""
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial())
    (note,) = entry(lab.Trial(), code(lab.stop)).folder.glob("spent.json")
    before = {"started": "2026-01-02T03:04:05+00:00", "seconds": 5000.0, "peak_memory_mb": 1e6}
    assert json.loads(note.read_text()).keys() == before.keys()
    note.write_text(json.dumps(before))
    told = run_trial(lab.stop, lab.Trial()).evidence
    assert told["started"] == before["started"] and told["peak_memory_mb"] == 1e6
    assert 5000 <= told["seconds"] < 5060


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": 1'])
def test_a_damaged_note_of_the_cost_does_not_stop_a_trial(lab, text):
    folder = entry(lab.Trial(), code(lab.run)).folder
    folder.mkdir(parents=True)
    (folder / "spent.json").write_text(text)
    assert run_trial(lab.run, lab.Trial()).evidence["seconds"] < 60


def test_the_cost_is_noted_while_a_trial_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "EVERY_S", 0.01)
    path = tmp_path / "spent.json"
    with evidence.metered(path):
        toy_lab.until(lambda: path.exists() and json.loads(path.read_text())["seconds"] > 0.05)


def test_a_notebook_tells_the_runner_and_shows_the_reader_nothing(lab, monkeypatch):
    shown = []
    monkeypatch.setattr(ask, "get_ipython", lambda: "a kernel")
    monkeypatch.setattr(ask, "display", lambda data, raw: shown.append(data))
    outcomes = run_trials(lab.run, [lab.Trial(size=size) for size in (1, 2, 1)])
    assert shown == [{TRIALS: [outcome.evidence for outcome in outcomes[:2]]}]
    json.dumps(shown)


def test_outside_of_notebooks_nothing_is_displayed(lab, capsys):
    run_trials(lab.run, [lab.Trial()])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["weights.pt", "checkpoint.pt"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_damaged_weights_are_set_aside_and_made_again(lab, capsys, name, how):
    outcome = run_trial(lab.learn, lab.Trial())
    path = outcome.folder / name
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?") if how == "changed" else path.unlink()
    again = run_trial(lab.learn, lab.Trial())
    assert again == outcome and again.evidence["found"] is False
    assert path.exists() and path.with_name(f"{name}.damaged").exists() == (how == "changed")
    assert f"{name} is damaged" in capsys.readouterr().err
    assert run_trial(lab.learn, lab.Trial()).evidence["found"] is True
