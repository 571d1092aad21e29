"""Records: the numbers read back from an executed notebook, and where they came from."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from nbformat import NotebookNode

from odenet.replicate.metrics import MIME, Metric

_PACKAGES = ("odenet", "torch", "torchvision", "numpy", "matplotlib", "papermill")


def reported(executed: NotebookNode) -> dict[str, Metric]:
    """The metrics that an executed notebook reported; ValueError if it did not, or did twice."""
    code = (cell for cell in executed.cells if cell.cell_type == "code")
    bundles = [
        output.data[MIME]
        for cell in code
        for output in cell.outputs
        if MIME in output.get("data", {})
    ]
    if len(bundles) != 1:
        raise ValueError(f"a notebook calls report(...) once; this one did {len(bundles)} times")
    return bundles[0]


def load(path: Path) -> dict | None:
    """The record at `path`, or None where there is none; ValueError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def provenance(root: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Commit, machine, versions and seeds of a run that starts now."""
    first = parameters.get("seed")
    count = parameters.get("seeds", 1)
    commit = git(root, "rev-parse", "HEAD")
    # The runner itself writes the evidence, so that does not make the tree dirty.
    evidence = (":!book/chapters", ":!book/records")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": bool(commit and git(root, "status", "--porcelain", "--", ".", *evidence)),
        "processor": _processor(),
        "device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "seeds": list(range(first, first + count)) if isinstance(first, int) else [],
    }


def git(root: Path, *arguments: str) -> str | None:
    try:
        return subprocess.check_output(
            ["git", *arguments], cwd=root, text=True, stderr=subprocess.DEVNULL
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    """The processor's trade name where Linux tells it, else its architecture; with core count."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor() or platform.machine())} ({os.cpu_count()} cores)"
