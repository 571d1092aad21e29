"""Solve until something happens: the event's time and state, with their derivatives."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy.optimize import brentq
from torch import Tensor

from odenet.adjoint import Backprop
from odenet.adjoint.function import moved, vjp
from odenet.field import checked_field, slope_at
from odenet.ode import Solver, check_solver, check_state, problem_of, solve
from odenet.solvers import Counts, Field, FixedSteps, Solution, SolveError, SolveStats, Step

Event = Callable[[Tensor, Tensor], Tensor]
_LOOKS = 10  # at an event within a step


def solve_event(
    f: Callable[[Any, Tensor], Tensor],
    y0: Tensor,
    t0: float | Tensor,
    event: Event,
    solver: Solver | None = None,
    *,
    end: float = math.inf,
    params: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Solution]:
    """Solve until ``event(t, y)`` first changes its sign.

    The event is located on the dense output of the step in which it happens, and its state is read
    there. That of "dopri8" is of order 5 alone: its events are less exact than its tolerance. A
    step is looked at in ten places: two crossings between neighbours go unseen, so give
    ``Adaptive`` a ``max_step`` where an event comes and goes. The gradients of time and state reach
    ``y0``, ``t0``, the parameters, and what ``event`` depends on, by the implicit function theorem
    (Chen, Amos, Nickel 2021); they are differentiable once.

    Args:
        f, y0, solver, params: as for ``solve``.
        t0: the start, a number or a tensor without dimensions, such as the time of another event.
        event: takes a time, a tensor of double precision without dimensions, and a state; returns a
            tensor of one or more entries, of which the first to cross zero counts. One that
            starts at zero counts from its next change of sign. As zero counts what is below
            eps^(2/3) of its largest size in the first step, 2e-5 of it in single precision, 4e-11
            in double: where an event starts closer to zero than that, make the first step shorter.
        end: where the search stops, and with it the direction of time; by default infinitely late.
            Then ``FixedSteps`` needs a ``size``, of which it makes at most 10,000.

    Returns:
        The event's time, a tensor without dimensions of the precision of ``t0`` (double for
        numbers and whole times), and a ``Solution`` with the two states at start and event. Its
        stats count the search; rules other than ``Backprop`` then solve once more, which they count
        too.

    Raises:
        TypeError, ValueError: as ``solve``; for an event that is not a tensor of floating-point
            numbers, for SciPy's methods, for an ``end`` that is ``t0``, and for ``FixedSteps``
            with neither ``size`` nor ``end``.
        SolveError: where no event happens before ``end``, or before the control's step limit, or
            where the event is not finite.

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
    solver = check_solver(solver)
    check_state(y0, solver.control)
    start = t0.detach() if isinstance(t0, Tensor) else torch.tensor(t0, dtype=torch.float64)
    if start.numel() != 1 or start.is_complex():
        raise ValueError(f"t0 must be one time, got {t0!r}")
    start = start if start.is_floating_point() else start.double()
    span = (float(start), float(end))
    _check_search(solver, span)
    field, stats, jumps = checked_field(f, y0), SolveStats(), solver.control.jump_times
    given = y0
    if isinstance(t0, Tensor) and t0.requires_grad:
        # To first order, starting later by d is starting from y0 - d f(t0, y0).
        given = moved(y0, t0.reshape(()), -slope_at(field, span[0], y0, span[1], jumps))
        stats.forward.nfe += 1
    records = torch.is_grad_enabled() and isinstance(solver.gradient, Backprop)
    with torch.set_grad_enabled(records):
        step, t, which = _locate(field, given, span, event, solver, stats.forward)
        ys = torch.stack((given, step([t])[0]))
    if torch.is_grad_enabled() and not records:
        # The same steps again, so that the state is the one that was found.
        ts = (span[0], t) if t == step.t1 else (span[0], t, step.t1)
        solution = solve(f, given, ts, _same_steps(solver, span), params=params)
        solution.stats.forward = stats.forward + solution.stats.forward
        ys, stats = solution.ys[:2], solution.stats
    slope = slope_at(field, t, ys[1], span[0], jumps)
    time, state = _at_event(slope, start.new_tensor(t), ys[1], event, which)
    stats.forward.nfe += 1
    return time, Solution((span[0], t), torch.stack((y0, state)), stats)


def _check_search(solver: Solver, span: tuple[float, float]) -> None:
    control = solver.control
    if solver.method.own_steps:
        raise ValueError(f"{solver.method.name} has no dense output to locate an event on")
    if not math.isfinite(span[0]) or math.isnan(span[1]) or span[0] == span[1]:
        raise ValueError(f"t0 must be finite, and end another time, got {span[0]} and {span[1]}")
    if isinstance(control, FixedSteps) and math.isinf(span[1]) and control.size is None:
        raise ValueError(
            "a search without an end must have steps of a known size: give FixedSteps(size=...) "
            "(step_size of odeint_event), or end"
        )


def _same_steps(solver: Solver, span: tuple[float, float]) -> Solver:
    """The solver that makes over a part of the span the steps that it made over the whole."""
    control = solver.control.restart(span, 0.0)
    if isinstance(control, FixedSteps) and control.size is None and control.grid is None:
        control = replace(control, grid=())
    return Solver(solver.method, control, solver.gradient, solver.compile)


def _locate(
    f: Field, y0: Tensor, ts: tuple[float, float], event: Event, solver: Solver, counts: Counts
) -> tuple[Step, float, int]:
    """The step of the first change of sign, its time, and which of the event's numbers it is."""
    start = ts[0]
    before = _values(event, _time(start, y0), y0)[None]
    for step in _searched(problem_of(f, y0, ts, solver).steps(counts)):
        places = [step.t0 + i * step.h / _LOOKS for i in range(_LOOKS)] + [step.t1]
        with torch.no_grad():
            looks = zip(_time(places[1:], y0).unbind(), step(places[1:]), strict=True)
            values = torch.cat((before, torch.stack([_values(event, t, y) for t, y in looks])))
            if step.t0 == start:
                # A ball on the ground, to rounding of place or time, crosses nothing as it leaves.
                late = 100 * sys.float_info.epsilon * (1 + abs(start)) / abs(step.h)
                small = (torch.finfo(y0.dtype).eps ** (2 / 3) + late) * values.abs().amax(0)
                values[0] = torch.where(values[0].abs() <= small, 0.0, values[0])
        old, new = values[:-1].sign(), values[1:].sign()
        crossed = (old * new < 0) | ((new == 0) & (old != 0))
        if not bool(values.isfinite().all()):
            raise SolveError("the event is not finite", step.t0, step.h, counts)
        if crossed.any():
            i = int(crossed.any(1).nonzero()[0])
            numbers = crossed[i].nonzero().view(-1).tolist()
            times = {_root(step, event, n, places[i], places[i + 1]): n for n in numbers}
            first = min(times, key=lambda t: abs(t - start))
            return step, first, times[first]
        before = values[-1:]
    raise SolveError("no event", step.t1, step.h, counts)


def _searched(path: Iterator[Step]) -> Iterator[Step]:
    """The steps of a search, whose failure says what was searched for."""
    try:
        yield from path
    except SolveError as error:
        reason = f"no event so far (end stops a search), and {error.reason}"
        raise SolveError(reason, error.t, error.dt, error.counts) from error


def _time(t: Any, y: Tensor) -> Tensor:
    return torch.tensor(t, dtype=torch.float64, device=y.device)


def _values(event: Event, t: Tensor, y: Tensor) -> Tensor:
    """The event's numbers, of which there may be one."""
    values: Any = event(t, y)
    if not isinstance(values, Tensor) or not values.is_floating_point() or not values.numel():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(
            "event must return a tensor of one or more floating-point numbers, of which one "
            f"crosses zero, got {kind}"
        )
    return values.reshape(-1)


@torch.no_grad()
def _root(step: Step, event: Event, i: int, low: float, high: float) -> float:
    """The time between the two at which number ``i`` of the event becomes zero."""

    def value(t: float) -> float:
        return float(_values(event, _time(t, step.y0), step([t])[0])[i])

    start, end = value(low), value(high)
    if start * end < 0:
        return float(brentq(value, low, high, xtol=4 * sys.float_info.epsilon, maxiter=1000))
    if end != 0:  # a crossing within rounding of one of the two
        return high if start else low
    while True:  # it becomes zero and may stay so: no search by values finds where
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        low, high = (middle, high) if value(middle) else (low, middle)


def _at_event(
    slope: Tensor, time: Tensor, y: Tensor, event: Event, which: int
) -> tuple[Tensor, Tensor]:
    """The event's time and state with the derivatives that the crossing condition gives them."""
    at = _time(float(time), y)
    with torch.enable_grad():
        t, state = at.clone().requires_grad_(), y.detach().requires_grad_()
        value = event(t, state).reshape(-1)[which]
    by_time, by_state = vjp([(value, torch.ones_like(value))], [t, state])
    rate = by_time + (by_state * slope).sum()
    gap = event(at, y).reshape(-1)[which]
    time = moved(time, gap, (-1 / rate).to(time))
    return time, moved(y, time, slope)
