"""The gradient rule that compiles a solve and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from odenet.compiled.forward import Problem, solve_forward
from odenet.compiled.graph import CannotCompile
from odenet.compiled.loop import Record
from odenet.compiled.replay import pull_back
from odenet.gradients import GRADIENTS, Adjoint, Checkpoint, Gradient
from odenet.gradients.function import Pullback, with_pullback
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    FixedSteps,
    Method,
    RungeKutta,
    Solution,
    Work,
)


@dataclass(frozen=True, init=False)
class Compiled:
    """``rule`` with the whole solve in compiled code, forwards and backwards."""

    rule: Checkpoint | Adjoint
    keeps = False  # nothing where no gradient is wanted: then only the forward loop runs

    def __init__(self, rule: Gradient | str = "checkpoint") -> None:
        chosen = GRADIENTS.get(rule) if isinstance(rule, str) else rule
        if not isinstance(chosen, Checkpoint | Adjoint):
            raise CannotCompile(
                f"{rule!r} is not compiled: take Compiled('checkpoint'), whose gradient is that of "
                "backprop to rounding, or Compiled('adjoint')"
            )
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
        work = Work()
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in (y0, *params))):
            with torch.no_grad():
                return Solution(tuple(ts), solve_forward(problem, y0, work.forward, False).ys, work)

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            path = solve_forward(problem, y0, work.forward, recorded=True)
            kept = [x for record in path.records for x in record if x is not None]
            path.records.clear()
            return path.ys, kept, pullback(path)

        def pullback(path: Any) -> Pullback:
            def pulled(
                cotangent: Tensor, inputs: Sequence[Tensor], kept: Sequence[Tensor]
            ) -> list[Tensor]:
                each = len(kept) // len(path.counts)
                parts = [kept[i : i + each] for i in range(0, len(kept), each)]
                path.records = [Record(*part, *[None] * (4 - each)) for part in parts]
                return pull_back(problem, path, inputs[0], cotangent, work.backward)

            return pulled

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)


def _problem(
    f: Field, params: Sequence[Tensor], ts: Sequence[float], method: Method, control: Control
) -> Problem:
    if not isinstance(method, RungeKutta):
        raise CannotCompile(f"{method.name}")
    assert isinstance(control, Adaptive | FixedSteps)
    field: Any = getattr(f, "__wrapped__", f)
    names: tuple[str, ...] = ()
    if isinstance(field, nn.Module):
        wanted = {id(p) for p in params}
        names = tuple(n for n, p in field.named_parameters() if id(p) in wanted)
    return Problem(field, f, names, tuple(p.detach() for p in params), tuple(ts), method, control)
