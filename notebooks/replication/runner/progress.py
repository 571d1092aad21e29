"""What the runner tells a person: lines on the terminal and in a log."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger("replication.runner")


class _File(logging.FileHandler):
    """A log that may miss lines on a full disk; the terminal shows them all."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While open, what goes to LOG is shown on stdout and appended, with the time, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _File(path)
    file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler(sys.stdout), file]
    try:
        yield
    finally:
        LOG.handlers = []
        file.close()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """While open, `values` are in the environment, for the processes started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def duration(seconds: float) -> str:
    """`seconds` for people: `41 s`, `12 min 05 s`, `3 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
