"""A chapter is the same text whoever made it where and when; only its last cell tells that."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
import toy_clone
from nbformat import v4
from toy_clone import chapter, job, notebook

from replication import __main__ as cli
from replication.runner import record
from replication.runner.chapter import provenance_cell, publish
from replication.runner.metrics import TRIALS
from replication.runner.outputs import portable, settled

TRIAL = {
    "trial": "odenet-seed0",
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 5000.0,
    "peak_memory_mb": 812.5,
    "processor": "A processor (8 cores)",
    "device": "cuda (A card)",
    "threads": 4,
    "torch": "2.6.0",
    "found": True,
}
TALK = """\
import os, random, sys, time, uuid, warnings
from pathlib import Path
import toy
for n in range(3):
    print("line", n, flush=True)
    time.sleep(random.random() / 10)
print("words", {"a set", "of", "words"}, object(), Path.home(), os.getcwd(), toy.__file__)
print("10 %\\r100 %")
len(b"x" * 300 * 2**20)
warnings.warn("from a cell")
warnings.warn_explicit("from a module", UserWarning, toy.__file__, 1)"""
SHOW = f"""\
display({{"application/vnd.jupyter.widget-view+json": {{"model_id": uuid.uuid4().hex}},
          "text/plain": "a widget"}}, raw=True)
display({{"{TRIALS}": [{{**{TRIAL!r}, "seconds": time.time()}}]}}, raw=True)
Path("toy").resolve()"""


@pytest.fixture
def clones(tmp_path, monkeypatch):
    """Two clones in different folders, each with a notebook that talks about where it is."""
    roots = [toy_clone.make(tmp_path / name) for name in ("here", "there/and_deeper")]
    for root in roots:
        notebook(root / "notebooks/03_plain.ipynb", TALK, SHOW, toy_clone.BARE_REPORT)
    return roots


def cells(root: Path) -> str:
    """The chapter as it lies on disk, without its provenance cell."""
    executed = chapter(root, "03_plain")
    assert executed.cells.pop().metadata.tags == ["provenance"]
    return nbformat.writes(executed)


def test_runs_in_two_folders_differ_in_the_provenance_cell_only(clones, monkeypatch):
    texts = []
    for root in [clones[0], clones[0], clones[1]]:
        toy_clone.enter(root, monkeypatch)
        job(root, "03_plain").record.unlink(missing_ok=True)
        assert cli.main(["run", "03_plain"]) == 0
        texts.append(cells(root))
    assert texts[0] == texts[1] == texts[2]
    first = chapter(clones[0], "03_plain").cells[2].outputs
    assert [output.name for output in first] == ["stdout", "stderr"]
    assert first[0].text.startswith("line 0\nline 1\nline 2\nwords {")
    assert " ~ notebooks toy.py\n100 %\n" in first[0].text
    assert first[1].text.startswith("cell:10: UserWarning: from a cell")
    assert "toy.py:1: UserWarning: from a module" in first[1].text
    for place in (str(clones[0]), str(Path.home()), sys.prefix, tempfile.gettempdir()):
        assert place not in texts[0]
    kept = record.load(job(clones[0], "03_plain").record)
    assert [trial["trial"] for trial in kept["trials"]] == ["odenet-seed0"]
    assert kept["provenance"]["peak_memory_mib"] > 300
    executed = chapter(clones[0], "03_plain")
    shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not any(TRIALS in output.get("data", {}) for output in shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/clone/odenet/ode.py:3: UserWarning: x", "odenet/ode.py:3: UserWarning: x"),
        ("in '/clone'", "in '.'"),
        ("\x1b[32m/clone/toy.py\x1b[39m", "\x1b[32mtoy.py\x1b[39m"),
        ("/clones/toy.py, a/clone/toy.py", "/clones/toy.py, a/clone/toy.py"),
        (f"{sys.prefix}/lib/site.py", "$ENV/lib/site.py"),
        ("/data/cache/trials/x", "$ODENET_CACHE/trials/x"),
        (f"{Path.home()}/x {Path.home()}", "~/x ~"),
        ("/tmp/ipykernel_123/456.py:7: UserWarning", "cell:7: UserWarning"),
        ("<object object at 0x7f24f7e9fa90>", "<object object at 0x...>"),
        ("1/2 of https://example.org/clone/x", "1/2 of https://example.org/clone/x"),
    ],
)
def test_places_of_the_machine_have_names(monkeypatch, text, expected):
    monkeypatch.setenv("ODENET_CACHE", "/data/cache")
    assert portable(text, Path("/clone")) == expected


def test_pictures_are_left_alone_and_tracebacks_are_not():
    picture = v4.new_output(
        "display_data", {"image/png": "aa/clone/bb", "image/svg+xml": "/clone/x"}
    )
    error = v4.new_output("error", ename="E", evalue="/clone/x", traceback=["/clone/y"])
    first, second = settled([picture, error], Path("/clone"))
    assert first.data == {"image/png": "aa/clone/bb", "image/svg+xml": "x"}
    assert second.evalue == "x" and second.traceback == ["y"]


def test_a_stream_is_in_one_piece_whatever_was_shown_to_the_runner_meanwhile():
    message = v4.new_output("display_data", {TRIALS: [TRIAL]})
    picture = v4.new_output("display_data", {"text/plain": "a picture"})
    parts = [v4.new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n", "c\n")]
    first, second, third = settled([parts[0], message, parts[1], picture, parts[2]], Path("/clone"))
    assert first.text == "a\nb\n" and second.data == picture.data and third.text == "c\n"


def test_notes_of_an_editor_and_missing_ids_do_not_reach_the_chapter(tmp_path):
    toy = job(toy_clone.make(tmp_path))
    for cell in toy.source.cells:
        cell.metadata |= {"execution": {"iopub.status.busy": "2026-01-02"}, "scrolled": True}
        cell.pop("id")
    publish(toy, toy.source)
    first = toy.chapter.read_text()
    assert "2026" not in first and "scrolled" not in first and '"parameters"' in first
    publish(toy, toy.source)
    assert toy.chapter.read_text() == first


def origin(trials: list[dict], **own: object) -> str:
    toy = {
        "notebook": "01_good",
        "profile": "quick",
        "trials": trials,
        "provenance": record.provenance(Path(os.devnull).parent, {}) | {"seconds": 61.0},
    }
    return provenance_cell(toy, own).source


def test_the_last_cell_tells_when_where_and_how_long_the_trials_ran():
    later = TRIAL | {"started": "2026-02-03T00:00:00+00:00", "seconds": 2200.0, "found": False}
    assert (
        "Trials: 2, begun 2026-01-02 to 2026-02-03, 2 h 00 min in all, 1 of them taken from the "
        "cache. A processor (8 cores), device cuda (A card), threads: 4, torch 2.6.0."
    ) in origin([TRIAL, later])
    assert "begun 2026-01-02, 1 h 23 min" in origin([TRIAL])
    assert "Trials" not in origin([]) and "in 1 min 01 s." in origin([])
