"""What is compiled: attempts, one after the other, and the pullback of steps.

Nothing here branches on a value. A method's weights, tolerances and lengths are data, so that one
code serves all of them, and ``torch.compile`` has little but the field to guard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odenet.solvers.step_size import after, first_length, land, next_length, smaller

Slope = Callable[[Tensor, Tensor], Tensor]


class Traced(NamedTuple):
    """What the code depends on: properties of the method, the error norm, the field.

    ``norm`` is None where no error is measured. ``adjoint`` holds the flat parameters and the
    state's shape where the solve is that of the adjoint.
    """

    fsal: bool
    order: int
    norm: Callable[[Tensor], Tensor] | None
    f: Any
    adjoint: tuple[Tensor, torch.Size] | None = None


class Law(NamedTuple):
    """The numbers of an ``Adaptive`` by which the next length follows."""

    safety: Tensor
    shrink: Tensor
    growth: Tensor
    integral: Tensor
    proportional: Tensor
    max_step: Tensor


class Data(NamedTuple):
    """The numbers of a solve: the table of its method, rtol and atol, the entries of a ``Law``."""

    table: Tensor
    tolerances: Tensor
    law: Tensor


class Now(NamedTuple):
    """Where attempts start.

    Whether the slope there is ``unknown``, and whether the first length must be searched for; the
    time; the end and the planned length of the first attempt; the error of the last accepted step;
    the end of the solve.
    """

    unknown: Tensor | bool
    searching: Tensor | bool
    t: Tensor
    t1: Tensor
    dt: Tensor
    before: Tensor
    end: Tensor


Ends = tuple[Tensor, Tensor, Tensor]  # of an attempt: the state, the last slope, all slopes


def make_attempts(
    count: int,
    traced: Traced,
    data: Data,
    flags: tuple[bool, bool] | None,
    numbers: Tensor,
    y: Tensor,
    k: Tensor,
) -> tuple[Tensor, list[Ends]]:
    """``count`` attempts, each from where the loop goes on after the one before.

    ``numbers`` are those of ``Now`` and the next stops; ``flags`` are the first two of them where
    the code is to depend on them, so that nothing is evaluated in vain. ``k``: the slope at ``y``.

    Returns what each attempt leaves; and in one tensor the first length, time, end and error of
    each attempt, and the time, length and error to go on with.
    """
    field = _field(traced)
    now, stops = Now(*numbers[:7].unbind()), numbers[7:]
    now = now._replace(unknown=now.unknown > 0, searching=now.searching > 0)
    if flags is not None:
        now = now._replace(unknown=flags[0], searching=flags[1])
    t, t1, dt, before = now.t, now.t1, now.dt, now.before
    k = _either(now.unknown, lambda: field(t, y), k)
    if traced.norm is not None:
        dt = _either(now.searching, lambda: _first_length(traced, data, now, field, y, k), dt)
        t1 = _either(now.searching, lambda: land(t, dt, stops[0]), t1)
    told, found = [dt], []
    passed = torch.zeros(1, dtype=torch.int64, device=y.device)  # stops
    for i in range(count):
        stop = stops.index_select(0, passed)[0]
        if i > 0:
            t1, k = land(t, dt, stop), k if traced.fsal else field(t, y)
        y1, slopes, error_weights = _step(traced, field, data.table, t, t1, y, k)
        found.append((y1, slopes[-1], torch.stack(slopes)))
        error = _error(traced, data, y, y1, error_weights, slopes)
        told += (t, t1, error)
        accepted, at_stop = error <= 1, t1 == stop
        if traced.norm is not None:
            dt = _next(traced, data, t1 - t, dt, error, before, at_stop)
        passed = passed + (accepted & at_stop)
        y, k = torch.where(accepted, y1, y), torch.where(accepted, slopes[-1], k)
        t, before = torch.where(accepted, t1, t), torch.where(accepted, error, before)
    return torch.stack([*told, t, dt, before]), found


def pull_back(
    traced: Traced,
    data: Data,
    flags: bool | None,
    flat: Tensor,
    numbers: Tensor,
    steps: Sequence[tuple[Tensor, Tensor]],
    outputs: tuple[Tensor, Tensor, Tensor] | None,
    carried: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Cotangents of the state, its slope and the flat parameters, from the last step to the first.

    ``numbers`` has a row for each step: its two times, and whether it is one, as others make up
    the number; and one that begins with whether the first slope of the first step is unknown,
    which ``flags`` says where the code is to depend on it. ``steps``: where each starts, and the
    slope there. ``outputs``: what is added at each step to the cotangents of its end, of its
    slopes and of its start; None where no output is read from a step. ``carried``: as returned.
    """
    ay, ak, total = carried
    for i in reversed(range(len(steps))):
        t, t1, real = numbers[i].unbind()
        at_start = (numbers[-1, 0] > 0 if flags is None else flags) if i == 0 else False

        def taken(y: Tensor, flat: Tensor, k: Tensor) -> tuple[Tensor, ...]:
            def field(t: Tensor, y: Tensor) -> Tensor:
                return _slope(traced.f, flat, t, y)

            unknown = at_start if traced.fsal else True
            first = _either(unknown, lambda: field(t, y), k)
            y1, slopes, _ = _step(traced, field, data.table, t, t1, y, first)
            last = slopes[-1] if traced.fsal else torch.zeros_like(y)
            return (y1, last) if outputs is None else (y1, last, torch.stack(slopes))

        y, k = steps[i]
        ends = (ay, ak) if outputs is None else (ay + outputs[0][i], ak, outputs[1][i])
        start, share, slope = torch.func.vjp(taken, y, flat, k)[1](ends)
        if outputs is not None:
            start = start + outputs[2][i]
        ay, ak = torch.where(real > 0, start, ay), torch.where(real > 0, slope, ak)
        total = total + torch.where(real > 0, share, 0.0)
    return ay, ak, total


def _step(
    traced: Traced, field: Slope, table: Tensor, t: Tensor, t1: Tensor, y: Tensor, k: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The end of a step, its slopes, and the weights of its error, as ``rk_step`` does it.

    ``table``: rows of weights of the stages, the end, the error; the nodes in the last column.
    """
    h = t1 - t
    rows = (h * table).to(y.dtype)
    slopes, point = [k], y
    for i in range(1, len(table) - 2):
        point = y + _sum(rows[i], slopes)
        node = torch.where(table[i, -1] == 1, t1, t + h * table[i, -1])  # the end exactly
        slopes.append(field(node, point))
    return point if traced.fsal else y + _sum(rows[-2], slopes), slopes, rows[-1]


def _sum(weights: Tensor, slopes: Sequence[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for i in range(1, len(slopes)):
        total = total + weights[i] * slopes[i]
    return total


def _error(
    traced: Traced, data: Data, y: Tensor, y1: Tensor, weights: Tensor, slopes: Sequence[Tensor]
) -> Tensor:
    """As ``Adaptive.adapt`` measures it; 0 where nothing is measured."""
    if traced.norm is None:
        return torch.zeros((), dtype=torch.float64, device=y.device)
    rtol, atol = data.tolerances
    scale = torch.maximum(y.abs(), y1.abs()) * rtol + atol
    return _measured(traced, (_sum(weights, slopes) / scale).to(y.dtype))


def _first_length(
    traced: Traced, data: Data, now: Now, field: Slope, y: Tensor, k: Tensor
) -> Tensor:
    def norm(x: Tensor) -> Tensor:
        return _measured(traced, x.to(y.dtype))

    span = now.end - now.t
    length = first_length(norm, *data.tolerances, field, now.t, y, k, span, traced.order)
    return torch.copysign(smaller(length, Law(*data.law.unbind()).max_step), span)


def _measured(traced: Traced, x: Tensor) -> Tensor:
    size = traced.norm(x)  # type: ignore[misc]
    return size.double() if isinstance(size, Tensor) else x.new_tensor(size, dtype=torch.float64)


def _next(
    traced: Traced,
    data: Data,
    h: Tensor,
    dt: Tensor,
    error: Tensor,
    before: Tensor,
    at_stop: Tensor,
) -> Tensor:
    planned = next_length(Law(*data.law.unbind()), traced.order, abs(h), error, before)
    planned = torch.copysign(planned, h)
    return torch.where(error <= 1, after(dt, planned, at_stop), planned)


def _either(flag: Any, value: Callable[[], Tensor], other: Tensor) -> Tensor:
    """``value()`` where the flag holds, else ``other``: both are made if the flag is a tensor."""
    if isinstance(flag, bool):
        return value() if flag else other
    return torch.where(flag, value(), other)


def _field(traced: Traced) -> Slope:
    """The field, or the right-hand side of its adjoint, as in `odenet.adjoint.backsolve`."""
    if traced.adjoint is None:
        return lambda t, y: traced.f(t, y).to(y.dtype)  # of a number, the time's is wider
    flat, shape = traced.adjoint
    n = math.prod(shape)

    def augmented(t: Tensor, state: Tensor) -> Tensor:
        y, a = state[:n].view(shape), state[n : 2 * n].view(shape)
        dy, pull = torch.func.vjp(lambda y, flat: _slope(traced.f, flat, t, y), y, flat)
        return torch.cat([x.reshape(-1).to(state.dtype) for x in (dy, *pull(-a))])

    return augmented


def _slope(f: Any, flat: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """``f`` as a function of its trained parameters, one behind the other."""
    if not isinstance(f, nn.Module):
        return f(t, y).to(y.dtype)  # type: ignore[no-any-return]
    own = trained(f)
    pieces = zip(own.items(), flat.split([p.numel() for p in own.values()]), strict=True)
    given = {name: piece.view(p.shape).to(p.dtype) for (name, p), piece in pieces}
    return torch.func.functional_call(f, given, (t, y)).to(y.dtype)  # type: ignore[no-any-return]


def trained(f: Any) -> dict[str, nn.Parameter]:
    """The parameters of a field that require gradients; none of a plain function."""
    named = f.named_parameters() if isinstance(f, nn.Module) else ()
    return {name: p for name, p in named if p.requires_grad}
