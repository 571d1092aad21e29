"""Time against achieved error of a solve, here and in other libraries, one core for each."""

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from odenet.compiled import CannotCompile
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive
from replication.chapters.speed import ways as speed_ways
from replication.chapters.speed.cache import own_cache
from replication.chapters.speed.tasks import Task, task
from replication.chapters.speed.ways import Way
from replication.training import progress_stream

ROUNDS = 3  # at least
TURN = 0.005  # seconds, over which the same call is made again and again


@dataclass(frozen=True)
class Trial:
    """One task, solved or differentiated in all ways at each tolerance."""

    task: str  # one of ``speed_tasks.TASKS``
    outputs: int = 1  # times after the start at which the state is seen
    gradient: bool = False  # of the mean square of the states, beside solving
    tolerances: Sequence[float] = (1e-3, 1e-5)  # relative and absolute
    compiled: Sequence[str] = ("checkpoint", "adjoint")  # the gradient rules compiled too
    seed: int = 0  # of the weights and the start
    rounds: int = 50  # at most; every way has its turn in each, one after the other
    seconds: float = 1.0  # after which a way has been timed enough at one tolerance
    reference: float = 1e-9  # tolerance of the exact solve, in double precision
    versions: Mapping[str, str] = field(default_factory=dict)  # of the libraries beside ours


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The times, and what they bought.

    ``rows``: of each way and tolerance, the ``seconds`` of every round and the ``error``, relative
    and in the Euclidean norm over all that is returned (None for evaluations alone). ``first``: of
    each way, the seconds of its first call, in which some compile: as on a machine that has
    compiled before, but nothing of this. ``euler``: of some ways, the seconds a step of Euler's
    method in each round, forward only. ``missing``: of ways that cannot run here, the reason.
    Raises ValueError for an unknown task.
    """
    work = task(trial.task, trial.outputs, trial.seed)
    with own_cache(), one_core(), progress_stream() as stream:
        speed_ways.warm_up()
        if trial.gradient:
            ways = speed_ways.gradient_ways(trial.task, work, trial.compiled)
        else:
            ways = speed_ways.forward_ways(trial.task, work)
        first, missing = _first(ways, trial.tolerances[0])
        exact = _exact(work, trial)
        rows = [
            row
            for tolerance in tqdm(trial.tolerances, f"{trial.task}, timed", file=stream)
            for row in _rows(ways, tolerance, exact, trial)
        ]
        euler = {} if trial.gradient else _euler(trial, work, missing)
    return {"rows": rows, "first": first, "euler": euler, "missing": missing}


@contextmanager
def one_core() -> Iterator[None]:
    """Inside, PyTorch has one thread, and on Linux all threads of the process the same core."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


def _first(ways: dict[str, Way], tolerance: float) -> tuple[dict[str, float], dict[str, str]]:
    """The seconds of first calls; ways that cannot be compiled here are taken out."""
    seconds, missing = {}, {}
    for name in list(ways):
        started = time.perf_counter()
        try:
            ways[name](tolerance)
        except CannotCompile as error:
            missing[name] = str(error)
            del ways[name]
        else:
            seconds[name] = time.perf_counter() - started
    return seconds, missing


def _rows(
    ways: Mapping[str, Way], tolerance: float, exact: np.ndarray, trial: Trial
) -> list[dict[str, Any]]:
    errors = {name: _error(way(tolerance), exact) for name, way in ways.items()}
    calls = {name: (lambda way=way: way(tolerance)) for name, way in ways.items()}
    times = interleaved(calls, trial.rounds, trial.seconds)
    return [
        {"way": name, "tolerance": tolerance, "error": errors[name], "seconds": times[name]}
        for name in ways
    ]


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, enough: float
) -> dict[str, list[float]]:
    """The seconds of each call, in rounds of all of them, so that a slow moment slows them all.

    A time is a mean over calls for ``TURN`` seconds, one call at least: a training, too, makes the
    same solve again and again. Three rounds for each at least; no more where its turns took
    ``enough`` seconds together.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    for number in range(max(rounds, ROUNDS)):
        for name, call in calls.items():
            if number < ROUNDS or spent[name] < enough:
                taken, count = _turn(call)
                spent[name] += taken
                times[name].append(taken / count)
    return times


def _turn(call: Callable[[], object]) -> tuple[float, int]:
    """How long its calls took together, and how many they were."""
    started = time.perf_counter()
    taken, count = 0.0, 0
    while taken < TURN:
        call()
        count += 1
        taken = time.perf_counter() - started
    return taken, count


def _error(found: Sequence[Any], exact: np.ndarray) -> float | None:
    if not found:
        return None
    return float(np.linalg.norm(_flat(found) - exact) / np.linalg.norm(exact))


def _flat(arrays: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(x, dtype=np.float64).ravel() for x in arrays])


def _exact(work: Task, trial: Trial) -> np.ndarray:
    """The states or gradients of a much tighter solve in double precision."""
    exact_field = copy.deepcopy(work.field).double()
    y0 = work.y0.double().requires_grad_(trial.gradient)
    solver = Solver("dopri8", Adaptive(trial.reference, trial.reference), "checkpoint")
    with torch.set_grad_enabled(trial.gradient):
        ys = solve(exact_field, y0, work.ts.double(), solver).ys
    if not trial.gradient:
        return _flat([ys])
    return _flat(torch.autograd.grad(ys.square().mean(), [y0, *exact_field.parameters()]))


def _euler(trial: Trial, work: Task, missing: Mapping[str, str]) -> dict[str, list[float]]:
    steps = max(10, min(1000, 10**6 // work.y0.numel()))
    ways = speed_ways.euler_ways(trial.task, work)
    calls = {
        name: (lambda way=way: way(steps)) for name, way in ways.items() if name not in missing
    }
    for call in calls.values():
        call()  # compiles
    times = interleaved(calls, trial.rounds, trial.seconds)
    return {name: [taken / steps for taken in each] for name, each in times.items()}
