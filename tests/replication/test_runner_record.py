"""What a notebook reports comes back as it was, and says where it came from."""

import json
import math
import subprocess

import numpy as np
import pytest
from nbformat import v4
from scipy import stats

from replication.runner import estimate, report
from replication.runner.files import write
from replication.runner.metrics import MIME, shown
from replication.runner.record import load, provenance, reported


@pytest.fixture
def notebook(monkeypatch):
    """An executed notebook whose cell shows what is passed to `display` meanwhile."""
    cell = v4.new_code_cell("report(...)")

    def display(bundle, raw):
        assert raw
        bundle = json.loads(json.dumps(bundle))
        cell.outputs.append(v4.new_output("display_data", bundle))

    monkeypatch.setattr("replication.runner.metrics.display", display)
    return v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), cell])


@pytest.mark.parametrize("n", [2, 3, 40])
def test_the_interval_is_students(n):
    values = [0.1 * k * k for k in range(n)]
    found = estimate(values)
    low, high = stats.t.interval(0.95, n - 1, loc=found["mean"], scale=stats.sem(values))
    assert found["low"] == pytest.approx(low, rel=1e-6)
    assert found["high"] == pytest.approx(high, rel=1e-6)
    assert found["n"] == n and found["values"] == values


def test_one_value_has_no_interval():
    assert estimate([2]) == {"mean": 2.0, "low": None, "high": None, "n": 1, "values": [2.0]}


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


def test_metrics_come_back_as_reported(notebook):
    metrics = {"gap": estimate([0.1, 0.3]), "n": 2, "tiny": 1e-12}
    report(**metrics, not_measured=None)
    assert reported(notebook) == metrics
    bundle = notebook.cells[1].outputs[0].data
    assert "| `gap` | 0.2 [-1.07,\u00a01.47], n\u00a0=\u00a02 |" in bundle["text/markdown"]
    assert "tiny" in bundle["text/plain"] and MIME in bundle


OWN = {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 9, "interval": "bootstrap over images"}


def test_ratios_have_a_geometric_mean_with_bounds_above_zero():
    logs = estimate([-1.0, 0.0, 2.0])
    found = estimate(np.exp([-1.0, 0.0, 2.0]), scale="log")
    assert [found[key] for key in ("mean", "low", "high")] == pytest.approx(
        [math.exp(logs[key]) for key in ("mean", "low", "high")]
    )
    assert estimate([4], scale="log")["mean"] == pytest.approx(4)
    with pytest.raises(ValueError, match="on a log scale all values are above 0, not -1"):
        estimate([1, -1], scale="log")
    with pytest.raises(ValueError, match="linear or log, not 'share'"):
        estimate([1], scale="share")


def test_an_interval_of_its_own_is_reported_with_its_name(notebook):
    report(x=OWN)
    assert reported(notebook) == {"x": OWN}
    assert shown(OWN) == "1.5 [1,\u00a02], n\u00a0=\u00a09, bootstrap over images"


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), "3", estimate([float("nan")])),
        *(OWN | {"high": float("inf")}, {"interval": "bootstrap"}, {"mean": 1.0, "n": 3}),
    ],
)
def test_only_finite_numbers_are_reported(notebook, value):
    with pytest.raises(ValueError, match="metric x must be a finite number"):
        report(x=value)


def test_a_notebook_without_a_report_is_refused(notebook):
    with pytest.raises(ValueError, match="did 0 times"):
        reported(notebook)
    report(x=1)
    report(x=2)
    with pytest.raises(ValueError, match="did 2 times"):
        reported(notebook)


def test_numbers_are_shown_to_three_digits():
    assert shown(0.12345) == "0.123"
    assert [shown(x) for x in (999.7, -1023.0, 3.2e6, 4.812e-6)] == [
        "1000",
        "-1020",
        "3.2e+06",
        "4.81e-06",
    ]
    assert shown(estimate([1.5])) == "1.5, n\u00a0=\u00a01"
    assert shown(estimate([1.0, 1.0])) == "1, n\u00a0=\u00a02"


def git(root, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_provenance_tells_commit_changes_and_seeds(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    write(tmp_path / "book/records/01.json", "{}")
    clean = provenance(tmp_path, {"seed": 3, "seeds": 2})
    first = clean["code_commit"]
    assert len(first) == 40 and clean["seeds"] == [3, 4]
    assert not clean["dirty"], "the evidence that the runner writes is no local change"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "evidence")
    assert provenance(tmp_path, {})["code_commit"] == first, "a commit of evidence is no other code"
    (tmp_path / "code.py").write_text("x = 2\n")
    assert provenance(tmp_path, {})["dirty"]
    assert {"torch", "numpy"} <= clean["versions"].keys() and clean["threads"] >= 1


def test_provenance_does_without_git(tmp_path):
    assert provenance(tmp_path, {})["code_commit"] is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_record_is_absent_or_whole(tmp_path):
    path = tmp_path / "record.json"
    assert load(path) is None
    path.write_text('{"metrics": {')
    with pytest.raises(ValueError, match="damaged"):
        load(path)
