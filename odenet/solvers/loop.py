"""The one loop: a solve is an iterator of accepted steps."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from odenet.solvers.solution import Counts, SolveError
from odenet.solvers.step import Field, Method, SlopeHistory, Step, Stepper, dense
from odenet.solvers.step_size import Control, after, land

# Small states cost calls and not numbers, so their steps wait for one dense output together: up
# to this many numbers, half a megabyte in double precision.
_WAITING = 65_536
ENDLESS = (
    "more than {} attempts since the last output: raise max_steps (max_num_steps of odeint), "
    "loosen the tolerances, or look for a jump, a blow-up or random numbers in the field"
)


def steps(
    f: Field, y0: Tensor, ts: Sequence[float], method: Method, control: Control, counts: Counts
) -> Iterator[Step]:
    """Yield the accepted steps from ``ts[0]`` to ``ts[-1]``, adding their cost to ``counts``.

    The last step ends at ``ts[-1]`` exactly. Time may run backwards. Raises ``SolveError`` for a
    state that is not finite, a step too small to move time, or ``control.max_steps`` attempts from
    one output to the next.
    """

    def counted(t: float, y: Tensor) -> Tensor:
        counts.nfe += 1
        return f(t, y)

    return method.path(counted, y0, ts, control, counts)


def attempts(
    method: Stepper,
    f: Field,
    y0: Tensor,
    ts: Sequence[float],
    control: Control,
    counts: Counts,
    start: tuple[SlopeHistory, float] | None = None,
) -> Iterator[Step]:
    """The path of a method that makes one step at a time, as long as the control says.

    ``start``: what the first attempt goes on from, and its signed length, where they are known.
    """
    t, y = ts[0], y0
    history, dt = start or _start(method, f, t, y, ts[-1], control)
    previous = None
    rounding = 4 * sys.float_info.epsilon
    smallest = rounding * max(abs(t), abs(t + dt))
    outputs, attempted, refused = 1, 0, math.nan
    for stop in stop_times(ts, method, control):
        while t != stop:
            t1 = land(t, dt, stop)
            # Landing stretches a step: never beyond max_step, nor to where one was just rejected.
            if t1 == refused or abs(t1 - t) > control.max_step * (1 + 1e-9):
                t1 = t + dt
            attempted += 1
            if too_many(control.max_steps, attempted, abs(ts[-1] - t), abs(dt)):
                raise SolveError(ENDLESS.format(attempted - 1), t, dt, counts)
            step = method.step(f, t, t1, y, history)
            decision = control.adapt(step, previous)
            if decision.accepted and t1 != t:
                counts.accepted += 1
                dt = after(dt, decision.dt, t1 == stop)
                counts.next_dt, previous = dt, decision
                yield step
                t, y, history, refused = t1, step.y1, step.history, math.nan
                while outputs < len(ts) and (ts[outputs] - t) * step.h <= 0:
                    outputs, attempted = outputs + 1, 0
            else:
                counts.rejected += 1
                history = step.start
                if not max(smallest, rounding * abs(t)) < abs(decision.dt) < abs(step.h):
                    raise _failure(step, counts)
                dt, refused = decision.dt, t1
    if not control.accepts_end(y):
        reason = "the state is not finite, which fixed steps show at the end: try more steps"
        raise SolveError(reason, t, step.h, counts)


def too_many(limit: float | None, attempted: int, left: float, dt: float) -> bool:
    """Whether to give up, with so much time left at this length of a step."""
    if limit is None:
        return attempted > 10_000 and left > 100_000 * dt
    return attempted > limit


def sample(path: Iterable[Step], y0: Tensor, ts: Sequence[float]) -> Tensor:
    """The solution at times ``ts``, ``(len(ts), *y0.shape)``, read from a path of steps."""
    pieces = [y0[None]]
    waiting: list[tuple[Step, Sequence[float]]] = []
    size, done = 0, 1
    for step in path:
        inside = covered(step, ts, done)
        if inside:
            waiting.append((step, inside))
            size += y0.numel() * len(step.slopes)
            done += len(inside)
            if size > _WAITING or inside[-1] == step.t1:
                pieces += dense(waiting)
                waiting, size = [], 0
    return torch.cat(pieces)


class Trajectory:
    """The solution between the ends of a path, read from its steps: ``trajectory(t)``."""

    def __init__(self, path: Iterable[Step]) -> None:
        self.steps = list(path)
        self._sign = math.copysign(1.0, self.steps[0].h)
        self._ends = [self._sign * step.t1 for step in self.steps]

    def __call__(self, t: float) -> Tensor:
        i = bisect_left(self._ends, self._sign * t)
        step = self.steps[min(i, len(self.steps) - 1)]
        return dense([(step, [t])])[0][0]  # unchecked: an adjoint reads it at each evaluation

    @property
    def tensors(self) -> list[Tensor]:
        """All that the trajectory is read from, in the order that ``with_tensors`` takes."""
        return [x for step in self.steps for x in (step.y0, step.y1, *step.slopes)]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Trajectory:
        rest = iter(tensors)
        return Trajectory(
            replace(s, y0=next(rest), y1=next(rest), slopes=tuple(next(rest) for _ in s.slopes))
            for s in self.steps
        )


def covered(step: Step, ts: Sequence[float], start: int) -> Sequence[float]:
    """The times ``ts[start:]`` that lie in the step, its end included."""
    stop = start
    while stop < len(ts) and (ts[stop] - step.t1) * step.h <= 0:
        stop += 1
    return ts[start:stop]


def _start(
    method: Stepper, f: Field, t: float, y: Tensor, end: float, control: Control
) -> tuple[SlopeHistory, float]:
    known = control.first_step(end - t)
    if known is not None:
        return SlopeHistory(), known
    history = SlopeHistory().at(f, t, y, method.num_slopes)
    return history, control.search_step(f, t, y, history.slopes[0], end, method.order)


def stop_times(ts: Sequence[float], method: Stepper, control: Control) -> Iterable[float]:
    """Where a step must end: also at each output where the method cannot interpolate."""
    stops = control.stop_times(ts)
    if method.interpolates:
        return stops
    return sorted({*stops, *ts[1:-1]}, reverse=ts[-1] < ts[0])


def _failure(step: Step, counts: Counts) -> SolveError:
    """Why no shorter attempt than this rejected one can help."""
    finite = all(bool(torch.isfinite(x).all()) for x in (step.y1, *step.slopes))
    reason = (
        "the step size underflows, as where a solution blows up: loosen the tolerances, take a "
        "state in double precision, or give jump_times where the field jumps"
        if finite
        else "the state or its slope is not finite"
    )
    return SolveError(reason, step.t0, step.h, counts)
