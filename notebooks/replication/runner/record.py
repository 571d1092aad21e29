"""Records: the numbers read back from an executed notebook, and where they came from."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from nbformat import NotebookNode

from replication.runner.machine import changed, code_commit, device, processor
from replication.runner.metrics import MIME, TRIALS, Metric

_PACKAGES = ("odenet", "torch", "torchvision", "numpy", "scipy", "matplotlib", "papermill")


def reported(executed: NotebookNode) -> dict[str, Metric]:
    """The metrics that an executed notebook reported; ValueError if it did not, or did twice."""
    bundles = _shown(executed, MIME)
    if len(bundles) != 1:
        raise ValueError(f"a notebook calls report(...) once; this one did {len(bundles)} times")
    return bundles[0]


def trials(executed: NotebookNode) -> list[dict[str, Any]]:
    """The evidence of each trial that an executed notebook asked for, in that order."""
    return [trial for bundle in _shown(executed, TRIALS) for trial in bundle]


def _shown(executed: NotebookNode, mime: str) -> list[Any]:
    code = (cell for cell in executed.cells if cell.cell_type == "code")
    outputs = (output for cell in code for output in cell.outputs)
    return [output.data[mime] for output in outputs if mime in output.get("data", {})]


def load(path: Path) -> dict | None:
    """The JSON file at `path`, or None where there is none; ValueError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:  # no JSON, no UTF-8
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from error


def provenance(root: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Code, machine, versions and seeds of a run that starts now."""
    first = parameters.get("seed")
    count = parameters.get("seeds", 1)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_commit": code_commit(root),
        "dirty": changed(root),
        "processor": processor(),
        "device": device(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "seeds": list(range(first, first + count)) if isinstance(first, int) else [],
    }
