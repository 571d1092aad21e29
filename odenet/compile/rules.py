"""The gradient rules of compiled solves: the eager ones, with compiled steps and pullbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from odenet.adjoint import Adjoint, Backprop, Checkpoint, Gradient
from odenet.adjoint.backsolve import BackwardSolve
from odenet.adjoint.checkpoint import Replay, Span
from odenet.compile.problem import CompiledProblem, numbers, traced_with_data
from odenet.compile.traced import Data, Traced, pull_back, trained
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    FixedSteps,
    InitialValueProblem,
    Method,
    RungeKutta,
    Solution,
    SolveStats,
)

Carried = tuple[Tensor, Tensor, Tensor]  # cotangents of the state, its slope, the parameters


def check_compiled(method: Method, control: Control, gradient: Gradient) -> None:
    """Raises ``ValueError`` for a solver that is not compiled."""
    used = [(method, control)]
    if isinstance(gradient, Adjoint):
        used.append((gradient.method or method, gradient.control or control))
    for method, control in used:
        _check_step(method, control)
    if not isinstance(gradient, Backprop | Checkpoint | Adjoint):
        raise ValueError(
            f"compile=True is not for {type(gradient).__name__}: take 'checkpoint' or 'adjoint', "
            "or compile=False"
        )


def _check_step(method: Method, control: Control) -> None:
    if type(method) is not RungeKutta:
        raise ValueError(
            f"compile=True takes Runge-Kutta methods, not {method.name}: take compile=False"
        )
    if type(control) not in (Adaptive, FixedSteps):
        raise ValueError(
            f"compile=True takes Adaptive and FixedSteps, not {control}: take compile=False"
        )


def check_own(f: Any, params: Sequence[Tensor]) -> None:
    """Raises ``ValueError`` for parameters that compiled code would not see in the field."""
    own = {id(p) for p in trained(f).values()}
    if not own.issuperset(map(id, params)):
        raise ValueError(
            "compile=True differentiates with respect to the parameters of a module alone: make f "
            "an nn.Module that holds params, or take compile=False"
        )


def compiled_rule(rule: Gradient) -> Gradient:
    """``rule`` for compiled problems."""
    if isinstance(rule, Checkpoint):
        return CompiledCheckpoint()
    if isinstance(rule, Adjoint):
        return CompiledAdjoint(**vars(rule))
    return WithoutGradient()


class WithoutGradient(Backprop):
    """No graph is recorded in compiled code."""

    def __call__(self, problem: InitialValueProblem) -> Solution:
        if problem.wants_gradient:
            raise ValueError(
                "compile=True does not record what 'backprop' needs: take gradient='checkpoint', "
                "which is equal to rounding, or torch.no_grad() where no gradient is wanted"
            )
        return problem.solve()


class CompiledCheckpoint(Checkpoint):
    def _replay(self, problem: InitialValueProblem, spans: list[Span], stats: SolveStats) -> Replay:
        return CompiledReplay(problem, spans, stats)


class CompiledAdjoint(Adjoint):
    def _backward(self, problem: InitialValueProblem, stats: SolveStats) -> BackwardSolve:
        return CompiledBackwardSolve(**vars(super()._backward(problem, stats)))


@dataclass(frozen=True, eq=False)
class CompiledBackwardSolve(BackwardSolve):
    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        parameters = Parameters(self.problem, inputs[0])
        start, flat = super().pullback(cotangent, [inputs[0], parameters.flat], saved)
        return [start, *parameters.split(flat)]

    @cached_property
    def _traced(self) -> tuple[Traced, Data]:
        field = cast(CompiledProblem, self.problem).traced.f
        return traced_with_data(self.method, self.control, field, self.problem.y0.device)

    def _augmented(
        self,
        field: Field,
        state: Tensor,
        ts: tuple[float, float],
        control: Control,
        params: Sequence[Tensor],
    ) -> InitialValueProblem:
        whole, (traced, data) = cast(CompiledProblem, self.problem), self._traced
        norm = control.norm if isinstance(control, Adaptive) else None
        traced = traced._replace(adjoint=(params[0], whole.y0.shape), norm=norm)
        # A piece between two of many outputs is an attempt or two.
        ahead = 3 if whole.small and len(whole.ts) == 2 else 1
        return CompiledProblem(field, state, ts, self.method, control, (), traced, data, ahead)


class CompiledReplay(Replay):
    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        problem, counts = cast(CompiledProblem, self.problem), self.stats.begin_backward()
        parameters, like = Parameters(problem, inputs[0]), cotangent[0].contiguous()
        zero = torch.zeros_like(like)
        carried = (zero, zero.clone(), torch.zeros_like(parameters.flat))
        if len(problem.ts) == 2:
            carried = (cotangent[1].contiguous(), *carried[1:])
        steps, rest = [], iter(saved)
        for span in self.spans:
            steps.append((next(rest), next(rest) if span.history else zero))
        count = 2 if problem.small else 1
        for stop in range(len(steps), 0, -count):
            some = slice(max(stop - count, 0), stop)
            carried = self._pull(
                count, self.spans[some], steps[some], cotangent, parameters.flat, carried
            )
        fsal = problem.tableau.fsal
        counts.accepted = len(steps)
        counts.nfe = len(steps) * (problem.tableau.stages - fsal) + fsal
        return [carried[0] + cotangent[0], *parameters.split(carried[2])]

    def _pull(
        self,
        count: int,
        spans: Sequence[Span],
        steps: Sequence[tuple[Tensor, Tensor]],
        cotangent: Tensor,
        flat: Tensor,
        carried: Carried,
    ) -> Carried:
        """Through a few steps that follow each other, made up to ``count``."""
        problem = cast(CompiledProblem, self.problem)
        missing, first = count - len(spans), not spans[0].history
        zero = torch.zeros_like(carried[0])
        rows = [[span.t0, span.t1, 1.0] for span in spans] + [[0.0] * 3] * missing
        outputs = None
        if len(problem.ts) > 2:
            read = [self._read(span, cotangent) for span in spans]
            none = [(zero, torch.zeros_like(read[0][1]), zero)] * missing
            outputs = tuple(map(torch.stack, zip(*read, *none, strict=True)))
        return problem.call(  # type: ignore[no-any-return]
            pull_back,
            problem.traced,
            problem.data,
            None if count > 1 else first,
            flat,
            numbers([*rows, [float(first), 0.0, 0.0]], zero.device),
            [*steps, *[(zero, zero)] * missing],
            outputs,
            carried,
        )

    def _read(self, span: Span, cotangent: Tensor) -> Carried:
        """What the outputs in a step add to the cotangents of its end, its slopes, its start."""
        tableau = cast(CompiledProblem, self.problem).tableau
        inside, rows = span.inside, cotangent[span.rows]
        end = start = torch.zeros_like(cotangent[0])
        if inside and inside[-1] == span.t1:
            end, inside, rows = rows[-1], inside[:-1], rows[:-1]
        slopes = end.new_zeros(tableau.stages, *end.shape)
        if inside:
            h = span.t1 - span.t0
            weights = h * tableau.dense_weights((np.array(inside) - span.t0) / h)
            flat = torch.from_numpy(weights).to(rows).T @ rows.reshape(len(rows), -1)
            start, slopes = rows.sum(0), flat.view(slopes.shape)
        return end, slopes, start


class Parameters:
    """The trained parameters of a problem's field, one behind the other."""

    def __init__(self, problem: InitialValueProblem, like: Tensor) -> None:
        self._wanted = problem.params
        self._own = list(trained(cast(CompiledProblem, problem).traced.f).values())
        with torch.no_grad():
            parts = [p.reshape(-1) for p in self._own]
            self.flat = torch.cat(parts) if parts else like.new_empty(0)

    def split(self, flat: Tensor) -> list[Tensor]:
        """The gradients of the problem's parameters, from that of the flat ones."""
        pieces = zip(self._own, flat.split([p.numel() for p in self._own]), strict=True)
        gradients = {id(p): piece.view(p.shape).to(p.dtype) for p, piece in pieces}
        return [gradients[id(p)] for p in self._wanted]
