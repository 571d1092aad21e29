"""Trials are kept by content, resumed where they stopped, and published with the evidence."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import toy_lab

from replication.chapters.spirals import trials as spirals
from replication.runner import TrialError, run_trial, run_trials
from replication.runner import trials as runner
from replication.runner.metrics import TRIALS
from replication.runner.trials import find, place_of, sweep


@pytest.fixture
def lab(cache, tmp_path, monkeypatch):
    """The module `lab.experiment` of a package of its own, and an empty cache."""
    toy_lab.write(tmp_path)
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


@pytest.mark.parametrize(
    ("module", "belonging"),
    [
        ("replication.chapters.spirals.trials", ("spirals", [])),
        ("replication.chapters.nfe.trials.growth", ("nfe", ["growth"])),
        ("replication.chapters.poisson.joint", ("poisson", ["joint"])),
        ("lab.experiment", ("experiment", [])),
    ],
)
def test_trials_lie_in_their_chapter_and_name_their_experiment(module, belonging):
    assert runner._belonging(module) == belonging


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


def test_code_that_the_function_reaches_counts_and_so_does_the_librarys_number(lab, monkeypatch):
    before = place_of(lab.run, lab.Trial()).name
    monkeypatch.setattr("odenet.NUMERICS", 0)
    assert place_of(lab.run, lab.Trial()).name != before
    monkeypatch.undo()
    Path(lab.helper.__file__).write_text(toy_lab.HELPER.replace("2 * x", "3 * x"))
    assert place_of(lab.run, lab.Trial()).name == before, "what is loaded is what runs"
    runner._code.cache_clear()
    assert place_of(lab.run, lab.Trial()).name != before


def test_comments_docstrings_and_other_modules_do_not_count(lab):
    before = place_of(lab.run, lab.Trial()).name
    helper = Path(lab.helper.__file__)
    helper.write_text(
        toy_lab.HELPER.replace("Twice x.", "Two times x.").replace("# exact", "# yes")
    )
    helper.with_name("unused.py").write_text("x = 2\n")
    runner._code.cache_clear()
    assert place_of(lab.run, lab.Trial()).name == before
    identity = place_of(lab.learn, lab.Trial()).identity
    assert list(identity["modules"]) == ["lab", "lab.experiment", "lab.helper"]


def test_a_trial_of_a_chapter_counts_its_training_and_data_and_not_the_library():
    known = place_of(spirals.run, spirals.Trial()).identity["modules"]
    used = {"replication.chapters.spirals.trials", "replication.training"}
    assert used | {"replication.data.spirals"} <= known.keys()
    assert not [name for name in known if name.startswith(("odenet", "replication.runner"))]
    assert not {"replication.style", "replication.device"} & known.keys()


def test_an_interrupted_trial_goes_on_in_its_folder(lab):
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial())
    outcome = run_trial(lab.stop, lab.Trial())
    assert outcome.result["calls"] == 2
    assert len(list(outcome.folder.parent.iterdir())) == 1


def test_a_damaged_result_is_computed_again(lab):
    outcome = run_trial(lab.run, lab.Trial())
    (outcome.folder / "result.json").write_text("{")
    again = run_trial(lab.run, lab.Trial())
    assert again.result["value"] == 6 and calls(again) == 2


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
    with pytest.raises(TypeError, match="functions of a module"):
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
    names = [place_of(lab.fail, trial).name for trial in trials]
    head = "1 of 3 trials failed; the others are finished and kept\n"
    assert str(raised.value) == f"{head}{names[0]}: ArithmeticError: seed 1 is not for me"
    told = capsys.readouterr().err
    assert f"{names[0]} FAILED" in told and "experiment.py" in told
    kept = [find(place_of(lab.fail, trial)) for trial in trials]
    assert kept[0] is None and kept[1] and kept[2]


def test_an_outcome_that_is_gone_leaves_no_gap_among_the_others(lab, monkeypatch):
    monkeypatch.setattr(runner, "find", lambda place, found=True: None)
    with pytest.raises(TrialError, match="1 of 1 trials failed.*\n.*: its result cannot be read"):
        run_trials(lab.run, [lab.Trial()])


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


@pytest.mark.slow
def test_local_processes_give_the_same_numbers_and_share_the_threads(
    lab, tmp_path, monkeypatch, capsys
):
    trials = [lab.Trial(seed=seed) for seed in (0, 1, 2, 2)]
    (Path(lab.__file__).parent / "go").touch()
    serial = run_trials(lab.learn, trials)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("ODENET_JOBS", "8")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    local = run_trials(lab.learn, trials)
    assert [outcome.result for outcome in local] == [outcome.result for outcome in serial]
    assert {outcome.evidence["threads"] for outcome in local} == {1}
    assert "done, 3 of 3" in capsys.readouterr().err


@pytest.mark.slow
def test_the_end_of_a_local_process_is_explained_and_leaves_what_had_finished(lab, monkeypatch):
    monkeypatch.setenv("ODENET_JOBS", "2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(TrialError, match="ended from outside.*give the same command again"):
        run_trials(lab.die, [lab.Trial(seed=seed) for seed in (0, 1)])
    assert find(place_of(lab.die, lab.Trial(seed=0)))


ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import lab.experiment as lab
import torch
torch.set_num_threads(2)
from replication.runner import run_trials
run_trials(lab.learn, [lab.Trial(seed=1), lab.Trial(seed=0)])
"""


@pytest.mark.slow
def test_local_processes_end_with_the_one_that_was_killed(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("ODENET_JOBS", "2")
    asking = subprocess.Popen([sys.executable, "-c", ASK, str(tmp_path)])
    toy_lab.until((tmp_path / "lab/pid").exists)
    asking.kill()
    asking.wait()
    stat = Path("/proc", (tmp_path / "lab/pid").read_text(), "stat")
    toy_lab.until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z")
    (tmp_path / "lab/go").touch()
    again = run_trials(lab.learn, [lab.Trial(seed=1)])
    assert calls(again[0]) == 2, "what the killed one had learnt was not lost"


# Published trials


def one_by_one(function, trials):
    return [run_trial(function, trial) for trial in trials]


@pytest.fixture(params=[run_trials, one_by_one])
def published(lab, tmp_path, monkeypatch, request):
    """The folder of the published trials, with one of them, and an empty cache."""
    monkeypatch.setenv("ODENET_TRIALS", str(tmp_path / "trials"))
    monkeypatch.setattr(runner, "KEPT_BYTES", 1_200)
    request.param(lab.learn, [lab.Trial()])
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "another"))
    return tmp_path / "trials"


def test_a_published_trial_is_found_with_its_small_files(lab, published):
    (folder,) = published.glob("experiment/*")
    assert {path.name for path in folder.iterdir()} == {"calls", "result.json", "trial.json"}
    (outcome,) = run_trials(lab.learn, [lab.Trial()])
    assert outcome.evidence["found"] and calls(outcome) == 1
    assert outcome.folder.parents[1].parent.name == "another", "models are loaded from the cache"


def test_where_nothing_may_train_a_trial_that_is_not_published_is_named(
    lab, published, monkeypatch
):
    monkeypatch.setenv("ODENET_TRAIN", "no")
    assert run_trials(lab.learn, [lab.Trial()])[0].evidence["found"]
    with pytest.raises(
        TrialError, match="1 of 2 trials.*\n.*ode-seed3-.* is not among the published trials"
    ):
        run_trials(lab.learn, [lab.Trial(), lab.Trial(seed=3)])


def test_only_what_the_records_name_stays_published(lab, published):
    name = place_of(lab.learn, lab.Trial()).name
    run_trials(lab.learn, [lab.Trial(seed=2)])
    assert len(list(published.glob("*/*"))) == 2
    sweep(published, [name])
    assert [str(path.relative_to(published)) for path in published.glob("*/*")] == [name]


# Evidence


def test_the_evidence_says_what_a_trial_cost_and_where_it_ran(lab):
    (outcome,) = run_trials(lab.run, [lab.Trial(size=7)])
    told = outcome.evidence
    assert told["trial"].startswith("experiment/ode-seed0-size7-") and told["found"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["started"])
    assert told["seconds"] >= 0 and told["peak_memory_mib"] > 100  # torch alone takes that
    assert told["device"] == "cpu" and "cores" in told["processor"] and "code_commit" in told
    assert told["threads"] == torch.get_num_threads() and told["torch"] == torch.__version__
    assert run_trial(lab.run, lab.Trial(size=7)).evidence == told | {"found": True}


def test_an_interrupted_part_counts_until_it_last_wrote(lab):
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial())
    folder = place_of(lab.stop, lab.Trial()).folder
    written = (folder / "calls").stat().st_mtime
    note = {"started": "2026-01-02T03:04:05+00:00", "seconds": 5000.0, "since": written - 100}
    (folder / "spent.json").write_text(json.dumps(note))
    told = run_trial(lab.stop, lab.Trial()).evidence
    assert told["started"] == note["started"] and 5100 <= told["seconds"] < 5160


@pytest.mark.parametrize("text", ["", '{"seconds": 1'])
def test_a_damaged_note_of_the_cost_does_not_stop_a_trial(lab, text):
    folder = place_of(lab.run, lab.Trial()).folder
    folder.mkdir(parents=True)
    (folder / "spent.json").write_text(text)
    assert run_trial(lab.run, lab.Trial()).evidence["seconds"] < 60


def test_a_notebook_tells_the_runner_and_shows_the_reader_nothing(lab, monkeypatch):
    shown = []
    monkeypatch.setattr(runner, "get_ipython", lambda: "a kernel")
    monkeypatch.setattr(runner, "display", lambda data, raw: shown.append(data))
    outcomes = run_trials(lab.run, [lab.Trial(size=size) for size in (1, 2, 1)])
    assert shown == [{TRIALS: [outcome.evidence for outcome in outcomes[:2]]}]
    json.dumps(shown)
