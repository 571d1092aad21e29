"""Solve until something happens: the event's time and state, with their derivatives."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from scipy.optimize import brentq
from torch import Tensor

from odenet.adjoint.function import vjp
from odenet.ode import Solver, check_state, checked_field, problem_of, solve
from odenet.solvers import Counts, Field, Solution, SolveError, Step

Event = Callable[[Tensor, Tensor], Tensor]


def solve_event(
    f: Field,
    y0: Tensor,
    t0: float,
    event: Event,
    solver: Solver | None = None,
    *,
    end: float = math.inf,
    params: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Solution]:
    """Solve until ``event(t, y)`` first changes its sign.

    The event is located on the dense output of the step in which it happens. The gradients of its
    time and of the state there reach ``y0``, the parameters, and what ``event`` depends on, by the
    implicit function theorem (Chen, Amos, Nickel 2021).

    Args:
        f, y0, solver, params: as for ``solve``.
        t0: the start, a number. For a chain of events start each solve at 0 and add the times up:
            their gradients then go through all of them.
        event: takes a time, a tensor without dimensions, and a state; returns one number or
            several, of which the first to cross zero counts. One that is zero at the start counts
            from its next change of sign.
        end: where the search stops, and with it the direction of time; by default infinitely late.

    Returns:
        The event's time, a tensor without dimensions, and a ``Solution`` with the two states at
        start and event. Its stats count the search too.

    Raises:
        TypeError, ValueError: as ``solve``.
        SolveError: where no event happens before ``end``, or before the control's step limit.

    Example:
        >>> import torch, odenet
        >>> fall = lambda t, y: torch.stack((y[1], torch.full_like(y[1], -9.81)))
        >>> y0 = torch.tensor([10.0, 0.0], dtype=torch.float64, requires_grad=True)
        >>> time, solution = odenet.solve_event(fall, y0, 0.0, lambda t, y: y[0])
        >>> round(time.item(), 4)  # sqrt(2 * 10 / 9.81)
        1.4278
        >>> time.backward()
        >>> round(y0.grad[0].item(), 4)  # time / (2 * 10)
        0.0714
    """
    solver = solver or Solver()
    check_state(y0)
    if solver.method.own_steps:
        raise ValueError(f"{solver.method.name} has no dense output to locate an event on")
    counts = Counts()
    with torch.no_grad():
        t, which = _locate(checked_field(f, y0), y0.detach(), (t0, end), event, solver, counts)
    solution = solve(f, y0, (t0, t), solver, params=params)
    solution.stats.forward = counts + solution.stats.forward + Counts(nfe=1)  # see _at_event
    time, state = _at_event(f, t, solution.ys[-1], event, which)
    return time, replace(solution, ys=torch.stack((solution.ys[0], state)))


def _locate(
    f: Field,
    y0: Tensor,
    ts: tuple[float, float],
    event: Event,
    solver: Solver,
    counts: Counts,
) -> tuple[float, int]:
    """The time of the first change of sign, and which of the event's numbers it is."""

    def values(t: float, y: Tensor) -> Tensor:
        return event(y.new_tensor(t), y).reshape(-1)

    before = values(ts[0], y0).sign()
    for step in problem_of(f, y0, ts, solver).steps(counts):
        after = values(step.t1, step.y1).sign()
        crossed = (before * after < 0) | ((after == 0) & (before != 0))
        if crossed.any():
            times = {_root(step, values, i): i for i in crossed.nonzero().view(-1).tolist()}
            first = min(times, key=lambda t: abs(t - ts[0]))
            return first, times[first]
        before = after  # a number that starts at zero, like a ball on the ground, crosses nothing
    raise SolveError("no event", ts[1], 0.0, counts)


def _root(step: Step, values: Field, i: int) -> float:
    """The time inside the step at which number ``i`` of the event is zero."""

    def value(t: float) -> float:
        return float(values(t, step([t])[0])[i])

    start = value(step.t0)
    if start * value(step.t1) >= 0:  # zero at an end, or a crossing within rounding of it
        return step.t1 if start else step.t0
    return float(brentq(value, step.t0, step.t1, xtol=4 * sys.float_info.epsilon))


def _at_event(f: Field, t: float, y: Tensor, event: Event, which: int) -> tuple[Tensor, Tensor]:
    """The event's time and state with the derivatives that the crossing condition gives them."""
    slope = f(t, y.detach()).detach()
    with torch.enable_grad():
        at, state = y.new_tensor(t).requires_grad_(), y.detach().requires_grad_()
        value = event(at, state).reshape(-1)[which]
    by_time, by_state = vjp([(value, torch.ones_like(value))], [at, state])
    rate = by_time + (by_state * slope).sum()
    gap = event(at.detach(), y).reshape(-1)[which]
    time = at.detach() - (gap - gap.detach()) / rate
    return time, y + (time - time.detach()) * slope
