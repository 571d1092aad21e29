"""A tiny package with experiments, for tests of trials wherever they run."""

import importlib
import sys
import time
from pathlib import Path

from replication.runner import trials

HELPER = '"""Help."""\n\ndef double(x):\n    """Twice x."""\n    return 2 * x  # exact\n'
EXPERIMENT = '''
"""Toy experiments. Files beside this one let the tests see and steer what runs."""
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
import torch
from replication.training import Learner, Schedule, column, train
from odenet.solvers import SolveStats
from . import helper

HERE = Path(__file__).parent

@dataclass(frozen=True)
class Trial:
    model: str = "ode"
    seed: int = 0
    size: int = 3

def run(trial, folder):
    calls = folder / "calls"  # stands for a checkpoint
    calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
    return {"value": helper.double(trial.size), "calls": len(calls.read_text()), "pair": (1, 2)}

def stop(trial, folder):
    """As `run`, but the first call is interrupted."""
    fresh = not (folder / "calls").exists()
    numbers = run(trial, folder)
    if fresh:
        raise KeyboardInterrupt
    return numbers

def fail(trial, folder):
    """As `run`, but not for seed 1."""
    if trial.seed == 1:
        raise ArithmeticError("seed 1 is not for me")
    return run(trial, folder) | {"threads": torch.get_num_threads(), "pid": os.getpid()}

def die(trial, folder):
    """Seed 1 ends its process, once seed 0 is finished."""
    if trial.seed == 1:
        while not list(folder.parent.glob("*seed0*/result.json")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return run(trial, folder)

def learn(trial, folder):
    """Three epochs; seed 1 stays in the second until the file `go` is there."""
    with (folder / "calls").open("a") as calls:
        calls.write("x")
    generator = torch.Generator().manual_seed(trial.seed)
    model = torch.nn.Linear(2, 1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    data = torch.randn(8, 2, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    checkpoint = folder / "checkpoint.pt"

    def loss(members, step):
        return (model(data[members]) - 1).square().mean(), SolveStats()

    def evaluate():
        if trial.seed == 1 and checkpoint.exists():
            (HERE / "part").write_text(str(os.getpid()))
            (HERE / "part").rename(HERE / "pid")
            while not (HERE / "go").exists():
                time.sleep(0.05)
        return {}

    learner = Learner(model, optimizer, scheduler, generator)
    history = train(learner, Schedule(3, 8, 4), loss, evaluate=evaluate, checkpoint=checkpoint,
                    title=f"toy seed {trial.seed}")
    torch.save(model.state_dict(), folder / "weights.pt")
    return {"losses": column(history, "train_loss"), "weights": model.weight.tolist()}
'''


def write(root: Path) -> Path:
    """The package `lab` lies at the returned folder, in `root`."""
    package = root / "lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text(HELPER)
    (package / "unused.py").write_text("x = 1\n")
    (package / "experiment.py").write_text(EXPERIMENT)
    return package


def load():
    """The module `lab.experiment`, as it is now."""
    importlib.invalidate_caches()
    return importlib.import_module("lab.experiment")


def forget() -> None:
    """The next `load` reads the files again."""
    trials._code.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        del sys.modules[name]


def until(condition, limit_s: float = 60) -> None:
    """Returns when `condition` holds; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s in vain"
        time.sleep(0.05)
