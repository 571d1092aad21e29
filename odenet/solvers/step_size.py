"""Step-size control: where a solve stops, and how long each step is.

A control says where a solve must stop exactly, how long its first step is, and of each step
whether it is accepted and how long the next one may be.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from odenet.solvers.step import Field, Step

_NARROW = (torch.float16, torch.bfloat16)
_ENDLESS = 10_000  # steps of a fixed size, after which a search without an end gives up


class Decision(NamedTuple):
    """Of an attempted step: its error in units of the tolerance, and the next signed length."""

    accepted: bool
    dt: float
    error: float


class Control(Protocol):
    """What chooses the steps: where they end, how long they are, which are accepted.

    For the adjoint rules it is a dataclass with the field ``jump_times``: their backward solves
    take a copy with other ones.
    """

    @property
    def max_steps(self) -> float | None:
        """The attempts from output to output after which a solve fails; None as in ``Adaptive``."""
        ...

    @property
    def max_step(self) -> float:
        """The length that no attempt exceeds."""
        ...

    @property
    def jump_times(self) -> tuple[float, ...]:
        """Times at which the field jumps, where a step ends."""
        ...

    def stop_times(self, ts: Sequence[Any]) -> Iterable[Any]:
        """The times, after ``ts[0]``, at which a step must end; the last one is ``ts[-1]``.

        Floats, or where ``ts`` are tensors, functions of them.
        """
        ...

    def first_step(self, span: float) -> float | None:
        """The signed length of the first attempt, or None where it is to be searched for.

        ``span`` is the signed time to the end.
        """
        ...

    def search_step(
        self, f: Field, t: float, y: Tensor, k: Tensor, end: float, order: int
    ) -> float:
        """The signed length of the first attempt; ``k`` is the slope at ``(t, y)``."""
        ...

    def adapt(self, step: Step, previous: Decision | None) -> Decision:
        """Whether the step is accepted; ``previous`` is the decision on the last accepted one."""
        ...

    def accepts_end(self, y: Tensor) -> bool:
        """Whether the state at the end is finite, where the steps were not looked at."""
        ...

    def restart(self, ts: Sequence[float], dt: float) -> Control:
        """This control for one piece of a solve over ``ts``, with ``dt`` known to be good."""
        ...


def rms(x: Tensor) -> float:
    """Root mean square over all entries (Hairer, Norsett, Wanner: Solving ODEs I, II.4.11)."""
    return float(torch.linalg.vector_norm(x)) / math.sqrt(max(x.numel(), 1))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return not (isinstance(a, Tensor) or isinstance(b, Tensor)) and bool(a == b)


@dataclass(frozen=True)
class FixedSteps:
    """Steps that are chosen before the solve, whatever the error.

    Give one of the first three; with none of them, there is one step from each output time to the
    next. No value is looked at between the steps. So ``torch.compile`` takes a whole solve as one
    graph, and ``torch.func.vmap`` maps over it, where ``ts`` are numbers, the method is
    Runge-Kutta, and the gradient is that of ``Backprop`` or not wanted.

    Args:
        count: number of equal steps from the first to the last output time.
        size: length of a step, in units of time; the last one is shorter where it must be.
        grid: times at which steps end, besides the last output time; those outside are left out.
        jump_times: times at which the field jumps. A step ends at each, and the field is called
            just before and just after it, never there.

    Raises:
        TypeError, ValueError: for more than one of count, size and grid, and for values that are
            no numbers, not finite, or not positive.

    Example:
        >>> import torch, odenet
        >>> solver = odenet.Solver("rk4", odenet.FixedSteps(10))
        >>> odenet.solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], solver).stats.forward
        Counts(nfe=40, accepted=10, rejected=0)
    """

    count: int | None = None
    size: float | None = None
    grid: tuple[float, ...] | None = None
    jump_times: tuple[float, ...] = ()

    max_steps = math.inf
    max_step = math.inf

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.count, self.size, self.grid)) > 1:
            raise ValueError("FixedSteps must be given only one of count, size and grid")
        if self.count is not None:
            check_number("count", self.count, "an integer of at least 1", low=1, kind=Integral)
        if self.size is not None:
            check_number("size", self.size, "a positive, finite number", above=0)
        if self.grid is not None:
            object.__setattr__(self, "grid", _finite_times("grid", self.grid))
        object.__setattr__(self, "jump_times", _finite_times("jump_times", self.jump_times))

    def stop_times(self, ts: Sequence[Any]) -> Iterable[Any]:
        return _with_jumps(self._stop_times(ts), self.jump_times, ts)

    def _stop_times(self, ts: Sequence[Any]) -> Iterable[Any]:
        # The times may also be tensors: then the stops are, as functions of them.
        start, end = ts[0], ts[-1]
        span = end - start
        length = abs(span.item() if isinstance(span, Tensor) else span)
        if self.grid is not None:
            low, high = (start, end) if end > start else (end, start)
            inside = sorted((t for t in self.grid if low < t < high), reverse=bool(end < start))
            return [*inside, end]
        if self.size is not None:
            h = self.size if end > start else -self.size
            if math.isinf(length):
                return (start + i * h for i in range(1, _ENDLESS + 1))
            # A step shorter than a millionth of the others is rounding, not a step.
            n = max(1, math.ceil(length / self.size - 1e-6))
        elif self.count is not None:
            n, h = int(self.count), span / self.count
        else:
            return ts[1:]
        return [start + i * h for i in range(1, n)] + [end]

    def first_step(self, span: float) -> float:
        return math.copysign(math.inf, span)

    def search_step(
        self, f: Field, t: float, y: Tensor, k: Tensor, end: float, order: int
    ) -> float:
        return self.first_step(end - t)

    def adapt(self, step: Step, previous: Decision | None) -> Decision:
        # No look at a value: on an accelerator, or in a compiled solve, each would be a wait.
        return Decision(True, math.copysign(math.inf, step.h), 0.0)

    def accepts_end(self, y: Tensor) -> bool:
        if torch.compiler.is_compiling():
            return True
        try:
            return bool(y.isfinite().all())
        except RuntimeError:  # inside torch.func.vmap no value can be looked at
            return True

    def restart(self, ts: Sequence[float], dt: float) -> FixedSteps:
        if self.count is None:
            return self
        return replace(self, count=None, size=abs(ts[-1] - ts[0]) / self.count)


@dataclass(frozen=True, eq=False)
class Adaptive:
    """Step-size control by the error of a step (Hairer, Norsett, Wanner: Solving ODEs I, II.4).

    A step is accepted where ``error = norm(estimate / (atol + rtol max(|y0|, |y1|))) <= 1``. The
    next one is ``safety error^(-(integral + proportional) / order) previous^(proportional /
    order)`` times as long, within ``shrink`` and ``growth``. ``order`` is the method's;
    ``previous`` is the error of the last accepted step, at the start 1.
    SciPy's methods read ``rtol``, ``atol``, ``initial``, ``min_step`` ("scipy_solver" does not),
    ``max_step`` and ``max_steps`` alone: ``norm`` and the factors have no effect on them.

    Args:
        rtol: relative tolerance, a number or a tensor that broadcasts with the state. Below 1e-5,
            take a state in double precision: single precision rounds at 1e-7, step after step.
        atol: absolute tolerance, in units of the state; a number or a tensor likewise. One of the
            two may be zero, ``atol`` only where no entry of the state is ever zero.
        norm: of the scaled error estimate, a tensor like the state; the root mean square of all
            entries by default.
        safety: factor on the next length.
        shrink: the least that a length is multiplied with.
        growth: the most that a length is multiplied with.
        integral: integral gain; 1, without a proportional one, is the elementary controller.
        proportional: proportional gain. ``integral=0.3, proportional=0.4`` is a common PI
            controller (Hairer, Wanner: Solving ODEs II, IV.2), smoother on stiff fields.
        initial: length of the first attempt; by default it is estimated with one evaluation more
            (Hairer, Norsett, Wanner, II.4).
        min_step: no attempt is shorter, but one that must end at an output or a jump; an attempt of
            this length is accepted whatever its error, as long as that is finite.
        max_step: no attempt is longer.
        max_steps: the solve fails after so many attempts from one output time to the next; 10,000
            by default. With None it goes on after 10,000, as long as fewer than 100,000 steps of
            the present length are left; "scipy_vode" and "scipy_lsoda" take None for 10,000.
        jump_times: times at which the field jumps. A step ends at each, and the field is called
            just before and just after it, never there.

    Raises:
        TypeError, ValueError: for tolerances, factors or limits outside their range.

    Example:
        >>> import torch, odenet
        >>> y0, field = torch.ones(1, dtype=torch.float64), lambda t, y: -y
        >>> for tolerance in (1e-3, 1e-9):
        ...     solver = odenet.Solver("dopri5", odenet.Adaptive(tolerance, tolerance))
        ...     print(odenet.solve(field, y0, [0.0, 5.0], solver).stats.forward.accepted)
        5
        50
    """

    rtol: float | Tensor = 1e-6
    atol: float | Tensor = 1e-6
    norm: Callable[[Tensor], Tensor | float] = rms
    safety: float = 0.9
    shrink: float = 0.2
    growth: float = 10.0
    integral: float = 1.0
    proportional: float = 0.0
    initial: float | None = None
    min_step: float = 0.0
    max_step: float = math.inf
    max_steps: int | None = 10_000
    jump_times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            _check_tolerance(name, getattr(self, name))
        if not (_some(self.rtol) or _some(self.atol)):
            raise ValueError("one of rtol and atol must be above zero in every entry")
        if not callable(self.norm):
            raise TypeError(f"norm must be a function of the error, got {self.norm!r}")
        for name in ("safety", "shrink", "growth", "integral", "proportional"):
            check_number(name, getattr(self, name), "a finite number")
        if not 0 < self.shrink < 1 <= self.growth or not 0 < self.safety <= 1:
            raise ValueError("factors must satisfy 0 < shrink < 1 <= growth and 0 < safety <= 1")
        if self.initial is not None:
            check_number("initial", self.initial, "a positive, finite number", above=0)
        for name in ("min_step", "max_step"):
            check_number(name, getattr(self, name), "a number", high=math.inf)
        if not 0 <= self.min_step <= self.max_step or not self.max_step > 0:
            raise ValueError("limits must satisfy 0 <= min_step <= max_step and max_step > 0")
        if self.integral + self.proportional <= 0 or self.proportional < 0:
            raise ValueError("integral + proportional must be positive, proportional not negative")
        if self.max_steps is not None:
            allowed = "an integer of at least 1"
            check_number("max_steps", self.max_steps, allowed, low=1, kind=Integral)
        object.__setattr__(self, "jump_times", _finite_times("jump_times", self.jump_times))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Adaptive):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.safety, self.min_step, self.max_step, self.max_steps))  # no tensor

    def stop_times(self, ts: Sequence[Any]) -> Iterable[Any]:
        return _with_jumps(ts[-1:], self.jump_times, ts)

    def first_step(self, span: float) -> float | None:
        return None if self.initial is None else math.copysign(self._limited(self.initial), span)

    def search_step(
        self, f: Field, t: float, y: Tensor, k: Tensor, end: float, order: int
    ) -> float:
        # Not under no_grad: a field that differentiates itself is called here, too.
        rtol, atol = self._tolerances(y.device)
        length = first_length(self._measured, rtol, atol, f, t, y, k, end - t, order)
        return math.copysign(self._limited(length), end - t)

    def _limited(self, length: float) -> float:
        return min(max(length, self.min_step), self.max_step)

    def _measured(self, x: Tensor) -> float:
        return float(self.norm(_wide(x.detach())))

    @torch.no_grad()
    def adapt(self, step: Step, previous: Decision | None) -> Decision:
        error = self.error(step) if step.error_norm is None else step.error_norm
        before = previous.error if previous else 1.0
        length = next_length(self, step.interpolant.order, abs(step.h), error, before)
        least = abs(step.h) <= self.min_step * (1 + 1e-9) and error < math.inf
        return Decision(error <= 1 or least, math.copysign(self._limited(length), step.h), error)

    def error(self, step: Step) -> float:
        """The norm of a step's error estimate in units of the tolerance."""
        rtol, atol = self._tolerances(step.y0.device)
        y0, y1, error = step.y0, step.y1, step.error()
        if y0.dtype in _NARROW:
            y0, y1, error = _wide(y0), _wide(y1), _wide(error)
        scale = torch.maximum(y0.abs(), y1.abs()).mul_(rtol).add_(atol)
        return float(self.norm(error.div_(scale)))

    def _tolerances(self, device: torch.device) -> tuple[Any, Any]:
        rtol, atol = self.rtol, self.atol
        if isinstance(rtol, Tensor):
            rtol = rtol.to(device)
        return rtol, atol.to(device) if isinstance(atol, Tensor) else atol

    def accepts_end(self, y: Tensor) -> bool:
        return True  # the error of each step was finite

    def restart(self, ts: Sequence[float], dt: float) -> Adaptive:
        return replace(self, initial=abs(dt)) if dt and math.isfinite(dt) else self


def check_number(
    name: str,
    value: Any,
    allowed: str,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = sys.float_info.max,
    kind: type = Real,
) -> None:
    """Raises TypeError for what is no number of this kind, ValueError for one out of range."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    number: Any = value.item() if isinstance(value, np.generic) else value  # no bound overflows
    if not (low <= number <= high and above < number):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _check_tolerance(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        check_number(name, value, "a number of at least 0, or a tensor of such numbers", low=0)
    elif value.requires_grad:
        raise ValueError(f"{name} must not require a gradient")
    elif not bool(((value >= 0) & value.isfinite()).all()):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")


def _some(tolerance: float | Tensor) -> bool:
    return bool((tolerance > 0).all()) if isinstance(tolerance, Tensor) else tolerance > 0


def _finite_times(name: str, values: Any) -> tuple[float, ...]:
    given = values.tolist() if isinstance(values, Tensor) else values
    if not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a sequence of times, got {given!r}")
    times = tuple(given)
    for t in times:
        check_number(f"each of {name}", t, "a finite number")
    return tuple(map(float, times))


def _with_jumps(stops: Iterable[Any], jumps: Sequence[float], ts: Sequence[Any]) -> Iterable[Any]:
    """The stops and the jumps between the ends of ``ts``, in order."""
    if not jumps:
        return stops
    start, end = ts[0], ts[-1]
    sign = 1.0 if end > start else -1.0
    inside = sorted((t for t in jumps if sign * start < sign * t < sign * end), reverse=sign < 0)
    # Jumps first: of two at one time, the one that does not move with ``ts`` is kept.
    merged = heapq.merge(inside, stops, key=lambda t: sign * t)
    return (t for t, _ in itertools.groupby(merged))


def _wide(x: Tensor) -> Tensor:
    """``x`` in a precision in which tolerances and squares of errors do not vanish."""
    return x.float() if x.dtype in _NARROW else x


# Beware of the order in ``max(a, b)`` below: where one is nan, the first is taken.


def next_length(law: Adaptive, order: int, length: float, error: float, before: float) -> float:
    """What follows a step of this length and error; ``before``: of the last accepted one."""
    if not error < math.inf:
        return min(length * law.shrink, law.max_step)
    factor = law.safety * max(error, 1e-10) ** (-(law.integral + law.proportional) / order)
    factor = factor * max(before, 1e-10) ** (law.proportional / order)
    # After a refusal the factor is below ``safety``: no step is repeated.
    return min(length * max(min(factor, law.growth), law.shrink), law.max_step)


def land(t: float, dt: float, stop: float) -> float:
    """The end of a step of length ``dt``: the stop where it is reached, or nearly reached."""
    # A step of 1 % more is cheaper than a last step of 1 %.
    return stop if abs(1.01 * dt) >= abs(stop - t) else t + dt


def after(dt: float, planned: float, at_stop: bool) -> float:
    """The length that follows an accepted step of length ``dt``, for which ``planned`` is next."""
    # A step cut short at a stop says nothing against the length planned before.
    return dt if at_stop and abs(dt) > abs(planned) else planned


def first_length(
    norm: Callable[[Tensor], float],
    rtol: float | Tensor,
    atol: float | Tensor,
    f: Field,
    t: float,
    y: Tensor,
    k: Tensor,
    span: float,
    order: int,
) -> float:
    """The starting step size of Hairer, Norsett, Wanner: Solving ODEs I, II.4.

    ``k`` is the slope at ``(t, y)``, ``span`` the signed time to the end.
    """
    wide, slope = _wide(y), _wide(k)
    scale = atol + rtol * wide.abs()
    d0, d1 = norm(wide / scale), norm(slope / scale)
    usual = 1e-5 < d0 < math.inf and 1e-5 < d1 < math.inf
    h0 = min(0.01 * d0 / d1 if usual else 1e-6, abs(span))
    trial = math.copysign(h0, span)
    d2 = norm((_wide(f(t + trial, y + trial * k)) - slope) / scale) / h0
    most = max(d1, d2)
    h1 = (0.01 / most) ** (1 / order) if most > 1e-15 else max(1e-6, 1e-3 * h0)
    return min(100 * h0, h1) if h1 < math.inf else h0
