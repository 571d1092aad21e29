"""A chapter is the same text whoever made it where and when; only its last cell tells that."""

import os
from pathlib import Path

import nbformat
import pytest
import toy_clone
from nbformat import v4
from toy_clone import chapter, job, notebook

from replication import __main__ as cli
from replication.runner import record
from replication.runner.chapter import portable, provenance_cell, publish, settled
from replication.runner.metrics import TRIALS

TRIAL = {
    "trial": "odenet-seed0",
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 5000.0,
    "peak_memory_mib": 812.5,
    "processor": "A processor (8 cores)",
    "device": "cuda (A card)",
    "threads": 4,
    "torch": "2.6.0",
    "code_commit": "0123456789abcdef",
    "found": True,
}
TALK = """\
import os, random, time, uuid, warnings
from pathlib import Path
import toy
for n in range(3):
    print("line", n, flush=True)
    time.sleep(random.random() / 10)
print("words", {"a set", "of", "words"}, object(), Path.home(), os.getcwd(), toy.__file__)
print("10 %\\r100 %")
warnings.warn("for the person who runs it")"""
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


@pytest.mark.slow
def test_runs_in_two_folders_differ_in_the_provenance_cell_only(clones, monkeypatch):
    texts = []
    for root in [clones[0], clones[0], clones[1]]:
        toy_clone.enter(root, monkeypatch)
        job(root, "03_plain").record.unlink(missing_ok=True)
        assert cli.main(["run", "03_plain"]) == 0
        texts.append(cells(root))
    assert texts[0] == texts[1] == texts[2]
    first = chapter(clones[0], "03_plain").cells[2].outputs
    assert [output.name for output in first] == ["stdout"]
    assert first[0].text.startswith("line 0\nline 1\nline 2\nwords {")
    assert " ~ ./notebooks ./toy.py\n100 %\n" in first[0].text
    for place in (str(clones[0]), str(Path.home())):
        assert place not in texts[0]
    kept = record.load(job(clones[0], "03_plain").record)
    assert [trial["trial"] for trial in kept["trials"]] == ["odenet-seed0"]
    executed = chapter(clones[0], "03_plain")
    shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert not any(TRIALS in output.get("data", {}) for output in shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/clone/odenet/ode.py:3", "./odenet/ode.py:3"),
        ("in '/clone'", "in '.'"),
        ("/clones/toy.py, a/clone/toy.py", "/clones/toy.py, a/clone/toy.py"),
        ("/data/cache/trials/x", "$ODENET_CACHE/trials/x"),
        (f"{Path.home()}/x {Path.home()}", "~/x ~"),
        ("<object object at 0x7f24f7e9fa90>", "<object object at 0x...>"),
        ("1/2 of https://example.org/clone/x", "1/2 of https://example.org/clone/x"),
    ],
)
def test_places_of_the_machine_have_names(monkeypatch, text, expected):
    monkeypatch.setenv("ODENET_CACHE", "/data/cache")
    assert portable(text, Path("/clone")) == expected


def test_messages_to_the_runner_do_not_reach_the_chapter():
    message = v4.new_output("display_data", {TRIALS: [TRIAL]})
    warning = v4.new_output("stream", name="stderr", text="careful")
    picture = v4.new_output("display_data", {"text/plain": "/clone/x", TRIALS: [TRIAL]})
    (left,) = settled([message, warning, picture], Path("/clone"))
    assert left.data == {"text/plain": "./x"}


def test_notes_of_an_editor_and_missing_ids_do_not_reach_the_chapter(tmp_path):
    toy = job(toy_clone.make(tmp_path))
    for cell in toy.source.cells:
        cell.metadata |= {"execution": {"iopub.status.busy": "2026-01-02"}, "scrolled": True}
        cell.pop("id")
    kept = made([])
    publish(toy, toy.source, kept)
    first = toy.chapter.read_text()
    assert "busy" not in first and "scrolled" not in first and '"parameters"' in first
    publish(toy, toy.source, kept)
    assert toy.chapter.read_text() == first


def made(trials: list[dict]) -> dict:
    return {
        "notebook": "01_good",
        "profile": "quick",
        "trials": trials,
        "provenance": record.provenance(Path(os.devnull).parent, {}) | {"seconds": 61.0},
    }


def origin(trials: list[dict]) -> str:
    return " ".join(provenance_cell(made(trials), {"seeds": 2}).source.split())


def test_the_last_cell_tells_when_where_and_how_long_the_trials_ran():
    later = TRIAL | {"started": "2026-02-03T00:00:00+00:00", "seconds": 2200.0, "found": False}
    assert (
        "Trials: 2, begun 2026-01-02 at commit `01234567`, 2 h 00 min in all, 1 of them done "
        "before. A processor (8 cores), device cuda (A card), threads: 4, torch 2.6.0."
    ) in origin([TRIAL, later])
    assert "Trials" not in origin([]) and "in 1 min 01 s." in origin([])
    assert 'Run it again: `make notebook NB=01_good P="seeds=2"`' in origin([])
