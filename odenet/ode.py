"""The front door: a solver as one frozen value, and ``solve``.

All validation lives here; behind it, input is taken to be right.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from odenet.adjoint import GRADIENTS, Adjoint, Gradient, InterpolatedAdjoint
from odenet.compile import check_compiled, check_own, compiled_problem, compiled_rule
from odenet.solvers import (
    METHODS,
    Adaptive,
    Control,
    Counts,
    Field,
    InitialValueProblem,
    Method,
    Solution,
    Step,
)

Times = Tensor | Sequence[float]
T = TypeVar("T")


@dataclass(frozen=True, init=False)
class Solver:
    """How to solve and how to differentiate: a method, its step-size control, a gradient rule.

    A frozen value: keep one in a model, and take another for a single call.

    Args:
        method: one of ``METHODS`` by name ("dopri5", "tsit5", "rk4", ...), or a method.
        control: ``Adaptive(rtol, atol)`` or ``FixedSteps(count)``; by default ``Adaptive()``.
        gradient: a rule (``Backprop()``, ``Checkpoint()``, ``Adjoint()``,
            ``InterpolatedAdjoint()``), or one of "backprop", "checkpoint", "adjoint". By default
            "backprop", and "checkpoint" where solves are compiled.
        compile: make the steps in compiled code, which is equal to rounding and several times as
            fast for small fields. The first solve compiles, for seconds; later ones take the code
            again, as long as the field's code and attributes, shapes and precision are the same.
            Methods are Runge-Kutta, rules "checkpoint" and "adjoint", or any without a gradient.
            The field takes its time as a tensor without dimensions, and does not branch on values.
            Needs a C++ compiler.

    Raises:
        ValueError: for an unknown name, for a method and a control that do not fit, such as a
            method without an error estimate under ``Adaptive``, and for what is not compiled.

    Example:
        >>> import odenet
        >>> solver = odenet.Solver("tsit5", odenet.Adaptive(rtol=1e-6, atol=1e-8), "adjoint")
        >>> solver.method.name
        'tsit5'
        >>> odenet.Solver("rk4", odenet.FixedSteps(20)).control.count
        20
    """

    method: Method
    control: Control
    gradient: Gradient
    compile: bool

    def __init__(
        self,
        method: Method | str = "dopri5",
        control: Control | None = None,
        gradient: Gradient | str | None = None,
        compile: bool = False,
    ) -> None:
        if gradient is None:
            gradient = "checkpoint" if compile else "backprop"
        chosen = _named("method", method, METHODS) if isinstance(method, str) else method
        rule = _named("gradient", gradient, GRADIENTS) if isinstance(gradient, str) else gradient
        control = Adaptive() if control is None else control
        _check_control(chosen, control)
        if isinstance(rule, Adjoint | InterpolatedAdjoint):
            _check_control(rule.method or chosen, rule.control or control)
        if compile:
            check_compiled(chosen, control, rule)
        for name, value in (
            ("method", chosen),
            ("control", control),
            ("gradient", rule),
            ("compile", compile),
        ):
            object.__setattr__(self, name, value)


def solve(
    f: Field,
    y0: Tensor,
    ts: Times,
    solver: Solver | None = None,
    *,
    params: Sequence[Tensor] | None = None,
) -> Solution:
    """Solve ``dy/dt = f(t, y)`` from ``y(ts[0]) = y0``; the states at times ``ts``.

    Args:
        f: the field, a module or any function. Takes the time, a Python float, and a state of
            ``y0``'s shape and dtype; returns the slope, of the same shape and dtype.
        y0: the state at ``ts[0]``, a floating-point tensor of any shape. A batch is solved as one
            system, with one step size for all.
        ts: at least two output times, rising or falling strictly: numbers, or a one-dimensional
            tensor. They are read from the dense output, and cost nothing; only "dopri8" and SciPy's
            methods land on each.
        solver: method, step-size control and gradient rule, such as ``Solver("tsit5",
            Adaptive(rtol=1e-4, atol=1e-4), "adjoint")``; by default DOPRI5 with rtol = atol = 1e-6,
            differentiated by backpropagation.
        params: the tensors to differentiate beside ``y0``; by default the parameters of the module
            ``f``. Needed where ``f`` is a plain function and the rule is not ``Backprop``.

    Returns:
        A ``Solution`` with the states ``ys``, ``(len(ts), *y0.shape)``, the last of them ``y1``,
        and the cost ``stats``. Gradients reach ``y0``, the parameters, and ``ts`` where it is a
        tensor that requires them.

    Raises:
        TypeError, ValueError: for input that is not as above.
        SolveError: for a solve that cannot go on: a state that is not finite, a step size that
            underflows, or more than ``max_steps`` attempts. Under ``FixedSteps`` the state is
            looked at once, at the end, and not inside ``torch.compile`` or ``torch.func.vmap``.

    Example:
        >>> import torch, odenet
        >>> class Pendulum(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.friction = torch.nn.Parameter(torch.tensor(0.1))
        ...     def forward(self, t, y):
        ...         angle, speed = y.unbind(-1)
        ...         return torch.stack((speed, -angle.sin() - self.friction * speed), -1)
        >>> field, y0 = Pendulum(), torch.tensor([[1.0, 0.0], [2.0, 0.0]])
        >>> solution = odenet.solve(field, y0, torch.linspace(0, 10, 50))
        >>> tuple(solution.ys.shape)
        (50, 2, 2)
        >>> solution.y1.square().sum().backward()
        >>> field.friction.grad is not None
        True
    """
    solver = solver or Solver()
    times = _checked_times(ts)
    check_state(y0)
    parameters = _parameters(f, params, solver.gradient)
    if solver.compile and params is not None:
        check_own(f, parameters)
    f = checked_field(f, y0)
    start = _shift_start(f, y0, ts) if _wants_gradient(ts) else y0
    problem = problem_of(f, start, times, solver, parameters)
    if problem.wants_gradient and solver.method.own_steps and solver.gradient.needs_steps:
        raise ValueError(
            f"{solver.method.name} keeps its steps to itself: differentiate it with Adjoint"
        )
    rule = compiled_rule(solver.gradient) if solver.compile else solver.gradient
    solution = rule(problem)
    if _wants_gradient(ts):
        # The slopes at the start and at each output.
        solution.stats.forward += Counts(nfe=1 + len(times))
        solution = replace(solution, ys=_shift_outputs(f, solution, ts))
    return solution


def steps(
    f: Field,
    y0: Tensor,
    ts: Times,
    method: Method | str = "dopri5",
    control: Control | None = None,
    stats: Counts | None = None,
) -> Iterator[Step]:
    """The accepted steps of a solve, one by one, for those who want to look inside.

    Args:
        f, y0, ts: as for ``solve``; of ``ts``, first and last count.
        method, control: as for ``Solver``.
        stats: counts to which the cost is added, by default none.

    Yields:
        A step with ``t0``, ``t1``, ``y0``, ``y1`` and the ``slopes`` of its stages.
        ``step([t, ...])`` is the solution at times inside it.

    Raises:
        TypeError, ValueError, SolveError: as ``solve``.

    Example:
        >>> import torch, odenet
        >>> path = odenet.steps(lambda t, y: -y, torch.ones(1), (0.0, 1.0), "bosh3")
        >>> [step.t1 for step in path][-1]
        1.0
    """
    solver = Solver(method, control)
    times = _checked_times(ts)
    check_state(y0)
    problem = InitialValueProblem(checked_field(f, y0), y0, times, solver.method, solver.control)
    return problem.steps(Counts() if stats is None else stats)


def problem_of(
    f: Field, y0: Tensor, ts: tuple[float, ...], solver: Solver, params: tuple[Tensor, ...] = ()
) -> InitialValueProblem:
    """What the solver is given; ``f`` is checked."""
    problem = InitialValueProblem(f, y0, ts, solver.method, solver.control, params)
    return compiled_problem(problem) if solver.compile else problem


def _check_control(method: Method, control: Control) -> None:
    if isinstance(control, Adaptive) and not method.adaptive:
        adaptive = ", ".join(name for name, m in METHODS.items() if m.adaptive)
        raise ValueError(
            f"{method.name} has no error estimate for Adaptive: give it FixedSteps, or take one of "
            f"{adaptive}"
        )
    if method.own_steps and not isinstance(control, Adaptive):
        raise ValueError(f"{method.name} chooses its own steps: give it Adaptive, not {control}")


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
    if params is None and gradient.needs_params:
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
