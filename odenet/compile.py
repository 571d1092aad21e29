"""Compiled solves, as ``Solver(..., compile=True)`` makes them.

A call of compiled code makes a few attempts ahead of the loop, or pulls cotangents back through a
few steps. The loop, the controller, dense output, events and all errors stay those of the eager
solve: an attempt that the loop does not ask for next is thrown away. A method's weights,
tolerances and lengths are data, so that ``torch.compile`` has little but the field to guard.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Backprop, Checkpoint, Gradient
from odenet.adjoint.backsolve import BackwardSolve
from odenet.adjoint.checkpoint import Replay, Span
from odenet.solvers import (
    Adaptive,
    Control,
    Counts,
    Field,
    FixedSteps,
    InitialValueProblem,
    Method,
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

_SMALL = 4096  # numbers in a state, up to which a call costs more than an attempt made in vain
_VERSIONS = 64  # of one function, over which torch.compile refuses to make another
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
CONTIGUOUS = torch.contiguous_format
_TABLES = {"_parameters", "_buffers", "_modules"}  # of every module
_pure: WeakSet[nn.Module] = WeakSet()

Slope = Callable[[Tensor, Tensor], Tensor]
Three = tuple[Tensor, Tensor, Tensor]


def check_compiled(method: Method, control: Control, gradient: Gradient) -> None:
    """Raises ``ValueError`` for a solver that is not compiled."""
    pairs: list[Any] = [(method, control)]
    if isinstance(gradient, Adjoint):
        pairs.append((gradient.method or method, gradient.control or control))
    for method, control in pairs:
        if type(method) is not RungeKutta:
            raise ValueError(
                f"compile=True takes Runge-Kutta methods, not {method.name}: take compile=False"
            )
        if type(control) not in (Adaptive, FixedSteps):
            raise ValueError(
                f"compile=True takes Adaptive and FixedSteps, not {control}: take compile=False"
            )
    if not isinstance(gradient, Backprop | Checkpoint | Adjoint):
        raise ValueError(
            f"compile=True is not for {type(gradient).__name__}: take 'checkpoint' or 'adjoint', "
            "or compile=False"
        )


# What is compiled. Nothing there branches on a value.


class Traced(NamedTuple):
    """What code depends on: the method's properties, the norm of an error, the field.

    ``norm`` is None where no error is measured. ``adjoint`` holds the flat parameters and the
    state's shape where the solve is that of the adjoint.
    """

    fsal: bool
    order: int
    norm: Any
    f: Any
    adjoint: tuple[Tensor, torch.Size] | None = None


class Law(NamedTuple):
    """The numbers of an ``Adaptive`` by which the next length follows."""

    safety: Any
    shrink: Any
    growth: Any
    integral: Any
    proportional: Any
    max_step: Any


def make_attempts(
    count: int,
    traced: Traced,
    data: Three,
    flags: tuple[bool, bool] | None,
    numbers: Tensor,
    y: Tensor,
    k: Tensor,
) -> tuple[Tensor, list[Three]]:
    """``count`` attempts, each from where the loop goes on after the one before.

    Args:
        data: `_table` of the method, rtol and atol, the entries of a ``Law``.
        flags: the first two numbers, where the code is to depend on them, so that nothing is
            evaluated in vain.
        numbers: whether ``k``, the slope at ``y``, is unknown, and whether the first length must be
            searched for; the time; the end and the planned length of the first attempt; the error
            of the last accepted step; the end of the solve; the next stops.

    Returns:
        The first length, time, end and error of each attempt, and the time, length and error to go
        on with, in one tensor; and of each attempt the end, the last slope, and all slopes.
    """
    field, (table, tolerances, law) = _field(traced), data
    t, t1, dt, before, end = numbers[2:7].unbind()
    stops, passed = numbers[7:], torch.zeros(1, dtype=torch.int64, device=y.device)
    unknown, searching = flags or (numbers[0] > 0, numbers[1] > 0)
    rtol, atol = tolerances if traced.norm else (t, t)
    k = _either(unknown, lambda: field(t, y), k)

    def norm(x: Tensor) -> Tensor:
        size = traced.norm(x.to(y.dtype))
        return size.double() if isinstance(size, Tensor) else torch.full_like(t, size)

    def searched() -> Tensor:
        length = first_length(norm, rtol, atol, field, t, y, k, end - t, traced.order)
        return torch.copysign(smaller(length, Law(*law).max_step), end - t)

    if traced.norm:
        dt = _either(searching, searched, dt)
        t1 = _either(searching, lambda: land(t, dt, stops[0]), t1)
    told, found = [dt], []
    for i in range(count):
        stop = stops.index_select(0, passed)[0]
        if i > 0:
            t1, k = land(t, dt, stop), k if traced.fsal else field(t, y)
        y1, slopes, error_weights = _step(traced.fsal, field, table, t, t1, y, k)
        found.append((y1, slopes[-1], torch.stack(slopes)))
        error = torch.zeros_like(t)
        if traced.norm:
            scale = torch.maximum(y.abs(), y1.abs()) * rtol + atol
            error = norm(_sum(error_weights, slopes) / scale)
            planned = next_length(Law(*law), traced.order, abs(t1 - t), error, before)
            planned = torch.copysign(planned, t1 - t)
            dt = torch.where(error <= 1, after(dt, planned, t1 == stop), planned)
        told += (t, t1, error)
        accepted = error <= 1
        passed = passed + (accepted & (t1 == stop))
        y, k = torch.where(accepted, y1, y), torch.where(accepted, slopes[-1], k)
        t, before = torch.where(accepted, t1, t), torch.where(accepted, error, before)
    return torch.stack([*told, t, dt, before]), found


def pull_back(
    traced: Traced,
    table: Tensor,
    flag: bool | None,
    flat: Tensor,
    numbers: Tensor,
    steps: Sequence[tuple[Tensor, Tensor]],
    outputs: Three | None,
    carried: Three,
) -> Three:
    """Cotangents of the state, its slope and the flat parameters, from the last step to the first.

    Args:
        flag: the first number, where the code is to depend on it.
        numbers: in the first row, whether the first slope of the first step is unknown; then of
            each step the two times, and whether it is one: others make up the number.
        steps: the state where each starts, and the slope there.
        outputs: what is added at each step to the cotangents of its end, its slopes and its start;
            None where no output is read from a step.
        carried: the cotangents behind the last step.
    """
    ay, ak, total = carried
    for i in reversed(range(len(steps))):
        t, t1, real = numbers[i + 1].unbind()
        unknown: Any = not traced.fsal
        if traced.fsal and i == 0:
            unknown = numbers[0, 0] > 0 if flag is None else flag
        taken = partial(_taken, traced, table, t, t1, unknown, outputs is not None)
        ends = (ay, ak) if outputs is None else (ay + outputs[0][i], ak, outputs[1][i])
        y, k = steps[i]
        start, share, slope = torch.func.vjp(taken, y, flat, k)[1](ends)
        start = start if outputs is None else start + outputs[2][i]
        ay, ak = torch.where(real > 0, start, ay), torch.where(real > 0, slope, ak)
        total = total + torch.where(real > 0, share, 0.0)
    return ay, ak, total


def _taken(
    traced: Traced,
    table: Tensor,
    t: Tensor,
    t1: Tensor,
    unknown: Any,
    read: bool,
    y: Tensor,
    flat: Tensor,
    k: Tensor,
) -> tuple[Tensor, ...]:
    """What a step leaves: its end, the slope that the next one goes on from, all that is read."""
    field = partial(_slope, traced.f, flat)
    k = _either(unknown, lambda: field(t, y), k)
    y1, slopes, _ = _step(traced.fsal, field, table, t, t1, y, k)
    last = slopes[-1] if traced.fsal else torch.zeros_like(y)
    return (y1, last, torch.stack(slopes)) if read else (y1, last)


def _step(
    fsal: bool, field: Slope, table: Tensor, t: Tensor, t1: Tensor, y: Tensor, k: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The end of a step, its slopes, and the weights of its error, as ``rk_step`` does it."""
    h = t1 - t
    rows = (h * table).to(y.dtype)
    slopes, point = [k], y
    for i in range(1, len(table) - 2):
        point = y + _sum(rows[i], slopes)
        node = torch.where(table[i, -1] == 1, t1, t + h * table[i, -1])  # the end exactly
        slopes.append(field(node, point))
    return point if fsal else y + _sum(rows[-2], slopes), slopes, rows[-1]


def _sum(weights: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for i in range(1, len(slopes)):
        total = total + weights[i] * slopes[i]
    return total


def _either(flag: Any, value: Callable[[], Tensor], other: Tensor) -> Tensor:
    """``value()`` where the flag holds, else ``other``: both are made if the flag is a tensor."""
    if isinstance(flag, bool):
        return value() if flag else other
    return torch.where(flag, value(), other)


def _field(traced: Traced) -> Slope:
    """The field, or the right-hand side of its adjoint, as in `odenet.adjoint.backsolve`."""
    if traced.adjoint is None:
        return lambda t, y: traced.f(t, y).to(y.dtype)  # a lone number takes the time's precision
    flat, shape = traced.adjoint
    n = math.prod(shape)

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        y, a = state[:n].view(shape), state[n : 2 * n].view(shape)
        dy, pull = torch.func.vjp(lambda y, flat: _slope(traced.f, flat, t, y), y, flat)  # type: ignore[misc]
        return torch.cat([x.reshape(-1).to(state.dtype) for x in (dy, *pull(-a))])

    return augmented


def _slope(f: Any, flat: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """``f`` as a function of its trained parameters, one behind the other."""
    own = trained(f)
    pieces = zip(own.items(), flat.split([p.numel() for p in own.values()]), strict=True)
    given = {name: piece.view(p.shape).to(p.dtype) for (name, p), piece in pieces}
    k: Tensor = torch.func.functional_call(f, given, (t, y)) if given else f(t, y)
    return k.to(y.dtype)


def trained(f: Any) -> dict[str, nn.Parameter]:
    """The parameters of a field that require gradients; none of a plain function."""
    named = f.named_parameters() if isinstance(f, nn.Module) else ()
    return {name: p for name, p in named if p.requires_grad}


@cache
def _compiled(function: Callable[..., Any], device: str, *structure: Any) -> Callable[..., Any]:
    """The compiled function, apart for each structure: one's guards cannot read another's."""
    compile: Any = torch.compile
    return compile(
        function,
        fullgraph=True,
        dynamic=False,
        recompile_limit=_VERSIONS,
        isolate_recompiles=True,
        # Called from C++, small code takes two thirds of the time.
        options={"cpp_wrapper": device == "cpu"},
    )


# How it is used.


@dataclass(frozen=True, eq=False)
class CompiledProblem(InitialValueProblem):
    """A problem with what its code is given; ``ahead``: attempts in a call."""

    traced: Any = None
    data: Any = None
    ahead: int = 1

    def steps(self, counts: Counts) -> Iterator[Step]:
        y, ahead = self.y0.detach().contiguous(), Ahead(self, counts)
        return attempts(ahead, self.f, y, self.ts, self.control, counts, ahead.start(y))

    @property
    def small(self) -> bool:
        return self.y0.numel() <= _SMALL

    @property
    def tableau(self) -> Tableau:
        assert isinstance(self.method, RungeKutta)  # see `check_compiled`
        return self.method.tableau

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a compiled function. Raises what the field raises, or ``ValueError``."""
        structure: list[Any] = [
            len(x) if isinstance(x, list | tuple) else x is None for x in arguments
        ]
        structure += [type(self.traced.f), self.traced.norm is None, self.traced.adjoint is None]
        try:
            with torch.no_grad():
                return _compiled(function, self.y0.device.type, *structure)(*arguments)
        except Exception as error:
            if self.traced.adjoint is None:
                with torch.no_grad():
                    self.f(self.ts[0], self.y0)  # a field that fails itself says why
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"compile=True: this solve cannot be compiled: {reason}\nThe field must take its "
                "time as a tensor without dimensions and must not branch on values, nor read them "
                "(t * torch.ones_like(y) instead of torch.full_like(y, t)); a norm must return a "
                "tensor. Rewrite it so, or take compile=False"
            ) from error


def compiled_problem(problem: InitialValueProblem) -> CompiledProblem:
    """The problem with compiled steps.

    Raises ``ValueError`` for a field that has hooks, or changes itself when it is called, and for
    complex parameters.
    """
    field: Any = getattr(problem.f, "__wrapped__", problem.f)
    if any(p.is_complex() for p in problem.params):
        raise ValueError("compile=True takes real parameters alone: take compile=False")
    if isinstance(field, nn.Module):
        _check_hooks(field)
        if field not in _pure:
            _check_pure(field, problem)
            _pure.add(field)
    traced, data = _given(field, problem.method, problem.control, problem.y0.device)
    ahead = 4 if problem.y0.numel() <= _SMALL else 1
    return CompiledProblem(**vars(problem), traced=traced, data=data, ahead=ahead)


def _given(field: Any, method: Any, control: Control, device: torch.device) -> tuple[Traced, Any]:
    table = _table(method.tableau, device)
    if not isinstance(control, Adaptive):
        return Traced(method.tableau.fsal, method.order, None, field), (table, None, None)
    law = _numbers([getattr(control, name) for name in Law._fields], device)
    traced = Traced(method.tableau.fsal, method.order, control.norm, field)
    return traced, (table, _tolerances(control, device), law)


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
        method: Any = problem.method
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
        length = control.first_step(end - t)
        if length is not None:
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
        problem, flags = self.problem, (not history.slopes, searching)
        dt, before = self._next[1:] if self._next[0] == t else (t1 - t, 1.0)
        now = [*flags, t, t1, dt, before, problem.ts[-1], *self._next_stops(t)]
        told, found = problem.call(
            make_attempts,
            problem.ahead,
            problem.traced,
            problem.data,
            flags if problem.ahead == 1 else None,
            _numbers(now, y.device),
            y,
            history.slopes[0] if history.slopes else torch.zeros_like(y),  # unread
        )
        length, *rest = told.tolist()
        made = (Attempt(*rest[3 * i : 3 * i + 3], *ends) for i, ends in enumerate(found))
        self.attempts, self._next = deque(made), tuple(rest[-3:])
        return float(length)

    def _next_stops(self, t: float) -> list[float]:
        """The stops after ``t``, one more than can be reached; the last one again and again."""
        ts, need = self.problem.ts, self.problem.ahead + 1
        while self._stops and (self._stops[0] - t) * (ts[-1] - ts[0]) <= 0:
            self._stops.pop(0)
        self._stops += islice(self._later, need - len(self._stops))
        return [*self._stops, *[ts[-1]] * (need - len(self._stops))]


def compiled_rule(rule: Gradient) -> Gradient:
    """``rule`` for compiled problems."""
    if isinstance(rule, Checkpoint):
        return CompiledCheckpoint()
    return CompiledAdjoint(**vars(rule)) if isinstance(rule, Adjoint) else WithoutGradient()


class WithoutGradient(Backprop):
    def __call__(self, problem: InitialValueProblem) -> Solution:
        if problem.wants_gradient:
            raise ValueError(
                "compile=True does not record what 'backprop' needs: take gradient='checkpoint', "
                "which is equal to rounding, or torch.no_grad() where no gradient is wanted"
            )
        return problem.solve()


class CompiledCheckpoint(Checkpoint):
    def _replay(self, problem: Any, spans: list[Span], stats: SolveStats) -> Replay:
        return CompiledReplay(problem, spans, stats)


class CompiledReplay(Replay):
    problem: CompiledProblem

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        problem, counts, rest = self.problem, self.stats.begin_backward(), iter(saved)
        parameters, end = Parameters(problem), cotangent[1].clone(memory_format=CONTIGUOUS)
        if len(problem.ts) > 2:
            end.zero_()
        carried = (end, torch.zeros_like(end), torch.zeros_like(parameters.flat))
        steps = [
            (next(rest), next(rest) if span.history else torch.zeros_like(end))
            for span in self.spans
        ]
        count = 2 if problem.small else 1
        for stop in range(len(steps), 0, -count):
            some = slice(max(stop - count, 0), stop)
            given = self._given(count, self.spans[some], steps[some], cotangent)
            table, flag = problem.data[0], None if count > 1 else not self.spans[some][0].history
            carried = problem.call(
                pull_back, problem.traced, table, flag, parameters.flat, *given, carried
            )
        fsal = problem.tableau.fsal
        counts.accepted = len(steps)
        counts.nfe = len(steps) * (problem.tableau.stages - fsal) + fsal
        return [carried[0] + cotangent[0], *parameters.split(carried[2])]

    def _given(
        self,
        count: int,
        spans: Sequence[Span],
        steps: Sequence[tuple[Tensor, Tensor]],
        cotangent: Tensor,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Three | None]:
        """Numbers, steps and outputs, as `pull_back` takes them, of a few steps in order."""
        missing, like = count - len(spans), steps[0][0]
        rows = [[float(not spans[0].history), 0.0, 0.0]]
        rows += [[span.t0, span.t1, 1.0] for span in spans] + [[0.0] * 3] * missing
        outputs: Any = None
        if len(self.problem.ts) > 2:
            read: Any = [self._read(span, cotangent) for span in spans]
            read += [tuple(map(torch.zeros_like, read[0]))] * missing
            outputs = tuple(map(torch.stack, zip(*read, strict=True)))
        # Each a tensor of its own: code is compiled anew where two arguments are one tensor.
        none = [(torch.zeros_like(like), torch.zeros_like(like)) for _ in range(missing)]
        return _numbers(rows, like.device), [*steps, *none], outputs

    def _read(self, span: Span, cotangent: Tensor) -> Three:
        """What the outputs in a step add to the cotangents of its end, its slopes, its start."""
        tableau = self.problem.tableau
        inside, rows = span.inside, cotangent[span.rows]
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


class CompiledAdjoint(Adjoint):
    def _backward(self, problem: Any, stats: SolveStats) -> BackwardSolve:
        return CompiledBackwardSolve(**vars(super()._backward(problem, stats)))


@dataclass(frozen=True, eq=False)
class CompiledBackwardSolve(BackwardSolve):
    problem: CompiledProblem

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        parameters = Parameters(self.problem)
        start, flat = super().pullback(cotangent, [inputs[0], parameters.flat], saved)
        return [start, *parameters.split(flat)]

    def _prepared(
        self, piece: InitialValueProblem, params: Sequence[Tensor]
    ) -> InitialValueProblem:
        whole = self.problem
        traced, data = _given(whole.traced.f, piece.method, piece.control, piece.y0.device)
        traced = traced._replace(adjoint=(params[0], whole.y0.shape))
        # A piece between two of many outputs is an attempt or two.
        ahead = 3 if whole.small and len(whole.ts) == 2 else 1
        return CompiledProblem(**vars(piece), traced=traced, data=data, ahead=ahead)


class Parameters:
    """The trained parameters of a problem's field, one behind the other."""

    def __init__(self, problem: CompiledProblem) -> None:
        self._wanted, self._own = problem.params, list(trained(problem.traced.f).values())
        with torch.no_grad():
            parts = [p.reshape(-1) for p in self._own]
            self.flat = torch.cat(parts) if parts else problem.y0.new_empty(0)

    def split(self, flat: Tensor) -> list[Tensor]:
        """The gradients of the problem's parameters, from that of the flat ones."""
        pieces = zip(self._own, flat.split([p.numel() for p in self._own]), strict=True)
        gradients = {id(p): piece.view(p.shape).to(p.dtype) for p, piece in pieces}
        return [gradients[id(p)] for p in self._wanted]


def _numbers(values: Sequence[Any], device: torch.device) -> Tensor:
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
        return _numbers([control.rtol, control.atol], device)
    both = [torch.as_tensor(x, device=device).double() for x in (control.rtol, control.atol)]
    return torch.stack(torch.broadcast_tensors(*both))


def check_own(f: Any, params: Sequence[Tensor]) -> None:
    """Raises ``ValueError`` for parameters that compiled code would not see in the field."""
    if not {id(p) for p in trained(f).values()}.issuperset(map(id, params)):
        raise ValueError(
            "compile=True differentiates with respect to the parameters of a module alone: make f "
            "an nn.Module that holds params, or take compile=False"
        )


def _check_hooks(field: nn.Module) -> None:
    # torch.compile does not look whether there are hooks that were not there when it compiled.
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
    changed = _state(field)
    if len(changed) != len(before) or any(
        x is not y or m != n for (x, m), (y, n) in zip(before, changed, strict=True)
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
