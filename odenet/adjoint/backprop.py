"""Differentiate a solve through the solver's own operations."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from odenet.solvers import (
    Field,
    InitialValueProblem,
    SlopeHistory,
    Solution,
    SolveStats,
    Step,
    covered,
)
from odenet.solvers.modified import Modified

_AS_NUMBER = (
    "ts requires a gradient, so f must compute with its time as a tensor (torch.sin(t), not "
    "math.sin(t); t * torch.ones_like(y), not torch.full_like(y, t)): do so, or take another "
    "gradient rule than Backprop"
)


@dataclass(frozen=True)
class Backprop:
    """Backpropagation through the solver's operations ("discretise, then optimise").

    The gradient is exact for the computed solution, and can be differentiated any number of times.
    Memory grows with every stage of every accepted step; rejected steps leave nothing behind.
    Nothing needs to be said about parameters: autograd finds them, those of a plain function too.
    With respect to times, Runge-Kutta methods give that of the computed solution, too, whose steps
    move with the times at which they must end. The field is then given its time as a tensor, and
    must compute with it: a copy of it, as of ``torch.tensor(t)``, has no derivative. Adams methods
    give that of the exact solution, once, and the field gets its time as a number.

    Raises:
        TypeError: where times are differentiated and the field takes its time as a number, as
            ``math.sin(t)`` does.

    Example:
        >>> import torch, odenet
        >>> y0 = torch.ones(1, dtype=torch.float64, requires_grad=True)
        >>> solver = odenet.Solver(gradient=odenet.Backprop())  # the default
        >>> odenet.solve(lambda t, y: -y, y0, [0.0, 1.0], solver).y1.backward()
        >>> round(y0.grad.item(), 4)  # exp(-1)
        0.3679
    """

    needs_params = False
    needs_steps = True

    def __call__(self, problem: InitialValueProblem) -> Solution:
        return problem.solve() if problem.times is None else _solve_moving(problem, problem.times)


def _solve_moving(problem: InitialValueProblem, times: Tensor) -> Solution:
    """The solution as a function of the output times, too."""
    method: Any = problem.method
    unbound = times.double().unbind()
    ends = [unbound[0], *problem.control.stop_times(unbound)]
    ends += [] if method.interpolates else unbound[1:]
    tensors = [torch.as_tensor(t, dtype=torch.float64, device=times.device) for t in ends]
    moving = Moving(method, {t.item(): t for t in tensors})
    stats, done, pieces = SolveStats(), 1, [problem.y0]
    for step in replace(problem, f=moving.timed(problem.f), method=moving).steps(stats.forward):
        for _ in covered(step, problem.ts, done):
            pieces.append(moving.read(step, unbound[done]))
            done += 1
    return Solution(problem.ts, torch.stack(pieces), stats)


@dataclass(frozen=True, eq=False)
class Moving(Modified):
    """Steps whose ends are functions of tensors: ``stops``, and between them on straight lines.

    A step from ``t`` to ``t1`` is made in the time that the floats count; the slopes are as many
    times as steep as the tensors lie further apart than the floats, which is once.
    """

    stops: dict[float, Tensor]

    def timed(self, f: Field) -> Field:
        """``f``, given its time as a tensor."""

        def timed(t: float, y: Tensor) -> Tensor:
            time: Any = self._time(t).to(y.device, y.dtype).as_subclass(Time)
            try:
                return f(time, y)
            except TypeError as error:
                if "not Time" not in str(error):  # as torch.full_like(y, t) says
                    raise
                raise TypeError(_AS_NUMBER) from error

        return timed

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        rate = self._segment((t + t1) / 2)[2].to(y.device, y.dtype)
        steeper = _times(rate, history)
        step = self.method.step(lambda t, y: rate * f(t, y), t, t1, y, steeper)
        start, left = _times(1 / rate, step.start), _times(1 / rate, step.history)
        return replace(step, start=start, history=left)

    def read(self, step: Step, time: Tensor) -> Tensor:
        """The solution at a time of the step, differentiable by it."""
        tableau: Any = step.interpolant
        matrix = torch.from_numpy(tableau.dense_matrix).to(time)
        powers = torch.arange(1, len(matrix) + 1, device=time.device)
        t, t1 = self._time(step.t0), self._time(step.t1)
        theta = (time - t) / (t1 - t)
        # Counted from the end, whose value then is exact.
        weights = step.h * (theta**powers - 1) @ matrix
        terms = (w.to(step.y1) * k for w, k in zip(weights, step.slopes, strict=True))
        return sum(terms, start=step.y1)

    def _time(self, t: float) -> Tensor:
        a, start, rate = self._segment(t)
        return t + ((start - a) + (t - a) * (rate - 1))  # the value is t exactly

    def _segment(self, t: float) -> tuple[float, Tensor, Tensor]:
        """Start, its tensor, and the rate of the tensors' time, between the stops around ``t``."""
        ends = sorted(self.stops)
        i = min(max(bisect_left(ends, t), 1), len(ends) - 1)
        a, b = ends[i - 1], ends[i]
        start, end = self.stops[a], self.stops[b]
        return a, start, (end - start) / (b - a)


class Time(Tensor):
    """A time that cannot be read as a number: the derivative by it would be lost."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def item(self) -> Any:
        raise TypeError(_AS_NUMBER)

    tolist = __float__ = __int__ = __complex__ = item


def _times(rate: Tensor, history: SlopeHistory) -> SlopeHistory:
    return replace(history, slopes=tuple(rate * k for k in history.slopes))
