"""What the runner tells a person: lines in the terminal and in a log, live bars from the kernel."""

import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger("replication.runner")
EVERY_S = 30.0  # how often a bar that is still moving leaves a line in the log


class _File(logging.FileHandler):
    """A log that may miss lines on a full disk; the terminal shows them all."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While open, what goes to LOG is shown on stdout and appended, with the time, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal, file = logging.StreamHandler(sys.stdout), _File(path)
    file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    if sys.stdout.isatty():  # there the bar itself is seen moving
        terminal.addFilter(lambda line: not getattr(line, "moving", False))
    LOG.setLevel(logging.INFO)
    LOG.handlers = [terminal, file]
    try:
        yield
    finally:
        LOG.handlers = []
        file.close()


@contextmanager
def forwarded(label: str) -> Iterator[dict[str, str]]:
    """While open, what a kernel writes to the file in the yielded environment reaches LOG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "progress")
        path.touch()
        done = threading.Event()
        follower = threading.Thread(target=_follow, args=(path, label, done))
        follower.start()
        try:
            yield {"ODENET_PROGRESS": str(path)}
        finally:
            done.set()
            follower.join()


def _follow(path: Path, label: str, done: threading.Event) -> None:
    """Read `path` as it grows: `\\n` ends a line, `\\r` starts the current one again."""
    rest, noted, last = "", time.monotonic(), False
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        while not last:
            last = done.wait(0.5)
            *lines, rest = (rest + file.read()).split("\n")
            frames = [line.rpartition("\r")[2].strip() for line in [*lines, rest]]
            for frame in filter(None, frames if last else frames[:-1]):
                _draw("")
                LOG.info("%s | %s", label, frame)
            if frames[-1] and not last:
                _draw(f"{label} | {frames[-1]}")
                if time.monotonic() - noted > EVERY_S:
                    noted = time.monotonic()
                    LOG.info("%s | %s", label, frames[-1], extra={"moving": True})


def _draw(line: str) -> None:
    """On a terminal, the line at the cursor is `line`."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end="", flush=True)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """While open, `values` are in the environment, for the kernels started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})


def duration(seconds: float) -> str:
    """`seconds` for people: `41 s`, `12 min 05 s`, `3 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
