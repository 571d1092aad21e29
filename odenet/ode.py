"""The front door: a solver as one frozen value, and ``solve``.

All validation lives here; behind it, input is taken to be right.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from odenet.adjoint import GRADIENTS, Adjoint, Backprop, Gradient
from odenet.solvers import METHODS, Adaptive, Control, Field, Method, SciPyAdams, Solution

Times = Tensor | Sequence[float]
T = TypeVar("T")


@dataclass(frozen=True, init=False)
class Solver:
    """How to solve and how to differentiate: a method, its step-size control, a gradient rule.

    ``method`` is a method or one of ``METHODS``; ``gradient`` is a rule or one of "backprop",
    "checkpoint", "adjoint". Raises ``ValueError`` for an unknown name, and for a method without
    an error estimate under an adaptive control.
    """

    method: Method
    control: Control
    gradient: Gradient

    def __init__(
        self,
        method: Method | str = "dopri5",
        control: Control | None = None,
        gradient: Gradient | str = "backprop",
    ) -> None:
        chosen = _named("method", method, METHODS) if isinstance(method, str) else method
        rule = _named("gradient", gradient, GRADIENTS) if isinstance(gradient, str) else gradient
        control = Adaptive() if control is None else control
        _check_control(chosen, control)
        if isinstance(rule, Adjoint):
            _check_control(rule.method or chosen, rule.control or control)
        for name, value in (("method", chosen), ("control", control), ("gradient", rule)):
            object.__setattr__(self, name, value)


def solve(
    f: Field,
    y0: Tensor,
    ts: Times,
    solver: Solver | None = None,
    *,
    params: Sequence[Tensor] | None = None,
) -> Solution:
    """The solution of ``dy/dt = f(t, y)``, ``y(ts[0]) = y0``, at times ``ts``, and its cost.

    ``f`` takes the time as a float and a state of ``y0``'s shape, and returns its slope. ``ts`` is
    strictly monotone, rising or falling. Gradients reach ``y0``, the parameters of ``f`` (those of
    the module, or ``params``), and ``ts`` where it is a tensor that requires them.

    Raises ``TypeError`` or ``ValueError`` for input that is not so, and ``SolveError`` for a solve
    that cannot go on.
    """
    solver = solver or Solver()
    times = _checked_times(ts)
    check_state(y0)
    parameters = _parameters(f, params, solver.gradient)
    f = checked_field(f, y0)
    shifted = _shift_start(f, y0, ts) if _wants_gradient(ts) else y0
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in (shifted, *parameters))
    if wanted:
        _check_differentiable(solver)
    # Where no one asks for a gradient there is nothing to keep for it.
    rule = solver.gradient if wanted or not solver.gradient.keeps else Backprop()
    solution = rule(f, parameters, shifted, times, solver.method, solver.control)
    if _wants_gradient(ts):
        solution.work.forward.nfe += 1 + len(times)  # the slopes at the start and at each output
        solution = replace(solution, ys=_shift_outputs(f, solution, ts))
    return solution


def _check_control(method: Method, control: Control) -> None:
    if isinstance(control, Adaptive) and not method.adaptive:
        adaptive = ", ".join(name for name, m in METHODS.items() if m.adaptive)
        raise ValueError(
            f"{method.name} has no error estimate for Adaptive: give it FixedSteps, or take one of "
            f"{adaptive}"
        )
    if isinstance(method, SciPyAdams) and not isinstance(control, Adaptive):
        raise ValueError(f"{method.name} chooses its own steps: give it Adaptive, not {control}")


def _check_differentiable(solver: Solver) -> None:
    if isinstance(solver.method, SciPyAdams) and (
        not isinstance(solver.gradient, Adjoint) or solver.gradient.interpolated
    ):
        raise ValueError(
            f"{solver.method.name} keeps its steps to itself: differentiate it with Adjoint"
        )


def _named(what: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}{hint}")


def _checked_times(ts: Times) -> tuple[float, ...]:
    if isinstance(ts, Tensor) and ts.dim() != 1:
        raise ValueError(f"ts must be one-dimensional, got shape {tuple(ts.shape)}")
    times = tuple(float(t) for t in (ts.tolist() if isinstance(ts, Tensor) else ts))
    if len(times) < 2:
        raise ValueError(f"ts must hold at least two times, got {len(times)}")
    if not all(math.isfinite(t) for t in times):
        raise ValueError(f"ts must be finite, got {times}")
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    if not (all(g > 0 for g in gaps) or all(g < 0 for g in gaps)):
        raise ValueError(f"ts must rise or fall strictly, got {times}")
    return times


def check_state(y0: Tensor) -> None:
    """Raises TypeError for a state that is not a tensor of floating-point numbers."""
    if not isinstance(y0, Tensor):
        raise TypeError(f"y0 must be a tensor, got {type(y0).__name__}")
    if not y0.is_floating_point():
        raise TypeError(f"y0 must hold floating-point numbers, got {y0.dtype}")


def _parameters(
    f: Field, params: Sequence[Tensor] | None, gradient: Gradient
) -> tuple[Tensor, ...]:
    """The tensors that the gradient rule must differentiate beside ``y0``."""
    if params is None and isinstance(f, nn.Module):
        params = tuple(f.parameters())
    if params is None and not isinstance(gradient, Backprop):
        raise TypeError(
            f"{type(gradient).__name__} cannot see what a plain function depends on: make f an "
            "nn.Module, or give params (an empty tuple if there are none)"
        )
    return tuple(p for p in params or () if p.requires_grad)


def checked_field(f: Field, y0: Tensor) -> Field:
    """``f``, raising TypeError or ValueError for a slope that is not like the state ``y0``."""
    shape, dtype = y0.shape, y0.dtype

    def checked(t: float, y: Tensor) -> Tensor:
        k = f(t, y)
        if not isinstance(k, Tensor):
            raise TypeError(f"f must return a tensor, got {type(k).__name__}")
        if k.shape != shape or k.dtype is not dtype:
            raise ValueError(
                f"f must return a slope of the state's shape {tuple(shape)} and {dtype}, "
                f"got {tuple(k.shape)} and {k.dtype}"
            )
        return k

    # `__wrapped__` is the field itself, for rules that look into it.
    return functools.update_wrapper(checked, f, assigned=(), updated=())


def _wants_gradient(ts: Times) -> bool:
    return isinstance(ts, Tensor) and ts.requires_grad and torch.is_grad_enabled()


def _shift_start(f: Field, y0: Tensor, ts: Any) -> Tensor:
    """``y0`` with the derivative of the solution with respect to ``ts[0]`` attached.

    To first order, starting later by d is starting from ``y0 - d f(ts[0], y0)``.
    """
    slope = f(float(ts[0].detach()), y0.detach()).detach()
    return y0 - (ts[0] - ts[0].detach()) * slope


@torch.no_grad()
def _slopes(f: Field, solution: Solution) -> Tensor:
    return torch.stack([f(t, y) for t, y in zip(solution.ts, solution.ys, strict=True)])


def _shift_outputs(f: Field, solution: Solution, ts: Any) -> Tensor:
    """The outputs with their derivative with respect to their own time, the slope, attached."""
    slopes = _slopes(f, solution)
    shifts = (ts - ts.detach()).to(slopes.dtype).view(-1, *[1] * (slopes.dim() - 1))
    return solution.ys + shifts * slopes
