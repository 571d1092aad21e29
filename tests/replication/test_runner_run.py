"""The runner: refuses what cannot run, keeps what is done, and never touches the evidence."""

import functools
import json
import os
import re
import signal
import time

import nbformat
import pytest
import toy_clone
from toy_clone import chapter, command, folder, job, notebook, settle, start

import odenet
from replication import __main__ as cli
from replication.runner import record
from replication.runner.jobs import changes, fingerprint, plan
from replication.runner.parameters import typed
from replication.runner.profiles import Profile
from replication.runner.record import reported


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A tiny clone, used by the command line instead of the real one."""
    return toy_clone.enter(toy_clone.make(tmp_path), monkeypatch)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The status and output of one quick run of a tiny clone, and the clone."""
    root = toy_clone.make(tmp_path_factory.mktemp("clone"))
    return root, *command(root, "run", "--profile", "quick")


# Refused before anything runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["01_good", "-p", "scael=2"], "did you mean 'scale'? (known: fast, label, scale"),
        (
            ["01_good", "-p", "scale=two"],
            "scale cannot be 'two' (str). Its declaration: scale: float = 1.0  # of the gap",
        ),
        (["01_good", "-p", "scale=0"], "scale cannot be 0 (int). Its declaration: scale: float"),
        (["01_good", "-p", "scale=nan"], "scale cannot be 'nan' (str)"),
        (["01_good", "-p", "scale=1e999"], "scale cannot be inf (float)"),
        (["01_good", "-p", "seeds=0"], "# number of seeds, at least 1\n"),
        (["01_good", "-p", "seeds=-1"], "seeds cannot be -1 (int)"),
        (["01_good", "-p", "sizes=[2.0, 9.5]"], "sizes cannot be [2.0, 9.5] (list)"),
        (["01_good", "-p", "seed=1 seed=2"], "seed is given twice"),
        (["01_good", "-p", "seeds=1.5"], "seeds cannot be 1.5 (float)"),
        (["01_good", "-p", "seeds=true"], "seeds cannot be True (bool)"),
        (["01_good", "-p", "sizes=[]"], "sizes cannot be []"),
        (["01_good", "-p", "sizes=3"], "sizes cannot be 3 (int)"),
        (["01_good", "-p", "scale"], "name=value, not 'scale'"),
        (["01_god"], "unknown notebook '01_god'; did you mean '01_good'?"),
        (["--profile", "quik"], "did you mean 'quick'? (known: custom, paper, quick, smoke)"),
        (["--profile", "paper", "01_good", "-p", "seeds=1"], "the profile 'custom'"),
        (["-p", "seeds=1"], "one notebook"),
    ],
)
def test_wrong_input_is_refused(clone, capsys, arguments, message):
    assert cli.main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (clone / "book/_build").exists() or not list(folder(clone).rglob("*.ipynb"))


def test_a_profile_with_a_typo_is_refused(clone, capsys):
    (clone / "notebooks/profiles/quick.yml").write_text("01_good: {scael: 3}\n")
    assert cli.main(["run", "03_plain"]) == 2
    assert "did you mean 'scale'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("01_good: {scale: 3", "quick.yml is no YAML: while parsing a flow mapping"),
        ("01_good: 3", "must map notebooks to parameters, not 3"),
        ("[1]", "must map notebooks to parameters, not [1]"),
        ("01_good: {scale: 0}", "scale cannot be 0 (int)"),
        ("01_good: {scale: .nan}", "scale cannot be nan (float)"),
    ],
)
def test_a_profile_with_a_slip_is_refused_in_a_line(clone, capsys, profile, message):
    (clone / "notebooks/profiles/quick.yml").write_text(profile)
    assert cli.main(["run", "03_plain"]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_typed_values_are_python_or_text():
    text = "a=1e-3 b=true c=False d=x e=[1, 2.5] f=\"y z\" g=-1_000 h=../a=b i='c d=e' j=it's"
    expected = {"a": 1e-3, "b": True, "c": False, "d": "x", "e": [1, 2.5], "f": "y z", "g": -1000}
    expected |= {"h": "../a=b", "i": "c d=e", "j": "it's"}
    assert typed(text) == expected
    assert type(typed("a=1e-3")["a"]) is float and typed("  ") == {}


@pytest.mark.parametrize(
    "value", ["[1, 2", "'x", "@x", "*x", "&x", "%x", "[a]", "010", "1:30", "{[]: 1}", "[" * 999]
)
def test_a_value_that_cannot_be_read_is_refused_in_a_line(value):
    with pytest.raises(ValueError, match="write numbers and lists as Python does") as error:
        typed(f"b=1 a={value} c=2")
    assert str(error.value).startswith(f"a={value} cannot") and "\n" not in str(error.value)


# What is fresh, stale or missing


def test_nothing_changed_is_fresh_and_no_record_is_missing(clone, capsys):
    settle(job(clone))
    assert cli.main(["check"]) == 1
    *lines, advice = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["fresh", "missing", "missing", "missing"]
    assert advice == "3 of 4 not fresh. Run them with: make replicate PROFILE=quick"


def test_check_of_what_is_fresh_has_nothing_to_advise(clone, capsys):
    for plain in plan(Profile("quick", clone)):
        settle(plain)
    assert cli.main(["check"]) == 0
    assert "make" not in capsys.readouterr().out


def test_the_exit_status_of_check_is_documented(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "exit status 1 if not all fresh" in " ".join(capsys.readouterr().out.split())


def test_a_record_without_its_chapter_is_missing(clone):
    settle(job(clone))
    job(clone).chapter.unlink()
    assert job(clone).kept() is None


@pytest.mark.parametrize("file", ["chapter", "record"])
@pytest.mark.parametrize("damage", [b'{"cells": [', b"\xff\x00"])
def test_a_damaged_file_is_no_result(clone, capsys, file, damage):
    settle(job(clone))
    settle(job(clone, "10_summary"))
    getattr(job(clone), file).write_bytes(damage)
    assert cli.main(["check"]) == 1
    assert (
        "01_good                 stale     record or chapter damaged\n" in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_damaged_file_is_made_again(clone, capsys):
    notebook(clone / "notebooks/01_good.ipynb", toy_clone.BARE_REPORT)
    settle(job(clone))
    job(clone).record.write_text("{")
    assert cli.main(["run", "01_good"]) == 0
    assert "starts (record or chapter damaged)" in capsys.readouterr().out
    assert job(clone).standing() == ("fresh", [])


STALE = {
    "cells": lambda root: notebook(root / "notebooks/01_good.ipynb", toy_clone.MEASURE, "x = 1"),
    "module toy": lambda root: (root / "toy.py").write_text("def gap(seed, scale): return 1\n"),
    "scale: 3 -> 1.0": lambda root: (root / "notebooks/profiles/quick.yml").write_text(""),
}


@pytest.mark.parametrize("reason", STALE)
def test_a_change_of_substance_makes_stale_and_is_named(clone, capsys, reason):
    settle(job(clone))
    STALE[reason](clone)
    assert changes(job(clone), job(clone).kept()) == [reason]
    cli.main(["check"])
    assert f"01_good                 stale     {reason}\n" in capsys.readouterr().out


def test_the_number_of_the_librarys_results_makes_stale(clone, monkeypatch):
    settle(job(clone))
    monkeypatch.setattr("odenet.NUMERICS", 0)
    assert changes(job(clone), job(clone).kept()) == ["odenet.NUMERICS"]


@pytest.mark.parametrize("change", ["docstring", "comment", "layout", "prose", "unused default"])
def test_a_change_without_effect_leaves_fresh(clone, change):
    settle(job(clone))
    source, module = clone / "notebooks/01_good.ipynb", clone / "toy.py"
    if change == "docstring":
        module.write_text(toy_clone.MODULE.replace("Not zero", "Nonzero"))
    elif change == "comment":
        module.write_text("# new\n" + toy_clone.MODULE)
        notebook(source, "# new\n" + toy_clone.MEASURE, toy_clone.REPORT)
    elif change == "layout":
        module.write_text(toy_clone.MODULE.replace("scale * (seed + 1)", "scale * ( seed+1 )"))
    elif change == "prose":
        source.write_text(source.read_text().replace("# Title", "# Better title"))
    else:  # the profile says scale: 3
        default = toy_clone.PARAMETERS.replace("scale: float = 1.0", "scale: float = 2.0")
        notebook(source, toy_clone.MEASURE, toy_clone.REPORT, parameters=default)
    assert changes(job(clone), job(clone).kept()) == []


def test_a_summary_depends_on_claims_and_records(clone):
    summary = functools.partial(job, clone, "10_summary")
    settle(summary())
    assert summary().parameters["records"] == "../book/_build/quick/records"
    settle(job(clone), gap=1)
    assert changes(summary(), summary().kept()) == ["record 01_good"]
    settle(summary())
    STALE["module toy"](clone)
    assert changes(summary(), summary().kept()) == ["record 01_good"]
    settle(summary())
    (clone / "book/claims.yml").write_text("[] # new\n")
    assert changes(summary(), summary().kept()) == ["claims"]


def used(job):
    names = fingerprint(job)
    return [name.removeprefix("module ") for name in names if name.startswith("module ")]


def test_imports_are_followed_and_only_inside_the_clone(clone):
    assert used(job(clone)) == ["toy"]
    (clone / "toy.py").write_text("import other, numpy\ndef gap(seed, scale): return 1\n")
    (clone / "other.py").write_text("x = 1\n")
    code = toy_clone.MEASURE + "\nimport other"
    notebook(clone / "notebooks/01_good.ipynb", code, toy_clone.REPORT)
    assert used(job(clone)) == ["other", "toy"]


# One run in earnest


@pytest.mark.slow
def test_a_failure_is_told_and_the_others_still_run(ran):
    root, status, output = ran
    assert status == 1
    assert "[2/4] 02_fails  FAILED" in output and "ZeroDivisionError" in output
    assert "book/_build/quick/02_fails.failed.ipynb" in output
    assert "1 failed: 02_fails; the same command runs only what failed." in output
    for stem in ("01_good", "03_plain", "10_summary"):
        assert f"{stem}  done in" in output
    assert output.splitlines()[-1] in (folder(root) / "run.log").read_text().splitlines()[-1]


@pytest.mark.slow
def test_a_failure_leaves_its_copy_with_the_traceback_and_no_result(ran):
    root = ran[0]
    copy = nbformat.read(folder(root) / "02_fails.failed.ipynb", as_version=4)
    text = nbformat.writes(copy)
    assert "before" in text and '"ename": "ZeroDivisionError"' in text
    assert "Traceback" in text and copy.cells[-1].outputs[0].ename == "ZeroDivisionError"
    assert not list(folder(root).glob("*.part.ipynb"))
    assert not (folder(root) / "chapters/02_fails.ipynb").exists()


@pytest.mark.slow
def test_the_record_holds_what_was_reported_with_its_origin(ran):
    root = ran[0]
    kept = record.load(folder(root) / "records/01_good.json")
    assert kept["metrics"]["gap"]["values"] == [3.0, 6.0] and kept["metrics"]["n"] == 2
    assert kept["metrics"] == reported(chapter(root, "01_good"))
    assert kept["profile"] == "quick" and kept["parameters"]["scale"] == 3
    assert kept["provenance"]["seeds"] == [0, 1] and kept["provenance"]["seconds"] > 0


@pytest.mark.slow
def test_the_chapter_is_the_source_with_outputs_parameters_and_origin(ran):
    cells = chapter(ran[0], "01_good").cells
    assert [cell.id for cell in cells] == [
        *("title", "given", "injected-parameters", "cell-0", "cell-1", "provenance")
    ]
    assert cells[2].source.splitlines()[-1] == "scale = 3"
    assert cells[3].outputs[0].text == "measured\n"
    assert 'make notebook NB=01_good P="scale=3"' in cells[-1].source
    text = nbformat.writes(chapter(ran[0], "01_good"))
    assert "start_time" not in text and str(ran[0]) not in text


@pytest.mark.slow
def test_a_quick_run_leaves_the_evidence_alone(ran):
    root = ran[0]
    assert sorted(path.name for path in (root / "book").iterdir()) == ["_build", "claims.yml"]
    for name in ("quick", "smoke", "custom"):
        assert Profile(name, root).chapters.is_relative_to(folder(root, name))
        assert Profile(name, root).records.is_relative_to(folder(root, name))


@pytest.mark.slow
def test_the_log_is_plain_and_dated(ran):
    first = (folder(ran[0]) / "run.log").read_text().splitlines()[0]
    assert first[4] == "-" and first.endswith("[1/4] 01_good  starts (no result yet)")


@pytest.mark.slow
def test_a_second_run_skips_what_is_fresh_and_takes_new_prose(ran):
    root = ran[0]
    source = root / "notebooks/03_plain.ipynb"
    source.write_text(source.read_text().replace("# Title", "# Better title"))
    before = record.load(folder(root) / "records/03_plain.json")
    status, output = command(root, "run", "--profile", "quick", "01_good", "03_plain")
    assert status == 0 and output.count("is fresh, skipped") == 2
    assert chapter(root, "03_plain").cells[0].source == "# Better title"
    assert chapter(root, "03_plain").cells[-2].outputs
    assert record.load(folder(root) / "records/03_plain.json") == before


@pytest.mark.slow
def test_own_parameters_run_beside_the_profiles(clone, capsys):
    settle(job(clone), gap=1)
    assert cli.main(["run", "01_good", "-p", "seeds=1", "-p", "scale=0.5"]) == 0
    assert "book/_build/custom/chapters/01_good.ipynb" in capsys.readouterr().out
    metrics = record.load(folder(clone, "custom") / "records/01_good.json")["metrics"]
    assert metrics["gap"]["values"] == [0.5] and metrics["gap"]["low"] is None
    assert job(clone).kept()["metrics"] == {"gap": 1}


TRAINING = """\
import os, sys, time
from pathlib import Path
print("epoch 3", file=sys.stderr, flush=True)
Path("started").write_text(str(os.getpid()))
if not Path("finish").exists():
    time.sleep(60)"""


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(clone):
    notebook(clone / "notebooks/03_plain.ipynb", TRAINING, toy_clone.BARE_REPORT)
    with start(clone, "run", "03_plain") as process:
        kernel = clone / "notebooks/started"
        while not kernel.exists() or not kernel.read_text():
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        output = process.stdout.read()
        assert process.wait(30) == 130
    assert output.splitlines()[-1].startswith("Interrupted. What is finished is kept")
    assert "Traceback" not in output
    assert "epoch 3" in output, "what a notebook says of its progress is shown at once"
    with pytest.raises(ProcessLookupError):
        os.kill(int(kernel.read_text()), 0)
    assert not list(folder(clone).rglob("*.ipynb"))
    (clone / "notebooks/finish").touch()
    assert cli.main(["run", "03_plain"]) == 0


@pytest.mark.slow
def test_a_notebook_that_reports_nothing_fails(clone, capsys):
    notebook(clone / "notebooks/03_plain.ipynb", "1 + 1")
    assert cli.main(["run", "03_plain"]) == 1
    assert "calls report(...) once; this one did 0 times" in capsys.readouterr().out
    assert not job(clone, "03_plain").record.exists()


def test_what_runs_draws_or_solves_leaves_a_chapter_fresh_and_what_measures_does_not():
    (real,) = plan(Profile("smoke"), ["05_spirals"])
    assert {"replication.chapters.spirals.trials", "replication.training"} <= set(used(real))
    uncounted = r"(odenet|replication\.(runner|style|tables)|.*\.figures)(\.|$)"
    assert not [name for name in used(real) if re.match(uncounted, name)]
    assert fingerprint(real)["odenet.NUMERICS"] == odenet.NUMERICS


def test_the_real_profiles_can_be_planned():
    for name in ("smoke", "quick", "paper"):
        jobs = plan(Profile(name))
        assert json.dumps([job.parameters for job in jobs])
