"""A training step of the MNIST ODE-Net, alone and beside other work, as threads wait.

Run it on an idle machine: `python -m replication.benchmarks.busy`. Threads of OpenMP spin while
they wait for each other, so beside other work a step can take far longer than its fair share.
"""

import os
import subprocess
import sys
import time
from statistics import median

import torch

from odenet.models.classifier import classifier

STEPS = 25
WAITING = {  # how the threads wait -> what is set
    "default": {},
    "as make sets it": {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY = "while True: pass"


def steps() -> list[float]:
    """The seconds of each step of one training on random digits, after a first one."""
    model = classifier("odenet", 1e-3, 0)
    images, labels = torch.rand(128, 1, 28, 28), torch.arange(128) % 10
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        torch.nn.functional.cross_entropy(model(images)[0], labels).backward()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def measured(settings: dict[str, str], at_once: int, busy: int) -> str:
    """Median and longest step of `at_once` trainings beside `busy` processes of one thread."""
    kept = {name: value for name, value in os.environ.items() if "OMP" not in name}
    kept["OMP_NUM_THREADS"] = str(os.cpu_count())
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    command = [sys.executable, "-m", __spec__.name, "steps"]
    trainings = [
        subprocess.Popen(command, env=kept | settings, stdout=subprocess.PIPE, text=True)
        for _ in range(at_once)
    ]
    seconds = [float(s) for each in trainings for s in each.communicate()[0].split()]
    for other in others:
        other.kill()
    return f"{median(seconds):.2f} ({max(seconds):.2f})"


def main() -> None:
    print("seconds: median (longest)  alone           three at once   beside one busy process")
    for name, settings in WAITING.items():
        columns = [measured(settings, *beside) for beside in ((1, 0), (3, 0), (1, 1))]
        print(f"{name:<26}{columns[0]:<16}{columns[1]:<16}{columns[2]}", flush=True)


if __name__ == "__main__":
    print(*steps()) if sys.argv[1:] == ["steps"] else main()
