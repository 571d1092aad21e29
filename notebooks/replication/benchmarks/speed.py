"""`make bench`: time and achieved error of solves and of their gradients, beside other libraries.

All are given the same field, start, output times and tolerance, and step by the method of Dormand
and Prince of order 5. What is timed is a *call*: it returns arrays, and the number of evaluations
where it knows it. The arrays are the states, or the gradients of their mean square for the start
and the parameters.
"""

import copy
import gc
import os
import random
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from json import dumps
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from odenet import FixedSteps, Solver, solve
from odenet.models.fields import Autonomous
from replication import peers
from replication.benchmarks.jax_fields import Call, diffrax_calls
from replication.benchmarks.tasks import Task, task
from replication.peers import Way, torchdiffeq_ways
from replication.runner.files import write
from replication.runner.profiles import checkout
from replication.runner.record import provenance

PEERS = {"torchdiffeq": "setup", "torchode": "peers", "diffrax": "peers"}  # what installs them
CASES = [("small", 1), ("small", 100), ("benchmark", 1), ("flow", 1), ("mnist", 1)]
ROUNDS = {"small": 30, "benchmark": 30, "flow": 30, "mnist": 5}
TURN = 0.005  # seconds, over which the same call is made again and again
ENOUGH = 20.0  # seconds of a call's turns together, after which it has no more


def calls(name: str, work: Task, installed: Collection[str]) -> dict[tuple[bool, str], Call]:
    """All that is timed on a task of that name: whether with gradient, and the way -> the call."""
    solves = {"odenet": ours(), "odenet compile": ours(compile=True), "SciPy": by_scipy}
    rules = {f"odenet {rule}": ours(rule) for rule in ("backprop", "checkpoint", "adjoint")}
    for rule in ("checkpoint", "adjoint"):
        rules[f"odenet {rule} compile"] = ours(rule, compile=True)
    if "torchdiffeq" in installed:
        rules |= torchdiffeq_ways()
        solves["torchdiffeq odeint"] = rules["torchdiffeq odeint"]
    if "torchode" in installed and work.y0.dim() == 2:  # its batch is rows
        solves["torchode"] = rules["torchode"] = by_torchode(work)
    found = {(False, way): call_of(solved, work, False) for way, solved in solves.items()}
    found |= {(True, way): call_of(solved, work, True) for way, solved in rules.items()}
    if "diffrax" in installed:
        found[False, "diffrax"], found[True, "diffrax"] = diffrax_calls(name, work)
    return found


def ours(rule: Any = None, compile: bool = False) -> Way:
    return peers.ours(lambda _: rule, compile=compile)


def by_torchode(work: Task) -> Way:
    """Every row of the batch has its own steps."""
    import torchode

    term = torchode.ODETerm(work.field)
    control = torchode.IntegralController(atol=work.tolerance, rtol=work.tolerance, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)

    def way(_: nn.Module, y0: Tensor, ts: Tensor, tolerance: float) -> tuple[Tensor, None]:
        problem = torchode.InitialValueProblem(y0=y0, t_eval=ts.repeat(len(y0), 1))
        return solver.solve(problem).ys.transpose(0, 1), None

    return way


def by_scipy(field: nn.Module, y0: Tensor, ts: Tensor, tolerance: float) -> tuple[Tensor, None]:
    """The same steps in NumPy, which calls the field in PyTorch."""

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return field(t, torch.from_numpy(y).to(y0).view_as(y0)).ravel().numpy()

    same = {"rtol": tolerance, "atol": tolerance, "t_eval": ts.tolist()}
    found = solve_ivp(slope, ts[[0, -1]].tolist(), y0.ravel().numpy(), "RK45", **same)
    return torch.from_numpy(found.y.T), None


def call_of(way: Way, work: Task, gradient: bool) -> Call:
    y0 = work.y0.clone().requires_grad_(gradient)
    inputs = [y0, *work.parameters]

    def call() -> tuple[Sequence[Any], int | None]:
        with torch.set_grad_enabled(gradient):
            states, stats = way(work.field, y0, work.ts, work.tolerance)
            found = torch.autograd.grad(states.square().mean(), inputs) if gradient else [states]
        return found, stats.forward.nfe + stats.backward.nfe if stats else None

    return call


def exact(work: Task) -> dict[bool, np.ndarray]:
    """States and gradients of a much tighter solve in double precision."""
    method, tolerance = work.exact
    field, y0, ts = copy.deepcopy(work.field).double(), work.y0.double(), work.ts.double()
    double = replace(work, field=field, y0=y0, ts=ts, tolerance=tolerance)
    way = peers.ours(lambda _: "checkpoint", method)
    return {gradient: flat(call_of(way, double, gradient)()[0]) for gradient in (False, True)}


def flat(arrays: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(x, dtype=np.float64).ravel() for x in arrays])


def measured(name: str, outputs: int, rounds: int, installed: Collection[str]) -> list[dict]:
    """A row for each call on a task, with the ``reason`` instead of ``seconds`` where it fails.

    ``first_seconds`` are of the first call, in which some compile what no way before them did.
    ``error`` is relative, in the Euclidean norm over all that is returned. ``evaluations`` are
    those of both passes.
    """
    work = task(name, outputs)
    truth = exact(work)
    rows, working = [], []
    for (gradient, way), call in calls(name, work, installed).items():
        row: dict[str, Any] = {"task": name, "outputs": outputs, "gradient": gradient, "way": way}
        rows.append(row)
        try:
            row |= first(call, work.field, truth[gradient])
            working.append((call, row.setdefault("seconds", [])))
        except Exception as error:  # whatever a library raises: the others go on
            row["reason"] = f"{type(error).__name__}: {error}".partition("\n")[0]
            print(f"{name}, {way}{' with gradients' * gradient} fails: {row['reason']}", flush=True)
    take_turns(working, rounds)
    return rows


def first(call: Call, field: nn.Module, truth: np.ndarray) -> dict[str, Any]:
    started = time.perf_counter()
    found, evaluations = call()
    taken = time.perf_counter() - started
    if evaluations is None:
        seen: list[int] = []
        hook = field.register_forward_hook(lambda *_: seen.append(1))
        call()
        hook.remove()
        evaluations = len(seen)
    error = float(np.linalg.norm(flat(found) - truth) / np.linalg.norm(truth))
    told = {"first_seconds": rounded(taken), "error": rounded(error)}
    return told | {"evaluations": evaluations or None}


def rounded(number: float) -> float:
    return float(f"{number:.4g}")


def take_turns(calls: Sequence[tuple[Call, list[float]]], rounds: int) -> None:
    """The seconds of each call join its list, in rounds of all: a slow moment slows them all.

    A call whose turns took ``ENOUGH`` seconds has fewer of them.
    """
    order, shuffle = list(calls), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for call, seconds in order:
            if sum(seconds) < ENOUGH:
                seconds.append(rounded(turn(call)))


def turn(call: Call) -> float:
    """The mean over the calls of ``TURN`` seconds, one at least, as a training makes them."""
    gc.disable()
    started = time.perf_counter()
    taken, count = 0.0, 0
    while taken < TURN:
        call()
        count += 1
        taken = time.perf_counter() - started
    gc.enable()
    return taken / count


def prepare(compiled: str) -> None:
    """One thread on one core where the system lets us choose, and nothing compiled before is found.

    What PyTorch makes once in a process, compiled into the folder too, is charged to no task.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
    solver = Solver("euler", FixedSteps(1), compile=True)
    with suppress(ValueError), torch.no_grad():  # each way that cannot be compiled says so
        solve(Autonomous(nn.Tanh()), torch.zeros(64), (0.0, 1.0), solver)


def main() -> None:
    root = checkout()
    missing = [name for name in PEERS if not find_spec(name)]
    for name in missing:
        print(f"{name} is not installed: skipped; `make {PEERS[name]}` installs it", flush=True)
    versions = {name: version(name) for name in (*PEERS, "jax") if find_spec(name)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        record = {"command": "python -m replication.benchmarks.speed", **provenance(root, {})}
        for name, outputs in CASES:
            print(f"{name}, {outputs} output{'s' * (outputs > 1)} ...", flush=True)
            rows += measured(name, outputs, ROUNDS[name], versions)
    record["versions"] |= versions
    failed = [row for row in rows if "reason" in row]
    rows = [row for row in rows if "reason" not in row]
    record |= {"missing": missing, "failed": failed, "rows": rows}
    write(root / "book/records/speed.json", dumps(record, indent=1) + "\n")
    table = pd.DataFrame(rows)
    print(table.assign(seconds=table["seconds"].map(np.median)).to_string(index=False))


if __name__ == "__main__":
    main()
