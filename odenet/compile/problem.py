"""An initial value problem whose steps come out of compiled code, as the loop asks for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, cast
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from odenet.compile.traced import Data, Law, Traced, make_attempts
from odenet.solvers import (
    Adaptive,
    Control,
    Counts,
    Field,
    InitialValueProblem,
    Method,
    RungeKutta,
    SlopeHistory,
    Step,
    Tableau,
    attempts,
)
from odenet.solvers.loop import stop_times

_SMALL = 4096  # numbers in a state, up to which a call costs more than an attempt made in vain
_VERSIONS = 64  # of one function, over which torch.compile refuses to make another
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_TABLES = {"_parameters", "_buffers", "_modules"}  # of every module
_pure: WeakSet[nn.Module] = WeakSet()


@dataclass(frozen=True, eq=False)
class CompiledProblem(InitialValueProblem):
    """A problem with what its compiled code is given."""

    traced: Traced = cast(Traced, None)
    data: Data = cast(Data, None)
    ahead: int = 1  # attempts in a call

    def steps(self, counts: Counts) -> Iterator[Step]:
        y, ahead = self.y0.detach().contiguous(), Ahead(self, counts)
        return attempts(ahead, self.f, y, self.ts, self.control, counts, ahead.start(y))

    @property
    def small(self) -> bool:
        return self.y0.numel() <= _SMALL

    @property
    def tableau(self) -> Tableau:
        return cast(RungeKutta, self.method).tableau

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a compiled function. Raises what the field raises, or ``ValueError``."""
        try:
            with torch.no_grad():
                return _compiled(function, self.y0.device.type)(*arguments)
        except Exception as error:
            if self.traced.adjoint is None:
                with torch.no_grad():
                    self.f(self.ts[0], self.y0)  # a field that fails itself says why
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"compile=True: this solve cannot be compiled: {reason}\nThe field must take its "
                "time as a tensor without dimensions and must not branch on values; a norm must "
                "return a tensor. Rewrite it so, or take compile=False"
            ) from error


def compiled_problem(problem: InitialValueProblem) -> CompiledProblem:
    """The problem with compiled steps. Raises ``ValueError`` for a field that code cannot stand for.

    Such a field has hooks, or changes itself when it is called.
    """
    field: Any = getattr(problem.f, "__wrapped__", problem.f)
    if isinstance(field, nn.Module):
        _check_hooks(field)
        if field not in _pure:
            _check_pure(field, problem)
            _pure.add(field)
    traced, data = traced_with_data(problem.method, problem.control, field, problem.y0.device)
    ahead = 4 if problem.y0.numel() <= _SMALL else 1
    return CompiledProblem(*vars(problem).values(), traced, data, ahead)


def traced_with_data(
    method: Method, control: Control, field: Any, device: torch.device
) -> tuple[Traced, Data]:
    """What the code of a solve depends on, and the numbers that it is given."""
    tableau = cast(RungeKutta, method).tableau
    table = _table(tableau, device)
    norm, data = None, Data(table, table, table)  # of which FixedSteps reads the first
    if isinstance(control, Adaptive):
        law = [getattr(control, name) for name in Law._fields]
        data = Data(table, _tolerances(control, device), numbers(law, device))
        norm = cast(Callable[[Tensor], Tensor], control.norm)
    return Traced(tableau.fsal, tableau.order, norm, field), data


class Attempt(NamedTuple):
    """One that was made ahead, from ``t`` to ``t1``."""

    t: float
    t1: float
    error: float
    y1: Tensor
    last: Tensor
    slopes: Tensor


class Ahead:
    """The method of a problem, as the loop sees it: its steps are made a few at a time."""

    num_slopes = 1

    def __init__(self, problem: CompiledProblem, counts: Counts) -> None:
        method = cast(RungeKutta, problem.method)
        self.problem, self.counts = problem, counts
        self.order, self.interpolates = method.order, method.interpolates
        self.attempts: deque[Attempt] = deque()
        self._stops: list[float] = []
        self._later = iter(stop_times(problem.ts, method, problem.control))
        self._next = (math.nan, 0.0, 1.0)  # time, length and error to go on with

    def start(self, y: Tensor) -> tuple[SlopeHistory, float]:
        """What the first attempt goes on from, and its length."""
        problem, control = self.problem, self.problem.control
        t, end = problem.ts[0], problem.ts[-1]
        if not isinstance(control, Adaptive) or control.initial is not None:
            length = control.first_step(problem.f, t, y, y, end, self.order)
            self._next = (t, length, 1.0)
            return SlopeHistory(), length
        length = self._run(t, t, y, SlopeHistory(), searching=True)
        self.counts.nfe += 2
        return SlopeHistory((t,), (self.attempts[0].slopes[0],)), length

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        if not self.attempts or self.attempts[0][:2] != (t, t1):
            self._run(t, t1, y, history)
        made, tableau = self.attempts.popleft(), self.problem.tableau
        self.counts.nfe += tableau.stages - bool(history.slopes)
        start = history if history.slopes else SlopeHistory((t,), (made.slopes[0],))
        left = SlopeHistory((t1,), (made.last,)) if tableau.fsal else SlopeHistory()
        return Step(tableau, t, t1, y, made.y1, made.slopes, start, left, made.error)

    def _run(
        self, t: float, t1: float, y: Tensor, history: SlopeHistory, searching: bool = False
    ) -> float:
        """Make attempts, of which the first ends at ``t1``; its length, where that is searched."""
        problem = self.problem
        dt, before = self._next[1:] if self._next[0] == t else (t1 - t, 1.0)
        k = history.slopes[0] if history.slopes else torch.zeros_like(y)  # unread
        flags = (not history.slopes, searching)
        now = [*flags, t, t1, dt, before, problem.ts[-1], *self._next_stops(t)]
        told, found = problem.call(
            make_attempts,
            problem.ahead,
            problem.traced,
            problem.data,
            flags if problem.ahead == 1 else None,
            numbers(now, y.device),
            y,
            k,
        )
        length, *rest = told.tolist()
        self.attempts = deque(
            Attempt(*rest[3 * i : 3 * i + 3], *ends) for i, ends in enumerate(found)
        )
        self._next = tuple(rest[-3:])
        return length

    def _next_stops(self, t: float) -> list[float]:
        """The stops after ``t``, one more than can be reached; the last one again and again."""
        ts, need = self.problem.ts, self.problem.ahead + 1
        while self._stops and (self._stops[0] - t) * (ts[-1] - ts[0]) <= 0:
            self._stops.pop(0)
        self._stops += islice(self._later, need - len(self._stops))
        return [*self._stops, *[ts[-1]] * (need - len(self._stops))]


def numbers(values: Sequence[Any], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=device)


@lru_cache
def _table(tableau: Tableau, device: torch.device) -> Tensor:
    """The weights of the stages, of the end and of the error; the nodes in the last column."""
    table = np.zeros((tableau.stages + 2, tableau.stages + 1))
    rows = (*tableau.rows, tableau.weights, tableau.error_weights or ())
    for entries, weights in zip(table, rows, strict=True):
        for i, weight in weights:
            entries[i] = weight
    table[: tableau.stages, -1] = tableau.nodes
    return torch.from_numpy(table).to(device)


def _tolerances(control: Adaptive, device: torch.device) -> Tensor:
    if not isinstance(control.rtol, Tensor) and not isinstance(control.atol, Tensor):
        return numbers([control.rtol, control.atol], device)
    both = [torch.as_tensor(x, device=device).double() for x in (control.rtol, control.atol)]
    return torch.stack(torch.broadcast_tensors(*both))


@lru_cache
def _compiled(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    return torch.compile(
        function,
        fullgraph=True,
        dynamic=False,
        recompile_limit=_VERSIONS,
        isolate_recompiles=True,
        # Called from C++, small code takes two thirds of the time.
        options={"cpp_wrapper": device == "cpu"},
    )


def _check_hooks(field: nn.Module) -> None:
    """torch.compile does not look whether hooks were added since it compiled."""
    for module in field.modules():
        if any(getattr(module, name) for name in _HOOKS):
            raise ValueError(
                f"compile=True: {type(module).__name__} has hooks, which compiled code would not "
                "run: remove them, or take compile=False"
            )


def _check_pure(field: nn.Module, problem: InitialValueProblem) -> None:
    """Call the field once, and see whether that changes it; compiled code would not follow."""
    before = _state(field)
    with torch.no_grad():
        problem.f(problem.ts[0], problem.y0)
    after = _state(field)
    if len(after) != len(before) or any(
        x is not y or m != n for (x, m), (y, n) in zip(before, after, strict=True)
    ):
        raise ValueError(
            f"compile=True: {type(field).__name__} changes its own attributes or buffers when it "
            "is called, which compiled code would not do: rewrite it (stats counts the "
            "evaluations), or take compile=False"
        )


def _state(field: nn.Module) -> list[tuple[Any, int]]:
    """A module's attributes and buffers, each with a number that a change in place changes."""
    attributes = [
        (value, len(value) if isinstance(value, Sized) else 0)
        for module in field.modules()
        for name, value in vars(module).items()
        if name not in _TABLES
    ]
    return [*attributes, *((buffer, buffer._version) for buffer in field.buffers())]
