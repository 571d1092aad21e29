"""What a trial cost and where it ran, also if it was interrupted on the way."""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from replication.runner.files import write
from replication.runner.machine import device, peak_memory_mib, processor

EVERY_S = 10.0  # so much of its time may an interrupted part leave unknown

Spent = dict[str, Any]  # started: ISO time of the first part; seconds; peak_memory_mb (MiB)


@contextmanager
def metered(path: Path) -> Iterator[Callable[[], Spent]]:
    """While open, a call tells what the trial cost until then, with the parts before this one.

    Those are known from the file `path`, which is kept up to date.
    """
    before, began = _known(path), time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    first: Spent = {"started": started, "seconds": 0.0, "peak_memory_mb": 0.0}

    def spent() -> Spent:
        known = first | before
        seconds = known["seconds"] + time.monotonic() - began
        memory = max(known["peak_memory_mb"], _peak_mib())
        return known | {"seconds": round(seconds, 2), "peak_memory_mb": round(memory, 1)}

    def note() -> None:
        with suppress(OSError):  # of a full disk the function itself will tell
            write(path, json.dumps(spent()))

    done = threading.Event()
    writer = threading.Thread(target=_repeat, args=(note, done), daemon=True)
    writer.start()
    try:
        yield spent
    finally:
        done.set()
        writer.join()
        note()


def _known(path: Path) -> Spent:
    """What earlier parts noted; empty where that cannot be read."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _repeat(note: Callable[[], None], done: threading.Event) -> None:
    note()
    while not done.wait(EVERY_S):
        note()


def _peak_mib() -> float:
    """The most memory that this process ever held."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux hands ru_maxrss on to the programs that a process starts, so its own record comes first.
    return peak_memory_mib(os.getpid()) or used / (2**20 if sys.platform == "darwin" else 2**10)


def evidence(name: str, spent: Spent) -> dict[str, Any]:
    """The line of a trial in the record of its chapter."""
    place = {"processor": processor(), "device": device(), "threads": torch.get_num_threads()}
    return {"trial": name, **spent, **place, "torch": version("torch")}
