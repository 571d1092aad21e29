"""Compiled solves: an attempted step, and its pullback, are one call of compiled code each.

The loop, the controller, dense output, events and all errors stay those of the eager solve.
``torch.compile`` keeps the code and guards it: for another field, mode, attribute, shape or
precision it compiles anew. The weights of a method are data, so that there is little to guard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop, Checkpoint, Gradient
from odenet.adjoint.backsolve import BackwardSolve
from odenet.adjoint.checkpoint import Replay, Span
from odenet.adjoint.function import vjp
from odenet.solvers import (
    Adaptive,
    Control,
    Counts,
    Field,
    FixedSteps,
    InitialValueProblem,
    RungeKutta,
    SlopeHistory,
    Solution,
    SolveStats,
    Step,
    Tableau,
    attempts,
)
from odenet.solvers.loop import stop_times
from odenet.solvers.step_size import after, first_length, land, next_length, smaller

_VERSIONS = 64  # of one function, over which torch.compile refuses to make another
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_TABLES = {"_parameters", "_buffers", "_modules"}  # of every module
_SMALL = 4096  # numbers in a state, up to which calls cost more than attempts made in vain
_pure: WeakSet[Any] = WeakSet()

Adjoined = tuple[Tensor, torch.Size]  # the flat parameters, and the state's shape


# What is compiled. All arguments are tensors, or constants that the code depends on.


class Law(NamedTuple):
    """The numbers of an ``Adaptive`` that say how long the next step is."""

    safety: Tensor
    shrink: Tensor
    growth: Tensor
    integral: Tensor
    proportional: Tensor
    max_step: Tensor


def attempts_ahead(
    count: int,
    fsal: bool,
    order: int,
    norm: Any,
    f: Any,
    adjoined: Any,
    weights: Tensor,
    tolerances: Tensor,
    law: Tensor,
    flags: tuple[bool, bool] | None,
    now: Tensor,
    y: Tensor,
    k: Tensor,
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """So many attempts, each from where the loop would go on after the one before.

    ``now`` holds whether ``k``, the slope at ``y``, is unknown, and whether the first length is to
    be searched for; the time, the end of the first attempt, the length that was planned for it,
    the error of the last accepted step, the end of the solve, and the next stops. ``flags`` are
    the first two where the code is to depend on them, so that nothing is evaluated in vain.

    Returns the first length; time, end and error of each attempt; and time, length and error that
    the loop would go on with, all in one tensor. And of each attempt the state at its end, its
    last slope, and all its slopes.
    """
    unknown, searching, t, t1, dt, before, end = now[:7].unbind()
    unknown, searching = flags or (unknown > 0, searching > 0)
    stops, passed = now[7:], torch.zeros(1, dtype=torch.int64, device=now.device)
    field, numbers = _field(f, adjoined), Law(*law.unbind())
    if fsal or norm is not None:
        k = _either(unknown, lambda: field(t, y), k)
    if norm is not None:

        def searched() -> Tensor:
            def size(x: Tensor) -> Tensor:
                return norm(x).double()

            length = first_length(size, *tolerances, field, t, y, k, end - t, order)
            return torch.copysign(smaller(length, numbers.max_step), end - t)

        dt = _either(searching, searched, dt)
        t1 = _either(searching, lambda: land(t, dt, stops[0]), t1)
    told, found = [dt], []
    for i in range(count):
        stop = stops.index_select(0, passed)[0]
        t1 = t1 if i == 0 else land(t, dt, stop)
        first = k if fsal else field(t, y)
        y1, slopes, error_weights = _step(fsal, field, weights, t, t1, y, first)
        found.append((y1, slopes[-1], torch.stack(slopes)))
        error, accepted = torch.zeros_like(t), t == t
        if norm is not None:
            scale = torch.maximum(y.abs(), y1.abs()) * tolerances[0] + tolerances[1]
            error = norm((_sum(error_weights, slopes) / scale).to(y.dtype)).double()
            accepted = error <= 1
            planned = next_length(numbers, order, abs(t1 - t), error, before)
            planned = torch.copysign(planned, t1 - t)
            dt = torch.where(accepted, after(dt, planned, t1 == stop), planned)
        told += (t, t1, error)
        passed = passed + (accepted & (t1 == stop))
        y, k = torch.where(accepted, y1, y), torch.where(accepted, slopes[-1], k)
        t, before = torch.where(accepted, t1, t), torch.where(accepted, error, before)
    return torch.stack([*told, t, dt, before]), found


def pull_back(
    fsal: bool,
    f: Any,
    flat: Tensor,
    weights: Tensor,
    flags: bool | None,
    times: Tensor,
    steps: Sequence[tuple[Tensor, Tensor]],
    outputs: tuple[Tensor, Tensor, Tensor] | None,
    after: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Through steps, given in order, from the last to the first.

    ``times`` has two ends for each step, and whether the step is one (there may be others in
    front, to make up the number). ``steps`` holds their states and first slopes. A row more, the last one, says
    whether the first slope of the first step is unknown; ``flags`` says it where the code is to
    depend on it. ``after`` are the cotangents of the state and of the slope that are left, and of
    the flat parameters; ``outputs`` what the outputs add to those of each step's end, of its slopes, and of its start.
    """
    ay, ak, total = after
    for i in reversed(range(len(steps))):
        y, k = steps[i]
        t, t1, real = times[i].unbind()
        unknown = (times[-1, 0] > 0 if flags is None else flags) if i == 0 else False
        if outputs is not None:
            ay = ay + outputs[0][i]

        def taken(y: Tensor, flat: Tensor, k: Tensor) -> tuple[Tensor, ...]:
            def field(t: Tensor, y: Tensor) -> Tensor:
                return _slope(f, flat, t, y)

            first = _either(unknown, lambda: field(t, y), k) if fsal else field(t, y)
            y1, slopes, _ = _step(fsal, field, weights, t, t1, y, first)
            return (y1, slopes[-1]) if outputs is None else (y1, slopes[-1], torch.stack(slopes))

        ends = (ay, ak if fsal else torch.zeros_like(ay))
        ends = ends if outputs is None else (*ends, outputs[1][i])
        start, share, slope = torch.func.vjp(taken, y, flat, k)[1](ends)
        if outputs is not None:
            start = start + outputs[2][i]
        ay, ak = torch.where(real > 0, start, ay), torch.where(real > 0, slope, ak)
        total = total + torch.where(real > 0, share, 0.0)
    return ay, ak, total


def _either(flag: Any, value: Callable[[], Tensor], other: Tensor) -> Tensor:
    """``value()`` where the flag holds, else ``other``; both are made where the flag is a tensor."""
    if isinstance(flag, bool):
        return value() if flag else other
    return torch.where(flag, value(), other)


def _step(
    fsal: bool, field: Any, weights: Tensor, t: Tensor, t1: Tensor, y: Tensor, k: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """As ``rk_step``, with `weights_of` a tableau: the end, the slopes, the error weights."""
    h = t1 - t
    nodes = t + h * weights[:, -1]
    rows = (h * weights).to(y.dtype)
    slopes, point = [k], y
    for i in range(1, len(weights) - 2):
        point = y + _sum(rows[i], slopes)
        at = torch.where(weights[i, -1] == 1, t1, nodes[i])  # the end exactly
        slopes.append(field(at, point))
    return point if fsal else y + _sum(rows[-2], slopes), slopes, rows[-1]


def _sum(weights: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for i in range(1, len(slopes)):
        total = total + weights[i] * slopes[i]
    return total


def _field(f: Any, adjoined: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """``f``, or the adjoint's right-hand side for it, as in `odenet.adjoint.backsolve`."""
    if adjoined is None:
        return f
    flat, shape = adjoined
    n = math.prod(shape)

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        y, a = state[:n].view(shape), state[n : 2 * n].view(shape)
        dy, pulled = torch.func.vjp(lambda y, flat: _slope(f, flat, t, y), y, flat)
        parts = (dy, *pulled(-a))
        return torch.cat([x.reshape(-1).to(state.dtype) for x in parts])

    return augmented


def _slope(f: Any, flat: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """``f`` as a function of its flat parameters."""
    if not isinstance(f, nn.Module):
        return f(t, y)
    own = trained(f)
    parts = flat.split([p.numel() for p in own.values()])
    given = zip(own.items(), parts, strict=True)
    given = {name: part.view(p.shape).to(p.dtype) for (name, p), part in given}
    return torch.func.functional_call(f, given, (t, y))


def trained(f: Any) -> dict[str, nn.Parameter]:
    """The parameters of a field that require gradients."""
    named = f.named_parameters() if isinstance(f, nn.Module) else ()
    return {name: p for name, p in named if p.requires_grad}


@lru_cache
def weights_of(tableau: Tableau, device: torch.device) -> Tensor:
    """The rows of the stages, of the end and of the error, the nodes in the last column."""
    table = np.zeros((tableau.stages + 2, tableau.stages + 1))
    for row, weights in zip(
        table, (*tableau.rows, tableau.weights, tableau.error_weights or ()), strict=True
    ):
        for i, weight in weights:
            row[i] = weight
    table[: tableau.stages, -1] = tableau.nodes
    return torch.from_numpy(table).to(device)


@lru_cache
def _compiled(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    return torch.compile(
        function,
        fullgraph=True,
        dynamic=False,
        recompile_limit=_VERSIONS,
        isolate_recompiles=True,
        # In C++, a call of small code takes two thirds of the time.
        options={"cpp_wrapper": device == "cpu"},
    )


# How it is used.


@dataclass(frozen=True, eq=False)
class CompiledProblem(InitialValueProblem):
    """A problem whose steps are compiled code, of the bare ``field`` or of its adjoint."""

    field: Any = None
    adjoined: Adjoined | None = None

    def steps(self, counts: Counts) -> Iterator[Step]:
        y, ts, control = self.y0.detach().contiguous(), self.ts, self.control
        steps = CompiledSteps(self, counts)
        return attempts(steps, self.f, y, ts, control, counts, steps.start(y))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a compiled function. Raises what the field raises, or ``ValueError``."""
        try:
            with torch.no_grad():
                return _compiled(function, self.y0.device.type)(*arguments)
        except Exception as error:
            if self.adjoined is None:
                with torch.no_grad():
                    self.f(self.ts[0], self.y0)  # where it fails itself, it says why
            raise ValueError(
                f"compile=True: cannot compile this solve: {str(error).strip().splitlines()[0]}\n"
                "The field must take its time as a tensor without dimensions, and must not branch "
                "on values; a norm must return a tensor. Rewrite it so, or take compile=False"
            ) from error

    def numbers(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.y0.device)


class Attempt(NamedTuple):
    """One that was made ahead."""

    t: float
    t1: float
    error: float
    y1: Tensor
    last: Tensor
    slopes: Tensor


class CompiledSteps:
    """The method of a problem as the loop sees it: a call of compiled code makes steps ahead.

    The loop judges each attempt as it does elsewhere; what it does not ask for is not counted.
    """

    num_slopes = 1

    def __init__(self, problem: CompiledProblem, counts: Counts) -> None:
        method, control, y = problem.method, problem.control, problem.y0
        assert isinstance(method, RungeKutta)  # see `check_compiled`
        self.problem, self.counts, self.tableau = problem, counts, method.tableau
        self.order, self.interpolates = method.order, method.interpolates
        self.weights = weights_of(method.tableau, y.device)
        self.norm, self.law, self.tolerances = None, self.weights, self.weights
        if isinstance(control, Adaptive):
            self.norm = control.norm
            self.law = problem.numbers([getattr(control, name) for name in Law._fields])
            self.tolerances = self._tolerances(control)
        self.count = 1 if y.numel() > _SMALL else 2 if problem.adjoined else 4
        self.stops, self._later = [], iter(stop_times(problem.ts, method, control))
        self.ahead: deque[Attempt] = deque()
        self.next = (problem.ts[0], 0.0, 1.0)  # time, length and error to go on with

    def start(self, y: Tensor) -> tuple[SlopeHistory, float]:
        """What the first attempt goes on from, and its length."""
        problem, control = self.problem, self.problem.control
        t, end = problem.ts[0], problem.ts[-1]
        if self.norm is None or control.initial is not None:
            return SlopeHistory(), control.first_step(problem.f, t, y, y, end, self.order)
        length = self._run(t, t, y, SlopeHistory(), searching=True)
        self.counts.nfe += 2
        return SlopeHistory((t,), (self.ahead[0].slopes[0],)), length

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        if not self.ahead or self.ahead[0][:2] != (t, t1):
            self._run(t, t1, y, history)
        made, tableau = self.ahead.popleft(), self.tableau
        self.counts.nfe += tableau.stages - bool(history.slopes)
        begun = history if history.slopes else SlopeHistory((t,), (made.slopes[0],))
        left = SlopeHistory((t1,), (made.last,)) if tableau.fsal else SlopeHistory()
        return Step(tableau, t, t1, y, made.y1, made.slopes, begun, left, made.error)

    def _run(
        self, t: float, t1: float, y: Tensor, history: SlopeHistory, searching: bool = False
    ) -> float:
        """Make attempts ahead, of which the first ends at ``t1``; the length of that."""
        problem = self.problem
        dt, before = self.next[1:] if self.next[0] == t else (t1 - t, 1.0)
        k = history.slopes[0] if history.slopes else torch.zeros_like(y)  # unused
        flags = (not history.slopes, searching)
        now = [*flags, t, t1, dt, before, problem.ts[-1], *self._next_stops(t)]
        told, found = problem.call(
            attempts_ahead,
            self.count,
            self.tableau.fsal,
            self.order,
            self.norm,
            problem.field,
            problem.adjoined,
            self.weights,
            self.tolerances,
            self.law,
            flags if self.count == 1 else None,
            problem.numbers(now),
            y,
            k,
        )
        length, *rest = told.tolist()
        self.ahead.clear()
        self.ahead += [Attempt(*rest[3 * i : 3 * i + 3], *parts) for i, parts in enumerate(found)]
        self.next = tuple(rest[-3:])
        return length

    def _next_stops(self, t: float) -> list[float]:
        """The stops after ``t``, one more than can be reached ahead; the last one again and again."""
        ts, need = self.problem.ts, self.count + 1
        while self.stops and (self.stops[0] - t) * (ts[-1] - ts[0]) <= 0:
            self.stops.pop(0)
        self.stops += islice(self._later, need - len(self.stops))
        return [*self.stops, *[ts[-1]] * (need - len(self.stops))]

    def _tolerances(self, control: Adaptive) -> Tensor:
        if isinstance(control.rtol, Tensor) or isinstance(control.atol, Tensor):
            device = self.problem.y0.device
            both = [torch.as_tensor(x, device=device) for x in (control.rtol, control.atol)]
            return torch.stack(torch.broadcast_tensors(*both)).double()
        return self.problem.numbers([control.rtol, control.atol])


class CompiledReplay(Replay):
    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        counts, problem, spans = self.stats.begin_backward(), self.problem, self.spans
        tableau, y0 = problem.method.tableau, inputs[0].detach()
        flat = flattened(problem.field, y0)
        zero = torch.zeros_like(y0, memory_format=torch.contiguous_format)
        after = (zero, zero.clone(), torch.zeros_like(flat))
        if len(problem.ts) == 2:
            after = (cotangent[1].contiguous(), *after[1:])
        count = 1 if y0.numel() > _SMALL else 2
        steps, end = [], 0
        for span in spans:
            known = len(span.history)
            steps.append((saved[end], saved[end + 1] if known else zero))
            end += 1 + known
        for stop in range(len(spans), 0, -count):
            some = slice(max(stop - count, 0), stop)
            after = self._pull(count, spans[some], steps[some], cotangent, flat, zero, after)
        counts.accepted = len(spans)
        counts.nfe = len(spans) * (tableau.stages - tableau.fsal) + tableau.fsal
        return [after[0] + cotangent[0], *unflattened(problem, after[2])]

    def _pull(self, count, spans, steps, cotangent, flat, zero, after):
        problem, tableau = self.problem, self.problem.method.tableau
        first = not spans[0].history
        missing = count - len(spans)
        rows = [[span.t0, span.t1, 1.0] for span in spans] + [[0.0, 0.0, 0.0]] * missing
        times = problem.numbers([*rows, [float(first), 0.0, 0.0]])
        steps = [*steps, *[(zero, zero)] * missing]
        outputs = None
        if len(problem.ts) > 2:
            read = [self._read(span, cotangent) for span in spans]
            none = (zero, zero.new_zeros(tableau.stages, *zero.shape), zero)
            outputs = tuple(map(torch.stack, zip(*read, *[none] * missing, strict=True)))
        flags = None if count > 1 else first
        weights = weights_of(tableau, zero.device)
        arguments = (tableau.fsal, problem.field, flat, weights, flags, times)
        return problem.call(pull_back, *arguments, steps, outputs, after)

    def _read(self, span: Span, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the outputs in a step add to the cotangents of its end, its slopes and its start."""
        tableau, inside, rows = self.problem.method.tableau, span.inside, cotangent[span.rows]
        end = start = torch.zeros_like(cotangent[0])
        if inside and inside[-1] == span.t1:
            end, inside, rows = rows[-1], inside[:-1], rows[:-1]
        slopes = end.new_zeros(tableau.stages, *end.shape)
        if inside:
            h = span.t1 - span.t0
            weights = h * tableau.dense_weights((np.array(inside) - span.t0) / h)
            flat = torch.from_numpy(weights).to(rows).T @ rows.reshape(len(rows), -1)
            start, slopes = rows.sum(0), flat.view(slopes.shape)
        return end, slopes, start


@dataclass(frozen=True, eq=False)
class CompiledBackwardSolve(BackwardSolve):
    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        flat = flattened(self.problem.field, inputs[0])
        y0, flat = super().pullback(cotangent, [inputs[0], flat], saved)
        return [y0, *unflattened(self.problem, flat)]

    def _augmented(
        self,
        field: Field,
        state: Tensor,
        ts: tuple[float, float],
        control: Control,
        params: Sequence[Tensor],
    ) -> InitialValueProblem:
        bare, shape = self.problem.field, self.problem.y0.shape
        adjoined = (params[0], shape)
        return CompiledProblem(field, state, ts, self.method, control, (), bare, adjoined)


class CompiledCheckpoint(Checkpoint):
    def _replay(self, problem: InitialValueProblem, spans: list[Span], stats: SolveStats) -> Replay:
        return CompiledReplay(problem, spans, stats)


class CompiledAdjoint(Adjoint):
    def _backward(self, problem: InitialValueProblem, stats: SolveStats) -> BackwardSolve:
        return CompiledBackwardSolve(**vars(super()._backward(problem, stats)))


def flattened(f: Any, like: Tensor) -> Tensor:
    """The trained parameters, one behind the other."""
    with torch.no_grad():
        parts = [p.reshape(-1) for p in trained(f).values()]
        return torch.cat(parts) if parts else like.new_empty(0)


def unflattened(problem: CompiledProblem, flat: Tensor) -> list[Tensor]:
    """The gradients of the problem's parameters, from that of all trained ones."""
    own = trained(problem.field).values()
    parts = zip(own, flat.split([p.numel() for p in own]), strict=True)
    gradients = {id(p): part.view(p.shape).to(p.dtype) for p, part in parts}
    return [gradients[id(p)] for p in problem.params]


def compiled_rule(rule: Gradient) -> Gradient:
    if isinstance(rule, Checkpoint):
        return CompiledCheckpoint()
    if isinstance(rule, Adjoint):
        return CompiledAdjoint(**vars(rule))
    return rule


def compiled_problem(problem: InitialValueProblem) -> CompiledProblem:
    field: Any = getattr(problem.f, "__wrapped__", problem.f)
    return CompiledProblem(
        problem.f, problem.y0, problem.ts, problem.method, problem.control, problem.params, field
    )
