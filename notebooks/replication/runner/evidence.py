"""What a trial cost and where it ran, also if it was interrupted on the way."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from replication.runner.files import write
from replication.runner.machine import code_commit, device, peak_memory_mib, processor

SPENT = "spent.json"


@contextmanager
def metered(name: str, folder: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """While open, a call gives the trial's line in the record of its chapter.

    `seconds` has the parts that were interrupted, each until it last wrote to `folder`: what came
    after is done again.
    """
    first: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
    }
    before = _interrupted(folder) or first
    began = time.monotonic()
    write(folder / SPENT, json.dumps({**before, "since": time.time()}))

    def evidence() -> dict[str, Any]:
        return {
            "trial": name,
            "started": before["started"],
            "seconds": round(before["seconds"] + time.monotonic() - began, 2),
            "peak_memory_mib": round(peak_memory_mib(), 1),
            "processor": processor(),
            "device": device(),
            "threads": torch.get_num_threads(),
            "torch": version("torch"),
            "code_commit": code_commit(),
        }

    yield evidence


def _interrupted(folder: Path) -> dict[str, Any] | None:
    """When the trial began, and the seconds that its earlier parts worked."""
    try:
        spent = json.loads((folder / SPENT).read_text(encoding="utf-8"))
        written = [p.stat().st_mtime for p in folder.iterdir() if p.name not in ("lock", SPENT)]
        seconds = spent["seconds"] + max(0.0, max(written, default=0.0) - spent["since"])
        return {"started": spent["started"], "seconds": seconds}
    except (OSError, ValueError, KeyError):
        return None
