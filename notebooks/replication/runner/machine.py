"""The machine that a run or a trial works on, as a reader of its numbers wants to know it."""

import os
import platform
import re
from pathlib import Path

import torch


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


def peak_memory_mib(pid: int) -> float | None:
    """The most memory that the running process `pid` ever held; None where Linux does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)
    return int(found[1]) / 1024 if found else None
