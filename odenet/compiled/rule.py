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
    Field,
    FixedSteps,
    Method,
    RungeKutta,
    Solution,
    Work,
    rms,
)

_EAGER = "solve it with the rule itself, not compiled"


@dataclass(frozen=True, init=False)
class Compiled:
    """``rule`` with the whole solve in compiled code, forwards and backwards.

    ``rule`` is ``Checkpoint()`` or ``Adjoint(...)``, or the name of one. Values, gradients and
    ``Work`` are those of the rule to rounding. The first solve compiles, for seconds; those that
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
    keeps = False  # nothing where no gradient is wanted: then only the forward loop runs

    def __init__(self, rule: Gradient | str = "checkpoint") -> None:
        chosen = GRADIENTS.get(rule) if isinstance(rule, str) else rule
        if not isinstance(chosen, Checkpoint | Adjoint):
            raise CannotCompile(
                f"{rule!r} is not compiled: take Compiled('checkpoint'), whose gradient is that of "
                "backprop to rounding, or Compiled('adjoint')"
            )
        if isinstance(chosen, Adjoint) and chosen.interpolated:
            raise CannotCompile(f"an interpolated Adjoint is not compiled: {_EAGER}")
        object.__setattr__(self, "rule", chosen)

    def __call__(
        self,
        f: Field,
        params: Sequence[Tensor],
        y0: Tensor,
        ts: Sequence[float],
        method: Method,
        control: Control,
    ) -> Solution:
        problem = _problem(f, params, ts, method, control)
        if isinstance(self.rule, Adjoint):
            _check_method(self.rule.method or method)
            _check_control(self.rule.control or control)
        require_pure(problem, y0)
        work = Work()
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in (y0, *params))):
            with torch.no_grad():
                ys, _ = solve_forward(problem, y0, work.forward, recorded=False)
            return Solution(tuple(ts), ys, work)

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            if isinstance(self.rule, Adjoint):
                ys, _ = solve_forward(problem, y0, work.forward, recorded=False)
                return ys, [ys], _backsolve(problem, self.rule, work)
            ys, steps = solve_forward(problem, y0, work.forward, recorded=True)
            # The records are kept by autograd, which frees them after the pullback.
            return ys, steps.tensors, _replay(problem, replace(steps, records=()), work)

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)


def _replay(problem: Problem, steps: Recorded, work: Work) -> Pullback:
    return lambda cotangent, inputs, kept: pull_back(
        problem, steps.with_tensors(kept), inputs[0], cotangent, work.backward
    )


def _backsolve(problem: Problem, rule: Adjoint, work: Work) -> Pullback:
    return lambda cotangent, inputs, kept: solve_backward(problem, rule, kept[0], cotangent, work)


def _problem(
    f: Field, params: Sequence[Tensor], ts: Sequence[float], method: Method, control: Control
) -> Problem:
    """Raises ``CannotCompile`` for what only the eager rules solve."""
    _check_method(method)
    _check_control(control)
    field: Any = getattr(f, "__wrapped__", f)
    names = _names(field, params)
    bare = tuple(p.detach() for p in params)
    return Problem(field, f, names, bare, tuple(ts), method, control)  # type: ignore[arg-type]


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
