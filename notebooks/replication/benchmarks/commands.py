"""`make times`: what the README's commands cost, in a new clone on an idle machine (an hour)."""

import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from json import dumps
from pathlib import Path
from typing import Any

from replication.runner.files import write
from replication.runner.profiles import checkout
from replication.runner.record import provenance

COMMANDS = (
    "make setup",
    "make replicate PROFILE=smoke",
    "make replicate",
    'make notebook NB=03_mnist P="epochs=2 seed=1"',
    "make test",
    "make figures",
    "make book",
    "make pdf",
    "make bench",
)
OURS = re.compile(
    r"ODENET_|OMP_|GOMP_|KMP_|MALLOC_|PIP_NO_COLOR|PYTHONPATH|VIRTUAL_ENV|CONDA_|MAKE|MFLAGS"
)


def measured(command: str, clone: Path, environment: Mapping[str, str], log: Path) -> dict:
    """The seconds of one command, and those of all cores that worked for it.

    Raises RuntimeError if it fails, with the end of what it printed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    shell = ["bash", "-c", f"exec > '{log}' 2>&1; {command}"]
    status = subprocess.run(shell, cwd=clone, env=environment).returncode
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"`{command}` ends with status {status}:\n{tail}")
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"command": command, "seconds": round(seconds, 1), "core_seconds": round(worked, 1)}


def new_shell() -> dict[str, str]:
    """The environment of a user who has just logged in: without what make and we have set."""
    return {name: value for name, value in os.environ.items() if not OURS.match(name)}


def main() -> None:
    root = checkout()
    record: dict[str, Any] = {"command": "make times", **provenance(root, {}), "rows": []}
    record["threads"] = os.cpu_count()  # of the commands, which choose for themselves
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "odenet"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        for command in COMMANDS:
            print(f"{command} ...", flush=True)
            record["rows"].append(measured(command, clone, new_shell(), Path(folder) / "log"))
            print("  {seconds:.0f} s, {core_seconds:.0f} of cores".format(**record["rows"][-1]))
    write(root / "book/records/times.json", dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
