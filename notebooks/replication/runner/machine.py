"""The machine and the code that a run or a trial works with, as a reader wants to know them."""

import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch

from replication.runner.profiles import checkout

# The runner itself writes these, so they make no other code and no tree with changes.
WRITTEN = ("book/chapters", "book/records", "book/trials", "book/_static/result.svg", "README.md")
_CODE = ("--", ".", *(f":!{path}" for path in WRITTEN))


def processor() -> str:
    """The processor's trade name where Linux tells it, else its architecture; with core count."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor() or platform.machine())} ({os.cpu_count()} cores)"


def device() -> str:
    """Where experiments train: ODENET_DEVICE, with the trade name of a GPU; `cpu` if not given."""
    name = os.environ.get("ODENET_DEVICE") or "cpu"
    if name.startswith("cuda") and torch.cuda.is_available():
        return f"{name} ({torch.cuda.get_device_name(name)})"
    return name


def peak_memory_mib() -> float:
    """The most memory that this process ever held."""
    # Linux hands ru_maxrss on to the programs that a process starts, so its own record comes first.
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def git(root: Path, *arguments: str) -> str | None:
    """What git answers in the clone at `root`; None where it fails."""
    try:
        return subprocess.check_output(
            ["git", *arguments], cwd=root, text=True, stderr=subprocess.DEVNULL
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def code_commit(root: Path | None = None) -> str | None:
    """The last commit of the clone that touches anything but evidence; None outside of git."""
    return git(root or checkout(), "log", "-1", "--format=%H", *_CODE) or None


def changed(root: Path) -> bool:
    """Whether anything but evidence differs from the commit."""
    return bool(git(root, "status", "--porcelain", *_CODE))
