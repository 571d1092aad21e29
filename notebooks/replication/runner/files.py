"""Files that are whole or absent: content digests, atomic writes, locks between processes."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


def digest(value: object) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write(path: Path, content: str | bytes) -> None:
    """`path` holds exactly `content`, or what it held before if anything fails on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = draft(path)
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def draft(path: Path) -> Path:
    """A name beside `path` that no process, thread or machine that shares the folder also takes."""
    return path.with_name(f".{path.name}.{uuid4().hex}")


def require_writable(*folders: Path) -> None:
    """Files can be written in each of `folders`, which exist now; else a ValueError."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            raise ValueError(
                f"cannot write to {folder}: {error.strerror}. What a run makes goes there: mend "
                "that, or work in a copy of the clone (and set ODENET_CACHE) where you may write"
            ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While open, no other process is inside a lock on `path`; waits for its turn and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = f"another process works on {path.parent.name}"
        print(f"{who}; waiting until it is done", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
