"""Files that are whole or absent: content digests, atomic writes, locks between processes."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def digest(value: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write(path: Path, text: str) -> None:
    """`path` holds exactly `text`, or what it held before if anything fails on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While open, no other process is inside a lock on `path`; waits for its turn and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process works on {path.parent.name}; waiting until it is done")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """`line` is in the file that the runner forwards (ODENET_PROGRESS), or else on stderr."""
    if progress := os.environ.get("ODENET_PROGRESS"):
        with open(progress, "a", encoding="utf-8") as file:
            print(line, file=file)
    else:
        print(line, file=sys.stderr)
