"""Files that are whole or absent: content digests, atomic writes, locks between processes."""

import fcntl
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4


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
    handle = None
    while handle is None:  # a folder that was removed while we waited is made again
        handle = _locked(path)
    with handle:
        yield


def _locked(path: Path) -> TextIO | None:
    """The file at `path`, locked; None if it was removed meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = path.open("a")
    except FileNotFoundError:
        return None
    if not _try_lock(handle):
        say(f"another process works on {path.parent.name}; waiting until it is done")
        fcntl.flock(handle, fcntl.LOCK_EX)
    if _is_at(handle, path):
        return handle
    handle.close()
    return None


@contextmanager
def locked_now(path: Path) -> Iterator[bool]:
    """As `locked`, but yields False where it would have to wait, and where there is no file."""
    if not path.is_file():
        yield False
        return
    with path.open("a" if os.access(path, os.W_OK) else "r") as handle:
        yield _try_lock(handle) and _is_at(handle, path)


def _try_lock(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"{error.strerror}: files cannot be locked there; set ODENET_CACHE to a folder"
        raise OSError(error.errno, f"{message} on another file system", handle.name) from error
    return True


def _is_at(handle: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def say(line: str) -> None:
    """`line` is in the file that the runner forwards (ODENET_PROGRESS), or else on stderr."""
    if progress := os.environ.get("ODENET_PROGRESS"):
        with open(progress, "a", encoding="utf-8") as file:
            print(line, file=file)
    else:
        print(line, file=sys.stderr)
