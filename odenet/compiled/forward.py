"""The forward solve: its graph, and its turns until the end is reached."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from odenet.compiled.graph import graph
from odenet.compiled.loop import Ends, March, Reading, Record, State
from odenet.compiled.pieces import Law, Tolerances, field_of
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    FixedSteps,
    RungeKutta,
    SolveError,
    Stats,
    Tableau,
    rk_step,
)
from odenet.solvers.integrate import _failure, _land, _stops

# What a record holds at most, and how many steps at most and at least.
_RECORDED_BYTES, _MOST, _LEAST = 2**26, 256, 16


@dataclass(frozen=True)
class Problem:
    """A solve in tensors: what ``solve`` was given, checked and prepared for the graphs."""

    f: Any
    checked: Field
    names: tuple[str, ...]
    params: tuple[Tensor, ...]
    ts: tuple[float, ...]
    method: RungeKutta
    control: Adaptive | FixedSteps

    @property
    def tableau(self) -> Tableau:
        return self.method.tableau

    def what(self, task: str, y: Tensor) -> str:
        """A name for a compilation."""
        field = type(self.f).__name__ if isinstance(self.f, torch.nn.Module) else self.f.__name__
        shape = "x".join(map(str, y.shape)) or "()"
        kind = f"{str(y.dtype).removeprefix('torch.')} {y.device.type}"
        return f"{task} {self.method.name} {type(self.control).__name__} {field} {shape} {kind}"


@dataclass
class Path:
    """A finished forward solve: the outputs, and, where it was recorded, all of its steps."""

    ys: Tensor
    reading: tuple[Tensor, Tensor | None] | None
    records: list[Record] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def bucket(n: int) -> int:
    """The power of two from ``n`` on: so many numbers share a graph."""
    return 1 << max(n - 1, 0).bit_length()


def padded(values: Sequence[float], filler: float, device: torch.device) -> Tensor:
    """The values and then the filler, to a length that many others share."""
    rest = bucket(len(values)) - len(values)
    return torch.tensor([*values, *[filler] * rest], dtype=torch.float64, device=device)


def solve_forward(problem: Problem, y0: Tensor, stats: Stats, recorded: bool) -> Path:
    """Raises ``SolveError``, as the eager loop does, and ``CannotCompile``."""
    y, ts, tableau = y0.detach().contiguous(), problem.ts, problem.tableau
    control, device = problem.control, y0.device
    stops = list(_stops(ts, problem.method, control))
    searched = isinstance(control, Adaptive) and control.initial is None
    reading, fresh = None, None
    if len(ts) > 2:
        sign = math.copysign(1.0, ts[-1] - ts[0])
        inside = problem.method.interpolates and not set(ts[1:]) <= set(stops)
        dense = torch.from_numpy(tableau.dense_matrix).to(device) if inside else None
        reading = (padded(ts[1:], sign * math.inf, device), dense)
    numbers = _numbers(control, ts, len(stops), device)
    tolerances = _tolerances(control, device)
    room = min(_room(y, tableau.fsal), bucket(len(stops)) if not searched else _MOST)
    run = forward_graph(tableau, law_of(control), problem.names)
    path = Path(y, reading)
    arguments = (padded(stops, stops[-1], device), numbers, tolerances, reading)
    done = 0
    while True:
        state, out, record, report = run(
            problem.what("forward", y),
            problem.f, problem.params, y, *arguments, searched, room if recorded else 0, fresh,
        )  # fmt: skip
        told = _Report(*report.tolist())
        if record is not None:
            path.records.append(record)
            path.counts.append(int(told.accepted) - done)
        done = int(told.accepted)
        if told.place < len(stops) and not told.failed and told.attempts < control.max_steps:
            fresh = (state, out)  # the record is full
            continue
        _count(stats, told, tableau, searched, told.place == len(stops))
        if told.place < len(stops):
            raise _error(problem, state, told, stops[int(told.place)], stats)
        break
    path.ys = torch.stack((y, state.y)) if out is None else out[: len(ts)]
    return path


@dataclass(frozen=True)
class _Report:
    t: float
    dt: float
    place: float
    accepted: float
    rejected: float
    failed: float

    @property
    def attempts(self) -> float:
        return self.accepted + self.rejected


def forward_graph(tableau: Tableau, law: Law | None, names: tuple[str, ...]) -> Callable[..., Any]:
    """The graph of a solve, or of a part of it that fills one record."""
    warm(tableau)

    def run(
        f: Any,
        params: tuple[Tensor, ...],
        y: Tensor,
        stops: Tensor,
        numbers: Tensor,
        tolerances: tuple[Tensor, Tensor] | None,
        reading: tuple[Tensor, Tensor | None] | None,
        searched: bool,
        room: int,
        fresh: tuple[State, Tensor | None] | None,
    ) -> tuple[State, Tensor | None, Record | None, Tensor]:
        # Copies: what a loop takes from outside must not share memory.
        t, dt, count, smallest, max_steps, max_step = (x.clone() for x in numbers.unbind())
        field = field_of(f, names, params)
        control = None
        if law is not None and tolerances is not None:
            control = law.control(Tolerances(*tolerances, max_step))
        out = None
        if reading is not None:
            out = y.new_empty(len(reading[0]) + 1, *y.shape)
            out[0] = y
        record = Record.empty(room, y, tableau.fsal) if room else None
        if fresh is not None and fresh[1] is not None:
            out = fresh[1].clone()
        read = None if reading is None else Reading(*reading)
        ends = Ends(stops, count, smallest, max_steps)
        march = March(tableau, field, control, ends, read, out, record)
        if fresh is None:
            k = field(t, y)
            start = State.at(t, march.searched(t, y, k, stops[-1]) if searched else dt, y, k)
        else:
            start = State(*(x.clone() for x in fresh[0]))
        end = march.run(start)
        told = (end.t, end.dt, end.place, end.accepted, end.rejected, end.failed)
        return end, out, record, torch.stack([x.double() for x in told])

    return graph(("forward", tableau, law, names), lambda: run)


def warm(tableau: Tableau) -> None:
    """What a tableau computes on first use, which cannot be traced."""
    for name in ("stages", "fsal", "nodes", "rows", "weights", "error_weights"):
        getattr(tableau, name)


def law_of(control: Control, part: int | None = None) -> Law | None:
    return Law.of(control, part) if isinstance(control, Adaptive) else None


def _numbers(
    control: Adaptive | FixedSteps, ts: Sequence[float], count: int, device: torch.device
) -> Tensor:
    start, end = ts[0], ts[-1]
    adaptive = isinstance(control, Adaptive)
    max_step = control.max_step if adaptive else math.inf
    length = min((control.initial if adaptive else None) or math.inf, max_step)
    smallest = max(control.min_step, 4 * sys.float_info.epsilon * max(abs(start), abs(end)))
    numbers = [
        start, math.copysign(length, end - start), count, smallest, control.max_steps, max_step
    ]  # fmt: skip
    return torch.tensor(numbers, dtype=torch.float64, device=device)


def _tolerances(
    control: Adaptive | FixedSteps, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    if not isinstance(control, Adaptive):
        return None
    pair = (control.rtol, control.atol)
    rtol, atol = (
        x.to(device) if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64, device=device)
        for x in pair
    )
    return rtol, atol


def _room(y: Tensor, fsal: bool) -> int:
    """How many steps a record holds."""
    size = max(y.numel() * y.element_size() * (1 + fsal), 1)
    most = max(_LEAST, min(_MOST, _RECORDED_BYTES // size))
    return 1 << (most.bit_length() - 1)


def _count(
    stats: Stats, told: _Report, tableau: Tableau, searched: bool, finished: bool
) -> None:
    """Evaluations as the graph makes them, which is as the eager loop does."""
    stats.accepted, stats.rejected = int(told.accepted), int(told.rejected)
    stats.dt = told.dt
    stats.nfe = 1 + searched + (tableau.stages - 1) * int(told.attempts)
    if not tableau.fsal:  # a first slope for each further step
        stats.nfe += stats.accepted - finished


def _error(
    problem: Problem, state: State, told: _Report, stop: float, stats: Stats
) -> SolveError:
    """Why the solve cannot go on; the attempt that failed is made again to see."""
    if not told.failed:
        limit = problem.control.max_steps
        return SolveError(f"more than {limit} steps", told.t, told.dt, stats)
    t1 = _land(told.t, told.dt, stop)
    step = rk_step(problem.tableau, problem.checked, told.t, t1, state.y, state.k)
    return _failure(step, stats)
