"""What the compiled loops are made of: a field, its step, its control.

Nothing here branches on a value: these functions run once, while a loop is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odenet.solvers import Adaptive, Tableau, rk_step, rms
from odenet.solvers.step_size import where

Traced = Callable[[Tensor, Tensor], Tensor]  # a field whose time is a tensor without dimensions


def field_of(f: Any, names: Sequence[str], params: Sequence[Tensor]) -> Traced:
    """``f`` with ``params`` in the place of its parameters ``names``."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        if isinstance(f, nn.Module):
            given = dict(zip(names, params, strict=True))
            rest = {n: x for n, x in (*f.named_parameters(), *f.named_buffers()) if n not in given}
            # By a name of its own: of an argument of the graph, the tracer would take `x.T` for
            # another argument, whose shared memory no loop allows.
            own = {name: x.view_as(x) for name, x in (given | rest).items()}
            k = torch.func.functional_call(f, own, (t, y))
        else:
            k = f(t, y)
        if k.shape != y.shape or k.dtype != y.dtype:
            raise ValueError("a slope must be like the state")
        return k

    return field


class Attempt(NamedTuple):
    """A step in units of its own length: ``slopes`` are those of the field times the length."""

    y0: Tensor
    y1: Tensor
    slopes: tuple[Tensor, ...]
    last: Tensor  # the slope of the last stage, unscaled
    error: Tensor | None


def attempt(tableau: Tableau, f: Traced, t: Tensor, t1: Tensor, y: Tensor, k: Tensor) -> Attempt:
    """The step of ``tableau`` from ``(t, y)`` to ``t1``, where ``k`` is the slope at ``(t, y)``.

    ``rk_step`` takes it in unit time, along ``h f(t + c h, y)``: so its weights are numbers, as in
    the eager loop, though ``h`` is a tensor.
    """
    h = t1 - t
    found = [k]

    def scaled(c: float, y: Tensor) -> Tensor:
        found.append(f(t1 if c == 1 else t + c * h, y))
        return h * found[-1]

    step = rk_step(tableau, scaled, 0.0, 1.0, y, h * k)
    error = None if tableau.error_weights is None else step.error()
    return Attempt(y, step.y1, step.slopes, found[-1], error)


class Decision(NamedTuple):
    """Of an attempt: whether it is accepted, the length that follows, and its error."""

    accepted: Tensor
    length: Tensor
    error: Tensor


class Tolerances(NamedTuple):
    rtol: Tensor
    atol: Tensor
    max_step: Tensor


@dataclass(frozen=True)
class Law:
    """What of an ``Adaptive`` is compiled in; its tolerances and limits are inputs.

    With ``part``, only so many leading numbers of the state count in the norm.
    """

    norm: Callable[[Tensor], Any]
    safety: float
    shrink: float
    growth: float
    integral: float
    proportional: float
    part: int | None = None

    @classmethod
    def of(cls, control: Adaptive, part: int | None = None) -> Law:
        c = control
        factors = (c.safety, c.shrink, c.growth, c.integral, c.proportional)
        return cls(c.norm, *factors, part)

    def measured(self, x: Tensor) -> Tensor:
        x = x if self.part is None else x[: self.part]
        if self.norm is rms:
            return torch.linalg.vector_norm(x).double() / math.sqrt(max(x.numel(), 1))
        return self.norm(x).double()

    def control(self, given: Tolerances) -> Adaptive:
        return _Traced(
            rtol=given.rtol,
            atol=given.atol,
            norm=self.measured,
            safety=self.safety,
            shrink=self.shrink,
            growth=self.growth,
            integral=self.integral,
            proportional=self.proportional,
            max_step=given.max_step,  # type: ignore[arg-type]
        )


class _Traced(Adaptive):
    """An ``Adaptive`` of tensors in a graph, which were checked when they were numbers."""

    def __post_init__(self) -> None:
        pass


def adapt(
    control: Adaptive | None, order: int, made: Attempt, h: Tensor, before: Tensor
) -> Decision:
    """The verdict of ``control``, or of fixed steps without one."""
    if control is None:
        finite = torch.isfinite(made.y1).all()
        return Decision(finite, torch.full_like(h, math.inf), torch.zeros_like(h))
    assert made.error is not None
    error = control.error(made.y0, made.y1, made.error)
    return Decision(error <= 1, control.next_length(order, abs(h), error, before), error)


def land(t: Tensor, dt: Tensor, stop: Tensor) -> Tensor:
    """The end of a step of length ``dt``: the stop where it is reached, or nearly reached."""
    # As in the eager loop: a step of 1 % more is cheaper than a last step of 1 %.
    return where(abs(1.01 * dt) >= abs(stop - t), stop, t + dt)


def longest(a: Tensor, b: Tensor) -> Tensor:
    return where(abs(b) > abs(a), b, a)


def signed(length: Tensor, like: Tensor) -> Tensor:
    return where(like < 0, -length, length)
