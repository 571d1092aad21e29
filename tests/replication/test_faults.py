"""Whatever goes wrong: nothing finished is lost, nothing half-written is taken for finished.

And the message says what to do. Each fault is a real one: real signals, a real full device.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
import toy_clone
from toy_clone import BARE_REPORT, command, folder, job, notebook, start

from replication import __main__ as cli
from replication.runner import files

# Tells its process and that of a child; goes on when the test lets it.
WAIT = """\
import os, subprocess, time
from pathlib import Path
print("begun")
child = subprocess.Popen(["sleep", "600"])
Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
Path("pids.part").rename("pids")
for _ in range(2400):  # two minutes
    if Path("go on").exists():
        break
    time.sleep(0.05)
child.kill()"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A tiny clone with 01_good, which is quick, and 03_plain, which waits."""
    root = toy_clone.enter(toy_clone.make(tmp_path), monkeypatch)
    for stem in ("02_fails", "10_summary"):
        (root / f"notebooks/{stem}.ipynb").unlink()
    notebook(root / "notebooks/01_good.ipynb", BARE_REPORT)
    notebook(root / "notebooks/03_plain.ipynb", WAIT, BARE_REPORT)
    yield root
    for pid in pids(root):  # of a test that failed
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids(root: Path) -> list[int]:
    path = root / "notebooks/pids"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def until(condition, process: subprocess.Popen | None = None) -> None:
    """Returns when `condition` holds; fails after a minute, or when `process` has ended."""
    for _ in range(600):
        if condition():
            return
        assert process is None or process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    pytest.fail("waited for a minute in vain")


def running(pid: int) -> bool:
    """Whether the process still works; one that nobody has asked for its status does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def partial(root: Path, stem: str = "03_plain") -> str:
    """What a notebook that failed did, as its copy holds it."""
    return nbformat.writes(nbformat.read(folder(root) / f"{stem}.failed.ipynb", as_version=4))


@pytest.mark.slow
def test_a_killed_runner_leaves_no_kernel_and_what_was_finished(clone, capsys):
    with start(clone, "run") as process:
        until(lambda: pids(clone), process)
        process.kill()
    until(lambda: not running(pids(clone)[0]))
    assert job(clone).standing() == ("fresh", [])
    assert job(clone, "03_plain").standing() == ("missing", ["no result yet"])
    (clone / "notebooks/go on").touch()
    assert cli.main(["run"]) == 0
    output = capsys.readouterr().out
    assert "01_good  is fresh, skipped" in output and "03_plain  done" in output
    assert not list(folder(clone).glob("*.part.ipynb"))


@pytest.mark.slow
def test_a_kernel_that_dies_is_told_with_what_to_do(clone, capsys):
    (clone / "notebooks/go on").touch()
    notebook(clone / "notebooks/03_plain.ipynb", WAIT, "os.kill(os.getpid(), 9)", BARE_REPORT)
    assert cli.main(["run"]) == 1
    output = capsys.readouterr().out
    assert "the kernel was killed or crashed" in output and "1 failed: 03_plain" in output
    assert "when memory runs out" in output and "begun" in partial(clone)
    assert job(clone).standing()[0] == "fresh" and not job(clone, "03_plain").record.exists()


@pytest.mark.slow
def test_a_notebook_past_its_limit_is_stopped_and_the_next_one_runs(clone, capsys):
    (clone / "notebooks/01_good.ipynb").rename(clone / "notebooks/04_good.ipynb")
    (clone / "notebooks/profiles/quick.yml").write_text("")
    assert cli.main(["run", "--limit", "5"]) == 1
    output = capsys.readouterr().out
    assert "03_plain  FAILED" in output and "a cell was stopped at the limit of 5 s" in output
    assert "give the same command again, with a larger limit" in output
    assert "03_plain.failed.ipynb" in output and "04_good  done" in output
    assert "begun" in partial(clone)
    until(lambda: not any(map(running, pids(clone))))
    (clone / "notebooks/go on").touch()
    assert cli.main(["run", "--limit", "120"]) == 0
    assert not (folder(clone) / "03_plain.failed.ipynb").exists()


@pytest.mark.parametrize("limit", ["0", "-1", "soon", "nan"])
def test_a_limit_that_is_no_time_is_refused(clone, capsys, limit):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", f"--limit={limit}"])
    assert "--limit" in capsys.readouterr().err


@pytest.mark.slow
def test_two_runs_at_once_the_second_waits_and_finds_the_results(clone):
    with start(clone, "run") as process:
        until(lambda: pids(clone), process)
        with start(clone, "run") as second:
            assert second.stdout.readline() == (
                "another process works on quick; waiting until it is done\n"
            )
            (clone / "notebooks/go on").touch()
            first = process.stdout.read()
            assert second.stdout.read().count("is fresh, skipped") == 2
    assert process.returncode == 0 and first.count("done in") == 2


def full(monkeypatch, *paths: Path) -> None:
    """The next `write` of each of `paths` by this process goes to a device that is full."""
    waiting, draft = set(paths), files.draft

    def onto_full_disk(path: Path) -> Path:
        part = draft(path)
        if path in waiting:
            waiting.remove(path)
            part.symlink_to("/dev/full")
        return part

    monkeypatch.setattr(files, "draft", onto_full_disk)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.slow
def test_a_full_disk_keeps_the_old_record_and_starts_nothing_else(clone, capsys, monkeypatch):
    assert cli.main(["run", "01_good"]) == 0
    before = job(clone).record.read_text()
    notebook(clone / "notebooks/01_good.ipynb", "x = 1", BARE_REPORT)
    full(monkeypatch, job(clone).record)
    capsys.readouterr()
    assert cli.main(["run"]) == 1
    output = capsys.readouterr().out
    assert "01_good  FAILED" in output and "No space left on device" in output
    assert "The disk is full: make room, then give the same command again." in output
    assert "2 failed: 01_good, 03_plain" in output and "03_plain  starts" not in output
    assert job(clone).record.read_text() == before
    assert job(clone).standing() == ("stale", ["cells"])
    assert cli.main(["run", "01_good"]) == 0 and job(clone).standing()[0] == "fresh"


@pytest.mark.slow
def test_a_disk_that_fills_in_a_notebook_stops_the_run_too(clone, capsys):
    notebook(clone / "notebooks/01_good.ipynb", "open('/dev/full', 'w', 1).write('x\\n')")
    assert cli.main(["run"]) == 1
    output = capsys.readouterr().out
    assert "OSError: [Errno 28] No space left on device" in output
    assert "The disk is full" in output and "03_plain  starts" not in output
    assert "No space left" in partial(clone, "01_good") and "Traceback" in partial(clone, "01_good")


@pytest.mark.parametrize("place", ["book/_build", "book/_build/quick/records", ".cache"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(clone, capsys, place):
    (clone / place).parent.mkdir(parents=True, exist_ok=True)
    (clone / place).write_text("a file where a folder must be")
    assert cli.main(["run"]) == 2
    message = capsys.readouterr().err
    assert f"cannot write to {clone / place}" in message and "copy of the clone" in message
    assert not list((clone / "book").rglob("*.ipynb"))


@pytest.mark.slow
def test_a_read_only_checkout_can_be_checked_but_not_run(clone):
    within = read_only(clone)
    status, output = command(clone, "check", within=within)
    assert status == 1 and output.count("missing") == 2
    status, output = command(clone, "run", within=within)
    assert status == 2 and "Traceback" not in output
    assert f"cannot write to {folder(clone)}: " in output and "copy of the clone" in output


def read_only(root: Path) -> list[str]:
    """Nobody can write to `root`, or at least no command that starts with the returned words."""
    if os.geteuid():
        for path in [*filter(Path.is_dir, root.rglob("*")), root]:
            path.chmod(0o555)
        return []
    # Permissions do not bind root, but a mount does, which only the command itself sees.
    mount = f"mount --bind '{root}' '{root}' && mount -o remount,ro,bind '{root}'"
    within = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*within, "true"]).returncode:
        pytest.skip("root without the right to mount has no read-only folder")
    return within
