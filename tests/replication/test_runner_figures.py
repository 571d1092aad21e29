"""Published chapters are drawn anew from their kept trials, without training."""

import shutil

import pytest
import toy_clone
from toy_clone import job, notebook

from replication import __main__ as cli
from replication.runner.figures import changes

TRIALS = '''
"""A toy."""
from dataclasses import dataclass

@dataclass(frozen=True)
class Trial:
    name: str = "a"

def run(trial, folder):
    (folder / "weights.pt").write_bytes(b"w" * 10)
    return {"value": 4}
'''
TRAIN = """\
import toy
from replication.runner import report, run_trials
(outcome,) = run_trials(toy.run, [toy.Trial()])"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A tiny clone with one published chapter, whose trial is gone from the cache."""
    root = toy_clone.enter(toy_clone.make(tmp_path), monkeypatch)
    for stem in ("01_good", "02_fails", "10_summary"):
        (root / f"notebooks/{stem}.ipynb").unlink()
    (root / "notebooks/profiles/quick.yml").write_text("")
    (root / "toy.py").write_text(TRIALS)
    write(root, "print('old')")
    assert cli.main(["run", "--profile", "paper"]) == 0
    shutil.rmtree(root / ".cache")
    return root


def write(root, show, value="outcome.result['value']"):
    notebook(root / "notebooks/03_plain.ipynb", TRAIN, show, f"report(value={value})")


def published(root):
    return job(root, "03_plain", "paper")


@pytest.mark.slow
def test_figures_change_without_training_and_numbers_do_not(clone, capsys):
    (kept,) = (clone / "book/trials/toy").iterdir()
    assert {p.name for p in kept.iterdir()} == {"weights.pt", "trial.json", "result.json"}
    made = published(clone).kept()
    write(clone, "print('new')")
    assert published(clone).standing() == ("stale", ["cells"])
    assert cli.main(["figures", "--check"]) == 0
    assert published(clone).standing() == ("stale", ["cells"]), "only compared"
    assert cli.main(["figures"]) == 0
    assert "executed anew from its trials, no number changed" in capsys.readouterr().out
    assert "new" in published(clone).chapter.read_text()
    assert published(clone).standing() == ("fresh", [])
    again = published(clone).kept()
    assert again["provenance"] == made["provenance"] and again["trials"] == made["trials"]

    write(clone, "print('newer')", "outcome.result['value'] + 1")
    assert cli.main(["figures"]) == 1
    assert "value: 4 -> 5" in capsys.readouterr().out
    assert "newer" not in published(clone).chapter.read_text()

    shutil.rmtree(kept)
    shutil.rmtree(clone / ".cache")
    assert cli.main(["figures"]) == 1
    assert "is not among the published trials" in capsys.readouterr().out
    assert not list((clone / "book/_build").rglob("*.part.ipynb"))


def test_numbers_are_compared_as_they_are_printed():
    then = {"a": 1.0, "b": {"mean": 2.0, "low": 1.0, "high": 3.0, "n": 3}, "gone": 1}
    now = {"a": 1.0 + 1e-9, "b": then["b"] | {"low": 1.1}, "new": 2}
    assert changes(then, now) == [
        "b: 2 [1,\u00a03], n\u00a0=\u00a03 -> 2 [1.1,\u00a03], n\u00a0=\u00a03",
        "gone: 1 -> none",
        "new: none -> 2",
    ]
