"""The front door: a solver as one frozen value, and ``solve``.

Input is checked here, and each slope in ``odenet.field``; behind them it is taken to be right.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn.parameter import is_lazy

from odenet.adjoint import GRADIENTS, Adjoint, Backprop, Gradient, InterpolatedAdjoint
from odenet.adjoint.dependence import found_params
from odenet.adjoint.function import moved
from odenet.compile import check_compiled, check_own, compiled_problem, compiled_rule
from odenet.field import checked_field, slope_at
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
from odenet.solvers.modified import at_jumps

Times = Tensor | Sequence[float | Tensor]
T = TypeVar("T")


@dataclass(frozen=True, init=False)
class Solver:
    """How to solve and how to differentiate: a method, its step-size control, a gradient rule.

    A frozen value: keep one in a model, and take another for a single call.

    Args:
        method: one of ``METHODS`` by name ("dopri5", "tsit5", "rk4", ...), or a method.
        control: ``Adaptive(rtol, atol)`` or ``FixedSteps(count)``; by default ``Adaptive()``, whose
            tolerances of 1e-6 are for states in double precision: in single precision, give 1e-5 or
            more.
        gradient: a rule (``Backprop()``, ``Checkpoint()``, ``Adjoint()``,
            ``InterpolatedAdjoint()``), or one of "backprop", "checkpoint", "adjoint". By default
            "backprop", and "checkpoint" where solves are compiled.
        compile: make the steps in compiled code. The results are those without it, up to rounding;
            it is faster for small fields, slower where one evaluation takes milliseconds. The first
            solve compiles, for seconds to more than a minute; later ones take the code again, as
            long as the field's code and attributes, shapes and precision are the same. Methods are
            Runge-Kutta, without ``jump_times``; rules are "checkpoint" and "adjoint", and
            "backprop" where no gradient is wanted. The field must work with its time as a number
            (in its first evaluations) and as a tensor without dimensions, and must not branch on
            values, draw random numbers, have hooks or change itself; parameters are real, and those
            of a module. A solve raises ``ValueError`` otherwise. Needs a C++ compiler.

    Raises:
        TypeError: for a method, a control or a gradient of another type.
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
        chosen = _method("method", method)
        rule = _named("gradient", gradient, GRADIENTS) if isinstance(gradient, str) else gradient
        control = Adaptive() if control is None else control
        if isinstance(rule, type) or not hasattr(rule, "needs_params"):
            raise TypeError(
                f"gradient must be a rule such as Adjoint(), or one of {', '.join(GRADIENTS)}, got "
                f"{rule!r}"
            )
        _check_control("control", chosen, control)
        if isinstance(rule, Adjoint | InterpolatedAdjoint):
            back = None if rule.method is None else _method("method of the gradient", rule.method)
            _check_control("control of the gradient", back or chosen, rule.control or control)
            if back and back.own_steps and control.jump_times:
                raise ValueError(
                    f"{back.name} cannot stop at the jump_times of the forward solve: take a "
                    "Runge-Kutta method for the gradient"
                )
            rule = replace(rule, method=back)
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
    dense: bool = False,
) -> Solution:
    """Solve ``dy/dt = f(t, y)`` from ``y(ts[0]) = y0``; the states at times ``ts``.

    Args:
        f: the field, a module or any function. Takes the time and a state of ``y0``'s shape and
            dtype; returns the slope, a new tensor of the same shape and dtype. It must not write
            into the state, and must return the same slope when it is called again. The time is a
            Python float; it is a tensor without dimensions where ``ts`` are differentiated through
            ``Backprop`` and a Runge-Kutta method, and in compiled code.
        y0: the state at ``ts[0]``, a floating-point tensor of any shape. A batch is solved as one
            system, with one step size for all.
        ts: at least two output times, rising or falling strictly: numbers, tensors without
            dimensions, or a one-dimensional tensor. Forwards they are read from the dense output
            and cost nothing; only "dopri8" and ``FixedSteps()`` land on each. SciPy's methods
            interpolate inside, and also call ``f`` beyond the last time. Backwards, the adjoint
            rules begin anew at each output.
        solver: method, step-size control and gradient rule, such as ``Solver("tsit5",
            Adaptive(rtol=1e-4, atol=1e-4), "adjoint")``; by default DOPRI5 with rtol = atol = 1e-6,
            differentiated by backpropagation.
        params: the tensors to differentiate besides ``y0``; by default the parameters of the module
            ``f``, and its attributes that are tensors. Needed where ``f`` is a plain function and
            the rule is not ``Backprop``.
        dense: keep the steps, so that ``solution(t)`` is the solution at any time between the
            first and the last one. Not for "dopri8", SciPy's methods, ``ts`` that require
            gradients, nor, where a gradient is wanted, for another rule than ``Backprop``.

    Returns:
        A ``Solution`` with the states ``ys``, ``(len(ts), *y0.shape)``, the last of them ``y1``,
        and the cost ``stats``. Gradients reach ``y0``, the parameters, and the ``ts`` that require
        them. By ``ts``, those of a Runge-Kutta method with ``Backprop`` are of the computed
        solution, to any order; otherwise they are of the exact solution, once.

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
        >>> field, y0 = Pendulum().double(), torch.tensor([[1.0, 0.0], [2.0, 0.0]]).double()
        >>> solution = odenet.solve(field, y0, torch.linspace(0, 10, 50))
        >>> tuple(solution.ys.shape)
        (50, 2, 2)
        >>> solution.y1.square().sum().backward()
        >>> field.friction.grad is not None
        True
    """
    solver = check_solver(solver)
    times, tensors = _checked_times(ts)
    check_state(y0, solver.control)
    module: Any = getattr(f, "__self__", f)  # a bound method is its module's
    found = params is None and isinstance(module, nn.Module)
    parameters = _parameters(f, module if found else None, y0, times[0], params, solver)
    if solver.compile and params is not None:
        check_own(f, parameters)
    f = checked_field(f, y0)
    by_steps = type(solver.gradient) is Backprop and hasattr(solver.method, "tableau")
    start, jumps = y0, solver.control.jump_times
    if tensors is not None and not by_steps:
        # To first order, starting later by d is starting from y0 - d f(ts[0], y0).
        start = moved(y0, tensors[0], -slope_at(f, times[0], y0, times[-1], jumps))
    problem = problem_of(
        f,
        start,
        times,
        solver,
        params=parameters,
        module=module if found else None,
        times=tensors if by_steps else None,
        dense=dense,
    )
    _check_problem(problem, solver)
    rule = compiled_rule(solver.gradient) if solver.compile else solver.gradient
    recorded = isinstance(rule, Backprop) or not problem.wants_gradient
    if torch.compiler.is_compiling() and (isinstance(solver.control, Adaptive) or not recorded):
        solution = _untraced(rule, problem)
    else:
        solution = rule(problem)
    if tensors is not None and not by_steps:
        # The slopes at the start and at each output.
        solution.stats.forward += Counts(nfe=1 + len(times))
        places = zip(times, solution.ys, (times[-1], *times[:-1]), strict=True)
        slopes = torch.stack([slope_at(f, t, y, toward, jumps) for t, y, toward in places])
        solution = replace(solution, ys=moved(solution.ys, tensors, slopes))
    return solution


def steps(
    f: Field,
    y0: Tensor,
    ts: Times,
    method: Method | str = "dopri5",
    control: Control | None = None,
    counts: Counts | None = None,
) -> Iterator[Step]:
    """The accepted steps of a solve, one by one, for those who want to look inside.

    Args:
        f, y0, ts: as for ``solve``. Steps end at the last time; those of "dopri8", of SciPy's
            methods and of ``FixedSteps()`` at each.
        method, control: as for ``Solver``.
        counts: a ``Counts`` of ``odenet.solvers`` to which the cost is added; by default it is not
            kept.

    Yields:
        A step with ``t0``, ``t1``, ``y0``, ``y1`` and the ``slopes`` of its stages.
        ``step([t, ...])`` is the solution at times inside it.

    Raises:
        TypeError, ValueError, SolveError: as ``solve``.

    Example:
        >>> import torch, odenet
        >>> y0 = torch.ones(1, dtype=torch.float64)
        >>> path = odenet.steps(lambda t, y: -y, y0, (0.0, 1.0), "bosh3")
        >>> [step.t1 for step in path][-1]
        1.0
    """
    solver = Solver(method, control)
    times, _ = _checked_times(ts)
    check_state(y0, solver.control)
    problem = problem_of(checked_field(f, y0), y0, times, solver)
    return problem.steps(Counts() if counts is None else counts)


def problem_of(
    f: Field, y0: Tensor, ts: tuple[float, ...], solver: Solver, **rest: Any
) -> InitialValueProblem:
    """What the solver is given; ``f`` is checked."""
    method = at_jumps(solver.method, solver.control.jump_times)
    problem = InitialValueProblem(f, y0, ts, method, solver.control, **rest)
    return compiled_problem(problem) if solver.compile else problem


def check_solver(solver: Any) -> Solver:
    """The solver, or the default one for None. Raises TypeError for anything else."""
    if solver is None:
        return Solver()
    if not isinstance(solver, Solver):
        raise TypeError(f'solver must be a Solver, such as Solver("dopri5"), got {solver!r}')
    return solver


def check_state(y0: Any, control: Control) -> None:
    """Raises TypeError or ValueError for a state that is not a tensor of floating-point numbers.

    The control's tolerances must fit it.
    """
    if not isinstance(y0, Tensor):
        raise TypeError(f"y0 must be a tensor, got {type(y0).__name__}")
    if not y0.is_floating_point():
        advice = ": odeint takes complex states" if y0.is_complex() else ""
        raise TypeError(f"y0 must hold floating-point numbers, got {y0.dtype}{advice}")
    for name in ("rtol", "atol"):
        tolerance = getattr(control, name, None)
        if not isinstance(tolerance, Tensor):
            continue
        sizes = zip(reversed(tolerance.shape), reversed(y0.shape), strict=False)
        if tolerance.dim() > y0.dim() or any(n not in (1, m) for n, m in sizes):
            raise ValueError(
                f"{name} must broadcast with the state's shape {tuple(y0.shape)}, got shape "
                f"{tuple(tolerance.shape)}"
            )


def _check_control(name: str, method: Method, control: Any) -> None:
    if isinstance(control, type) or not hasattr(control, "adapt"):
        raise TypeError(
            f"{name} must be Adaptive(rtol, atol) or FixedSteps(count), got {control!r}"
        )
    if isinstance(control, Adaptive) and not method.adaptive:
        adaptive = ", ".join(name for name, m in METHODS.items() if m.adaptive)
        raise ValueError(
            f"{method.name} has no error estimate for Adaptive: give it FixedSteps, or take one of "
            f"{adaptive}"
        )
    if method.own_steps and (not isinstance(control, Adaptive) or control.jump_times):
        raise ValueError(
            f"{method.name} chooses its own steps: give it Adaptive without jump_times, not "
            f"{control}"
        )


def _check_problem(problem: InitialValueProblem, solver: Solver) -> None:
    """Raises ValueError for what the method or the rule cannot do."""
    method, rule = solver.method, solver.gradient
    if problem.wants_gradient and method.own_steps and rule.needs_steps:
        raise ValueError(f"{method.name} keeps its steps to itself: differentiate it with Adjoint")
    if problem.dense and not getattr(method, "interpolates", False):
        raise ValueError(f"dense=True: {method.name} has no dense output of its order")
    if problem.dense and problem.times is not None:
        raise ValueError(
            "dense=True: the solution between the outputs is not differentiated by ts: detach ts, "
            "or leave out dense and name these times in ts"
        )
    if problem.dense and problem.wants_gradient and not isinstance(rule, Backprop):
        raise ValueError(
            f"dense=True: {type(rule).__name__} does not differentiate the solution between the "
            "outputs: take Backprop, or torch.no_grad()"
        )


def _method(what: str, method: Any) -> Method:
    chosen = _named(what, method, METHODS) if isinstance(method, str) else method
    if isinstance(chosen, type) or not hasattr(chosen, "own_steps"):
        raise TypeError(f"{what} must be a method or its name, got {method!r}")
    return chosen


def _named(what: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}{hint}")


def _checked_times(ts: Any) -> tuple[tuple[float, ...], Tensor | None]:
    """The times as floats, and as a tensor where the solution is differentiated by them."""
    if not isinstance(ts, Tensor | Sequence) and not hasattr(ts, "__array__"):
        raise TypeError(f"ts must be a sequence of times, got {type(ts).__name__}")
    if not isinstance(ts, Tensor) and any(isinstance(t, Tensor) for t in ts):
        ts = torch.stack([torch.as_tensor(t, dtype=torch.float64).reshape(()) for t in ts])
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
    return times, ts if isinstance(ts, Tensor) and _differentiated(ts) else None


def _differentiated(x: Tensor) -> bool:
    """Whether a derivative by ``x`` is asked for, be it in reverse or in forward mode."""
    return x.is_floating_point() and (
        x.requires_grad and torch.is_grad_enabled() or unpack_dual(x).tangent is not None
    )


def _parameters(
    f: Field,
    module: nn.Module | None,
    y0: Tensor,
    t: float,
    params: Sequence[Tensor] | None,
    solver: Solver,
) -> tuple[Tensor, ...]:
    """The tensors that the gradient rule must differentiate besides ``y0``, given or found."""
    if params is not None:
        return _checked_params(params)
    if module is not None:
        recorded = not solver.gradient.needs_params and not solver.method.own_steps
        if not torch.is_grad_enabled() or (recorded and not solver.compile):
            return ()  # which autograd finds, if anyone asks
        parameters = found_params(module)
        if any(map(is_lazy, parameters)):
            with torch.no_grad():  # which makes them
                f(t, y0)
        return parameters
    if solver.gradient.needs_params:
        raise TypeError(
            f"{type(solver.gradient).__name__} cannot see what a plain function depends on: make f "
            "an nn.Module, or give params (an empty tuple if there are none)"
        )
    return ()


def _checked_params(params: Any) -> tuple[Tensor, ...]:
    """Those that require gradients, each once: one given twice would get its gradient twice."""
    if isinstance(params, Tensor):
        raise TypeError("params must be a sequence of tensors, got one tensor: give [tensor]")
    given = tuple(params)
    for p in given:
        if not isinstance(p, Tensor):
            raise TypeError(f"params must hold tensors, got {type(p).__name__}")
    return tuple({id(p): p for p in given if p.requires_grad}.values())


def _untraced(rule: Gradient, problem: InitialValueProblem) -> Solution:
    """A solve whose path depends on values, run as it is where a caller is traced."""
    untraced: Any = torch.compiler.disable(rule.__call__)  # no decorator: it would import dynamo
    solution: Solution = untraced(problem)
    return solution
