"""The cache can be listed and cleared: what was asked for, and nothing that is in use."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
import toy_lab

from replication import __main__ as cli
from replication.chapters.spirals import trials as spirals
from replication.runner import run_trial
from replication.runner.files import locked, write
from replication.runner.trials import inventory
from replication.runner.trials.entries import code, entry, shelf


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A cache with data and four trials: two finished, one damaged, one interrupted."""
    toy_lab.write(tmp_path)
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ODENET_PROGRESS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    lab = toy_lab.load()
    write(tmp_path / "cache/mnist/MNIST/raw/train", "digits")
    for seed in (0, 1, 2):
        run_trial(lab.run, lab.Trial(seed=seed))
    (place(lab, 2) / "calls").write_text("?")
    with pytest.raises(KeyboardInterrupt):
        run_trial(lab.stop, lab.Trial(seed=3))
    yield lab
    assert (tmp_path / "cache/mnist/MNIST/raw/train").read_text() == "digits"
    toy_lab.forget()


def place(lab, seed: int, function: str = "run") -> Path:
    return entry(lab.Trial(seed=seed), code(getattr(lab, function))).folder


def states() -> dict[str, str]:
    """Of all entries, by their names without experiment and digest."""
    return {
        item.name.partition("/")[2].rpartition("-")[0]: item.state for item in inventory.items()
    }


def outdate(**changes) -> Path:
    """An entry of a real experiment, but for these changes of what its result depends on."""
    place = entry(spirals.Trial(), code(spirals.run))
    with locked(place.folder / "lock"):
        write(place.folder / "trial.json", json.dumps(place.identity | changes))
    return place.folder


def test_the_list_shows_each_entry_and_the_sum(lab, capsys):
    kept = place(lab, 0)
    for path in kept.iterdir():
        os.utime(path, (time.time() - 3 * 86400,) * 2)
    assert cli.main(["cache"]) == 0
    head, *lines, total, where = capsys.readouterr().out.splitlines()
    assert head.split() == ["entry", "state", "size", "age"]
    assert lines[0].split() == [f"experiment/{kept.name}", "finished", "0.0", "MB", "3", "days"]
    assert [line.split()[1] for line in lines] == ["finished", "finished", "damaged", "unfinished"]
    assert total == "4 entries, 0.0 MB: 2 finished, 1 unfinished, 1 damaged"
    assert str(shelf()) in where


def test_the_size_is_that_of_all_files(lab):
    (place(lab, 0) / "weights.pt").write_bytes(bytes(3_000_000))
    sizes = [item.size for item in inventory.items()]
    assert 3e6 < sizes[0] < 3.1e6 and max(sizes[1:]) < 1e5


def test_an_empty_cache_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ODENET_CACHE", str(tmp_path / "none"))
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out.startswith("0 entries")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "changes", [{"torch": "1.0.0"}, {"format": 1}, {"modules": {"odenet.ode": "other"}}]
)
def test_what_no_trial_will_ask_for_again_is_outdated(lab, changes):
    outdate()
    assert states()["latent_ode-seed0"] == "unfinished"
    outdate(**changes)
    assert states()["latent_ode-seed0"] == "outdated"


def test_nothing_is_removed_without_yes(lab, capsys):
    before = states()
    assert cli.main(["cache", "clear", "experiment"]) == 2
    shown = capsys.readouterr()
    assert "4 entries" in shown.out and "nothing removed: give --yes" in shown.err
    assert states() == before


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["experiment"], []),
        (["*"], []),
        (["experiment/ode-seed[01]-*"], ["ode-seed2", "ode-seed3"]),
        (["*seed0*", "*seed3*"], ["ode-seed1", "ode-seed2"]),
        (["--state", "damaged"], ["ode-seed0", "ode-seed1", "ode-seed3"]),
        (["*seed[23]*", "--state", "unfinished"], ["ode-seed0", "ode-seed1", "ode-seed2"]),
    ],
)
def test_what_is_asked_for_is_removed_and_only_that(lab, capsys, arguments, left):
    assert cli.main(["cache", "clear", *arguments, "--yes"]) == 0
    assert list(states()) == left
    assert f"Removed {4 - len(left)} entries" in capsys.readouterr().out
    assert len(list((shelf() / "experiment").iterdir())) == len(left)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which entries: an experiment, a pattern"),
        (["experimen"], "no entry fits 'experimen' (experiments: experiment)"),
        (["--state", "outdated"], "no entry fits any name in the state 'outdated'"),
        (["mnist"], "no entry fits 'mnist'"),
        (["../mnist"], "no entry fits '../mnist'"),
    ],
)
def test_a_request_that_fits_nothing_is_refused(lab, capsys, arguments, message):
    assert cli.main(["cache", "clear", *arguments, "--yes"]) == 2
    assert message in capsys.readouterr().err
    assert len(states()) == 4


def test_an_unknown_state_is_refused(lab, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["cache", "clear", "--state", "broken"])
    assert ended.value.code == 2 and "invalid choice: 'broken'" in capsys.readouterr().err


def test_an_entry_that_a_process_works_on_stays(lab, capsys):
    """The lock is between open files, so this process can stand for another one."""
    with locked(place(lab, 1) / "lock"):
        assert states()["ode-seed1"] == "running"
        assert cli.main(["cache", "clear", "*", "--yes"]) == 1
    assert "Kept, because a process works on it: experiment/ode-seed1-" in capsys.readouterr().out
    assert states() == {"ode-seed1": "finished"}


def test_who_waits_for_an_entry_that_is_removed_begins_anew(lab):
    """Whoever waits for the lock holds an open file of a folder that is no more."""
    folder, waiting = place(lab, 0), threading.Event()
    inside = []

    def wait():
        waiting.set()
        with locked(folder / "lock"):
            inside.append((folder / "lock").exists())

    with locked(folder / "lock"):
        other = threading.Thread(target=wait)
        other.start()
        waiting.wait()
        time.sleep(0.2)  # it most probably waits by now; if not, the test still holds
        folder.rename(folder.with_name("gone"))
    other.join()
    assert inside == [True]
