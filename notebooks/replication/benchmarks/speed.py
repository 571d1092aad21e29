"""`make bench`: time and achieved error of solves and of their gradients, beside other libraries.

All are given the same field, start, output times and tolerance, and step by the method of Dormand
and Prince of order 5. A *way* returns arrays, and the number of evaluations where it knows it. The
arrays are the states, or the gradients of their mean square for the start and the parameters.
"""

import argparse
import copy
import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from odenet import Adaptive, FixedSteps, Solver, solve
from odenet.models.fields import Autonomous
from odenet.solvers import SolveStats
from replication.benchmarks.jax_fields import Diffrax
from replication.benchmarks.tasks import TASKS, Task, task
from replication.peers import torchdiffeq_ways
from replication.runner.files import write
from replication.runner.profiles import checkout
from replication.runner.record import provenance

PEERS = {"torchdiffeq": "setup", "torchode": "peers", "diffrax": "peers"}  # what installs them
CASES = [("small", 1), ("small", 100), ("benchmark", 1), ("flow", 1), ("mnist", 1)]
TURN = 0.005  # seconds, over which the same call is made again and again
ENOUGH = 20.0  # seconds of a way's turns together, after which it has no more
Solved = Callable[[Tensor], tuple[Tensor, SolveStats | None]]  # the states from a start
Way = Callable[[], tuple[Sequence[Any], int | None]]
Key = tuple[bool, str]  # with gradient or without; the name of a way


def ways(name: str, work: Task, installed: Collection[str]) -> dict[Key, Way]:
    plain = {"odenet": ours(work), "odenet compile": ours(work, compile=True)}
    rules = {f"odenet {rule}": ours(work, rule) for rule in ("backprop", "checkpoint", "adjoint")}
    for rule in ("checkpoint", "adjoint"):
        rules[f"odenet {rule} compile"] = ours(work, rule, compile=True)
    if "torchdiffeq" in installed:
        theirs = {key: torchdiffeq(work, way) for key, way in torchdiffeq_ways().items()}
        plain["torchdiffeq odeint"] = theirs["torchdiffeq odeint"]
        rules |= theirs
    if "torchode" in installed and work.y0.dim() == 2:  # its batch is rows
        plain["torchode"] = rules["torchode"] = torchode(work)
    found: dict[Key, Way] = {(False, key): without_gradient(work, s) for key, s in plain.items()}
    found |= {(True, key): with_gradient(work, solved) for key, solved in rules.items()}
    if "diffrax" in installed:
        checkpoints, backsolve = Diffrax(name, work), Diffrax(name, work, backwards=True)
        found |= {(False, "diffrax"): checkpoints.states, (True, "diffrax"): checkpoints.gradients}
        found[True, "diffrax backsolve"] = backsolve.gradients
    return found | {(False, "SciPy"): partial(scipy_solved, work)}


def ours(work: Task, rule: str | None = None, compile: bool = False) -> Solved:
    solver = Solver("dopri5", Adaptive(work.tolerance, work.tolerance), rule, compile)

    def solved(y0: Tensor) -> tuple[Tensor, SolveStats]:
        solution = solve(work.field, y0, work.ts, solver)
        return solution.ys, solution.stats

    return solved


def torchdiffeq(work: Task, way: Callable[..., Any]) -> Solved:
    return lambda y0: way(work.field, y0, work.ts, work.tolerance)


def torchode(work: Task) -> Solved:
    """Every row of the batch has its own steps."""
    import torchode

    term = torchode.ODETerm(work.field)
    control = torchode.IntegralController(atol=work.tolerance, rtol=work.tolerance, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)

    def solved(y0: Tensor) -> tuple[Tensor, None]:
        problem = torchode.InitialValueProblem(y0=y0, t_eval=work.ts.repeat(len(y0), 1))
        return solver.solve(problem).ys.transpose(0, 1), None

    return solved


@torch.no_grad()
def scipy_solved(work: Task) -> tuple[Sequence[Any], int]:
    """The same steps in NumPy, which calls the field in PyTorch."""

    def slope(t: float, y: Any) -> Any:
        return work.field(t, torch.from_numpy(y).to(work.y0).view_as(work.y0)).ravel().numpy()

    span, y0, tolerance = work.ts[[0, -1]].tolist(), work.y0.ravel().numpy(), work.tolerance
    found = solve_ivp(slope, span, y0, "RK45", work.ts.tolist(), rtol=tolerance, atol=tolerance)
    return [found.y.T], found.nfev


def without_gradient(work: Task, solved: Solved) -> Way:
    @torch.no_grad()
    def way() -> tuple[Sequence[Any], int | None]:
        states, stats = solved(work.y0)
        return [states], stats.forward.nfe if stats else None

    return way


def with_gradient(work: Task, solved: Solved) -> Way:
    y0 = work.y0.clone().requires_grad_()
    inputs = [y0, *work.parameters]

    def way() -> tuple[Sequence[Any], int | None]:
        states, stats = solved(y0)
        found = torch.autograd.grad(states.square().mean(), inputs)
        return found, stats.forward.nfe + stats.backward.nfe if stats else None

    return way


def exact(work: Task) -> dict[bool, np.ndarray]:
    """Gradients and states of a much tighter solve in double precision."""
    field, y0 = copy.deepcopy(work.field).double(), work.y0.double().requires_grad_()
    method, tolerance = work.exact
    solver = Solver(method, Adaptive(tolerance, tolerance), "checkpoint")
    states = solve(field, y0, work.ts.double(), solver).ys
    gradients = torch.autograd.grad(states.square().mean(), [y0, *field.parameters()])
    return {False: flat([states.detach()]), True: flat(gradients)}


def flat(arrays: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(x, dtype=np.float64).ravel() for x in arrays])


def measured(
    name: str, outputs: int, rounds: int, installed: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for each way to solve a task, and the reason of each that fails.

    ``first_seconds`` are of the first call, in which some compile what no way before them did.
    ``error`` is relative, in the Euclidean norm over all that is returned. ``evaluations`` are
    those of both passes.
    """
    work = task(name, outputs)
    truth, calls = exact(work), ways(name, work, installed)
    rows, failed = {}, []
    for key in list(calls):
        row = {"task": name, "outputs": outputs, "gradient": key[0], "way": key[1]}
        try:
            rows[key] = row | first(calls[key], work.field, truth[key[0]])
        except Exception as error:  # whatever a library raises: the others go on
            del calls[key]
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            failed.append(row | {"reason": reason})
            print(f"{name}, {key[1]}{' with gradients' * key[0]} fails: {reason}", flush=True)
    for key, seconds in interleaved(calls, rounds).items():
        rows[key]["seconds"] = [rounded(taken) for taken in seconds]
    return list(rows.values()), failed


def first(way: Way, field: nn.Module, truth: np.ndarray) -> dict[str, Any]:
    started = time.perf_counter()
    found, evaluations = way()
    taken = time.perf_counter() - started
    if evaluations is None:
        calls: list[int] = []
        hook = field.register_forward_hook(lambda *_: calls.append(1))
        way()
        hook.remove()
        evaluations = len(calls)
    error = float(np.linalg.norm(flat(found) - truth) / np.linalg.norm(truth))
    told = {"first_seconds": rounded(taken), "error": rounded(error)}
    return told | {"evaluations": evaluations or None}


def rounded(number: float) -> float:
    return float(f"{number:.4g}")


def interleaved(calls: Mapping[Key, Way], rounds: int) -> dict[Key, list[float]]:
    """The seconds of a call of each way, in rounds of all, so that a slow moment slows them all.

    A way whose turns took ``ENOUGH`` seconds has fewer of them.
    """
    order, times = list(calls), {key: [] for key in calls}  # type: ignore[var-annotated]
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for key in order:
            if sum(times[key]) < ENOUGH:
                times[key].append(turn(calls[key]))
    return times


def turn(call: Way) -> float:
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


def available() -> tuple[dict[str, str], list[str]]:
    """The versions of what is installed, and what is not, which is said."""
    missing = [name for name in PEERS if not find_spec(name)]
    for name in missing:
        print(f"{name} is not installed: skipped; `make {PEERS[name]}` installs it", flush=True)
    found = [name for name in (*PEERS, "jax") if find_spec(name)]
    return {name: version(name) for name in found}, missing


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'task':14}{'way':29}{'ms':>10}{'quartiles':>18}{'error':>10}{'evaluations':>13}"]
    for row in rows:
        low, median, high = 1e3 * np.quantile(row["seconds"], (0.25, 0.5, 0.75))
        name = f"{row['task']}, {row['outputs']}"
        way = row["way"] + ", gradient" * row["gradient"]
        ends = f"{low:.4g} - {high:.4g}"
        lines.append(
            f"{name:14}{way:29}{median:10.4g}{ends:>18}{row['error']:10.1e}"
            f"{row['evaluations'] or '':>13}"
        )
    return "\n".join(lines)


def one_core() -> None:
    """All threads of the process have the same core, where the system lets us choose."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def warm_up() -> None:
    """Compile a little: what PyTorch makes once in a process is not charged to the first task."""
    solver = Solver("euler", FixedSteps(1), compile=True)
    with suppress(ValueError), torch.no_grad():  # each way that cannot be compiled says so
        solve(Autonomous(nn.Tanh()), torch.zeros(64), (0.0, 1.0), solver)


def main(arguments: Sequence[str]) -> None:
    root = checkout()
    parser = argparse.ArgumentParser(prog="python -m replication.benchmarks.speed")
    parser.add_argument("--rounds", type=int, default=30, help="of mnist a sixth, 3 at least")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--out", type=Path, default=root / "book/records/speed.json")
    options = parser.parse_args(arguments)
    one_core()
    versions, missing = available()
    record = {"command": " ".join([parser.prog, *arguments]), **provenance(root, {})}
    record["versions"] |= versions
    record |= {"missing": missing, "failed": [], "rows": []}
    with tempfile.TemporaryDirectory() as folder:  # nothing that was compiled before is found
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        warm_up()
        for name, outputs in CASES:
            if name in options.tasks:
                print(f"{name}, {outputs} output{'s' * (outputs > 1)} ...", flush=True)
                rounds = options.rounds if name != "mnist" else max(options.rounds // 6, 3)
                rows, failed = measured(name, outputs, rounds, versions)
                record["rows"] += rows
                record["failed"] += failed
    write(options.out, dumps(record, indent=1) + "\n")
    print(table(record["rows"]))


if __name__ == "__main__":
    main(sys.argv[1:])
