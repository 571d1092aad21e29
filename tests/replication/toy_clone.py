"""A tiny clone for tests of the replication: notebooks, profiles, claims and a module."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import v4

from replication import __main__ as cli
from replication.runner.files import write
from replication.runner.jobs import Job, fingerprint, plan
from replication.runner.metrics import MIME
from replication.runner.profiles import Profile
from replication.runner.record import provenance

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PARAMETERS = """\
seed: int = 0  # first seed
seeds: int = 2  # number of seeds, at least 1
scale: float = 1.0  # of the gap, above 0
label: str = "a"  # of nothing
fast: bool = False  # does nothing
sizes: list[float] = [1.0, 2.0]  # of nothing, at most 9
"""
MODULE = (
    '"""A toy."""\n\ndef gap(seed, scale):\n    """Not zero."""\n    return scale * (seed + 1)\n'
)
MEASURE = """\
import toy
from replication.runner import estimate, report
gaps = [toy.gap(s, scale) for s in range(seed, seed + seeds)]
print("measured")"""
REPORT = "report(gap=estimate(gaps), n=seeds)"
# What `report(x=1)` shows, without the seconds that importing odenet takes.
BARE_REPORT = f'display({{"{MIME}": {{"x": 1}}}}, raw=True)'


def notebook(path: Path, *code: str, parameters: str = PARAMETERS) -> None:
    """The source notebook at `path` has a title, a parameters cell and these code cells."""
    cells = [v4.new_markdown_cell("# Title", id="title")]
    cells += [v4.new_code_cell(parameters, id="given", metadata={"tags": ["parameters"]})]
    cells += [v4.new_code_cell(text, id=f"cell-{place}") for place, text in enumerate(code)]
    write(path, nbformat.writes(v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})))


def make(root: Path) -> Path:
    """A clone at `root` with the notebooks 01_good, 02_fails, 03_plain and 10_summary."""
    notebook(root / "notebooks/01_good.ipynb", MEASURE, REPORT)
    notebook(root / "notebooks/02_fails.ipynb", "print('before')", "1 / 0")
    notebook(
        root / "notebooks/03_plain.ipynb", "from replication.runner import report", "report(x=1)"
    )
    records = 'records: str = "../book/records"  # where the records are\n'
    notebook(root / "notebooks/10_summary.ipynb", BARE_REPORT, parameters=records)
    write(root / "notebooks/profiles/quick.yml", "01_good: {scale: 3}\n")
    write(root / "book/claims.yml", "{topics: {}, claims: []}\n")
    write(root / "toy.py", MODULE)
    return root


def job(root: Path, stem: str = "01_good", profile: str = "quick", **given: object) -> Job:
    return plan(Profile(profile, root), [stem], given)[0]


def settle(job: Job, **metrics: object) -> None:
    """`job` looks as if it had just run and reported `metrics`."""
    write(job.chapter, nbformat.writes(job.source))
    record = {
        "notebook": job.stem,
        "profile": job.profile.name,
        "parameters": job.parameters,
        "fingerprint": fingerprint(job),
        "metrics": metrics,
        "provenance": provenance(job.profile.root, job.parameters),
    }
    write(job.record, json.dumps(record))


def code_of(root: Path) -> str:
    """Where the modules of the toy, and those of this clone that it uses, are found."""
    return os.pathsep.join((str(root), os.environ["PYTHONPATH"]))


def enter(root: Path, monkeypatch) -> Path:
    """The command line, called in this process, works on the clone at `root`."""
    monkeypatch.setattr(cli, "Profile", functools.partial(Profile, root=root))
    monkeypatch.setenv("PYTHONPATH", code_of(root))
    monkeypatch.setenv("ODENET_CACHE", str(root / ".cache"))
    return root


def start(root: Path, *arguments: str, within: Sequence[str] = ()) -> subprocess.Popen:
    """The command line on the clone at `root`, in a process group of its own, as a terminal would.

    A test suite that runs in the background ignores ctrl-C, and so would its children. `within` is
    a command that starts another.
    """
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import functools, pathlib, sys; from replication import __main__ as cli; "
        "cli.Profile = functools.partial(cli.Profile, root=pathlib.Path(sys.argv.pop(1))); "
        "sys.exit(cli.main())"
    )
    return subprocess.Popen(
        [*within, sys.executable, "-c", code, str(root), *arguments],
        env={**os.environ, "PYTHONPATH": code_of(root), "ODENET_CACHE": str(root / ".cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def command(root: Path, *arguments: str, within: Sequence[str] = ()) -> tuple[int, str]:
    """Exit status and output of the command line on the clone at `root`."""
    with start(root, *arguments, within=within) as process:
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


def folder(root: Path, profile: str = "quick") -> Path:
    return root / "book/_build" / profile


def chapter(root: Path, stem: str, profile: str = "quick") -> nbformat.NotebookNode:
    return nbformat.read(folder(root, profile) / f"chapters/{stem}.ipynb", as_version=4)
