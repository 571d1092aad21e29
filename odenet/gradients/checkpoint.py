"""The gradient of backprop with one step's graph at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from odenet.gradients.function import Pullback, vjp, with_pullback
from odenet.solvers import (
    Control,
    Field,
    Solution,
    Stats,
    Tableau,
    Work,
    covered,
    rk_step,
    steps,
)


@dataclass(frozen=True)
class Checkpoint:
    """The gradient of ``Backprop`` to rounding; memory grows with the states only.

    The forward pass keeps the start of each accepted step, its state and slope. The backward pass
    replays the steps from last to first and pulls back through each, so ``f`` must be
    deterministic. Differentiable once.
    """

    def __call__(
        self,
        f: Field,
        params: Sequence[Tensor],
        y0: Tensor,
        ts: Sequence[float],
        tableau: Tableau,
        control: Control,
    ) -> Solution:
        work = Work()

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            spans: list[_Span] = []
            starts: list[Tensor] = []
            pieces = [y0[None]]
            done = 1
            for step in steps(f, y0, ts, tableau, control, work.forward):
                inside = covered(step, ts, done)
                if inside:
                    pieces.append(step(inside))
                spans.append(_Span(step.t0, step.t1, slice(done, done + len(inside)), inside))
                starts += (step.y0, step.slopes[0]) if tableau.fsal else (step.y0,)
                done += len(inside)
            replay = _Replay(f, tableau, spans, work.backward)
            return torch.cat(pieces), starts, replay.pullback

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)


@dataclass(frozen=True)
class _Span:
    """The times of an accepted step, and the outputs read from it."""

    t0: float
    t1: float
    rows: slice
    inside: Sequence[float]


@dataclass(frozen=True, eq=False)
class _Replay:
    f: Field
    tableau: Tableau
    spans: list[_Span]
    stats: Stats

    def counted(self, t: float, y: Tensor) -> Tensor:
        self.stats.nfe += 1
        return self.f(t, y)

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], starts: Sequence[Tensor]
    ) -> list[Tensor]:
        """Carry the cotangent of (state, slope) from the last step to ``ts[0]``."""
        y0, *params = inputs
        width = 2 if self.tableau.fsal else 1
        carried: tuple[Tensor, ...] = (torch.zeros_like(y0),)
        totals = [torch.zeros_like(p) for p in params]
        for i, span in reversed(list(enumerate(self.spans))):
            start = starts[width * i : width * (i + 1)]
            carried, gradients = self._step(span, start, carried, cotangent, params)
            totals = [total + g for total, g in zip(totals, gradients, strict=True)]
        if self.tableau.fsal:
            carried, gradients = self._first_slope(y0, carried, params)
            totals = [total + g for total, g in zip(totals, gradients, strict=True)]
        return [carried[0] + cotangent[0], *totals]

    def _step(
        self,
        span: _Span,
        start: Sequence[Tensor],
        carried: tuple[Tensor, ...],
        cotangent: Tensor,
        params: Sequence[Tensor],
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Replay one step: the cotangents of its start, and its share of the parameters'."""
        leaves = [x.detach().requires_grad_() for x in start]
        with torch.enable_grad():
            y = leaves[0]
            k = leaves[1] if self.tableau.fsal else self.counted(span.t0, y)
            step = rk_step(self.tableau, self.counted, span.t0, span.t1, y, k)
            ends = (step.y1, step.slopes[-1])[: len(carried)]
            outputs = [*ends, step(span.inside)] if span.inside else [*ends]
        cotangents = [*carried, cotangent[span.rows]] if span.inside else [*carried]
        self.stats.accepted += 1
        gradients = vjp(outputs, [*leaves, *params], cotangents)
        return tuple(gradients[: len(leaves)]), gradients[len(leaves) :]

    def _first_slope(
        self, y0: Tensor, carried: tuple[Tensor, ...], params: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """The slope at ``ts[0]``, which no step computes, pulled back into the state."""
        leaf = y0.detach().requires_grad_()
        with torch.enable_grad():
            slope = self.counted(self.spans[0].t0, leaf)
        into_y, *gradients = vjp([slope], [leaf, *params], carried[1:])
        return (carried[0] + into_y,), gradients
