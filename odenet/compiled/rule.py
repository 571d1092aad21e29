"""The gradient rule that compiles a solve and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from odenet.adjoint import GRADIENTS, Adjoint, Checkpoint, Gradient
from odenet.adjoint.function import Pullback, with_pullback
from odenet.compiled.backsolve import solve_backward
from odenet.compiled.forward import Recorded, solve_forward
from odenet.compiled.graph import CannotCompile
from odenet.compiled.problem import Problem
from odenet.compiled.purity import require_pure
from odenet.compiled.replay import pull_back
from odenet.solvers import (
    Adaptive,
    Control,
    FixedSteps,
    InitialValueProblem,
    Method,
    RungeKutta,
    Solution,
    SolveStats,
    rms,
)

_EAGER = "solve it with the rule itself, not compiled"


@dataclass(frozen=True, init=False)
class Compiled:
    """``rule`` with the whole solve in compiled code, forwards and backwards.

    ``rule`` is ``Checkpoint()`` or ``Adjoint(...)``, or the name of one. Values, gradients and
    stats are those of the rule to rounding. The first solve compiles, for seconds; those that
    follow take the code again, with other parameters, tolerances and times, as long as shapes,
    precision, device, method and the constants in the field and the control are the same
    (``compilations`` lists what was compiled). Methods are Runge-Kutta, controls ``Adaptive``
    and ``FixedSteps``.

    The field must take its time as a tensor without dimensions and must not branch on values.
    Raises ``CannotCompile``, a ``ValueError``, for what cannot be compiled, and never solves slowly
    instead. A module that changes its own attributes or buffers, such as a counter of its calls, is
    refused too: in compiled code that would happen once, while tracing.
    """

    rule: Checkpoint | Adjoint
    needs_params = True
    needs_steps = True

    def __init__(self, rule: Gradient | str = "checkpoint") -> None:
        chosen = GRADIENTS.get(rule) if isinstance(rule, str) else rule
        if not isinstance(chosen, Checkpoint | Adjoint):
            raise CannotCompile(
                f"{rule!r} is not compiled: take Compiled('checkpoint'), whose gradient is that of "
                "backprop to rounding, or Compiled('adjoint')"
            )
        object.__setattr__(self, "rule", chosen)

    def __call__(self, problem: InitialValueProblem) -> Solution:
        traced = _problem(problem)
        if isinstance(self.rule, Adjoint):
            _check_method(self.rule.method or problem.method)
            _check_control(self.rule.control or problem.control)
        require_pure(traced, problem.y0)
        stats = SolveStats()
        if not problem.wants_gradient:
            with torch.no_grad():
                ys, _ = solve_forward(traced, problem.y0, stats.forward, recorded=False)
            return Solution(problem.ts, ys, stats)

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            if isinstance(self.rule, Adjoint):
                ys, _ = solve_forward(traced, y0, stats.forward, recorded=False)
                return ys, [ys], _backsolve(traced, self.rule, stats)
            ys, steps = solve_forward(traced, y0, stats.forward, recorded=True)
            # The records are kept by autograd, which frees them after the pullback.
            return ys, steps.tensors, _replay(traced, replace(steps, records=()), stats)

        return Solution(problem.ts, with_pullback(primal, problem.y0, *problem.params), stats)


def _replay(problem: Problem, steps: Recorded, stats: SolveStats) -> Pullback:
    return lambda cotangent, inputs, kept: pull_back(
        problem, steps.with_tensors(kept), inputs[0], cotangent, stats.begin_backward()
    )


def _backsolve(problem: Problem, rule: Adjoint, stats: SolveStats) -> Pullback:
    return lambda cotangent, inputs, kept: solve_backward(problem, rule, kept[0], cotangent, stats)


def _problem(given: InitialValueProblem) -> Problem:
    """Raises ``CannotCompile`` for what only the eager rules solve."""
    method, control = given.method, given.control
    _check_method(method)
    _check_control(control)
    field: Any = getattr(given.f, "__wrapped__", given.f)
    names = _names(field, given.params)
    bare = tuple(p.detach() for p in given.params)
    return Problem(field, given.f, names, bare, given.ts, method, control)  # type: ignore[arg-type]


def _check_method(method: Method) -> None:
    if not isinstance(method, RungeKutta):
        raise CannotCompile(f"only Runge-Kutta methods are compiled, not {method}: {_EAGER}")


def _check_control(control: Control) -> None:
    if type(control) not in (Adaptive, FixedSteps):
        raise CannotCompile(f"only Adaptive and FixedSteps are compiled, not {control}: {_EAGER}")
    if isinstance(control, Adaptive) and control.norm is not rms:
        if not isinstance(control.norm(torch.ones(1)), Tensor):
            raise CannotCompile(
                "a norm that is compiled must return a tensor, not a number: write it so, or "
                + _EAGER
            )


def _names(f: Any, params: Sequence[Tensor]) -> tuple[str, ...]:
    """The names in ``f`` of the parameters that are differentiated."""
    if not params:
        return ()
    if not isinstance(f, nn.Module):
        raise CannotCompile(
            "a function hides its params from the compiler: make it an nn.Module that holds them, "
            f"or {_EAGER}"
        )
    known = {id(p): name for name, p in f.named_parameters()}
    names = tuple(known.get(id(p), "") for p in params)
    if not all(names):
        raise CannotCompile(f"params must be parameters of f itself: give it them, or {_EAGER}")
    return names
