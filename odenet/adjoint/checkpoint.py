"""The gradient of backprop with one step's graph at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from odenet.adjoint.function import Pullback, vjp, with_pullback
from odenet.solvers import Control, Field, History, Method, Solution, Stats, Work, covered, steps


@dataclass(frozen=True)
class Checkpoint:
    """The gradient of ``Backprop`` to rounding; memory grows with the states only.

    The forward pass keeps where each accepted step began: its state and the slopes it went on
    from. The backward pass replays the steps from last to first and pulls back through each, so
    ``f`` must be deterministic. Differentiable once.
    """

    keeps = True

    def __call__(
        self,
        f: Field,
        params: Sequence[Tensor],
        y0: Tensor,
        ts: Sequence[float],
        method: Method,
        control: Control,
    ) -> Solution:
        work = Work()

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            spans: list[_Span] = []
            kept: list[Tensor] = []
            pieces = [y0[None]]
            done, history = 1, History()
            for step in steps(f, y0, ts, method, control, work.forward):
                inside = covered(step, ts, done)
                pieces += [step(inside)] if inside else []
                spans.append(_Span(step.t0, step.t1, history.times, inside, done))
                kept += (step.y0, *history.slopes)
                done, history = done + len(inside), step.history
            return torch.cat(pieces), kept, _Replay(f, method, spans, work.backward).pullback

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)


@dataclass(frozen=True)
class _Span:
    """An accepted step: its ends, the times of its history, and the outputs read from it."""

    t0: float
    t1: float
    history: tuple[float, ...]
    inside: Sequence[float]
    row: int  # of the first of these outputs

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + len(self.inside))


@dataclass(frozen=True, eq=False)
class _Replay:
    f: Field
    method: Method
    spans: list[_Span]
    stats: Stats

    def counted(self, t: float, y: Tensor) -> Tensor:
        self.stats.nfe += 1
        return self.f(t, y)

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], kept: Sequence[Tensor]
    ) -> list[Tensor]:
        """Carry the cotangent of the state, and of the slopes behind it, back to ``ts[0]``."""
        y0, *params = inputs
        carried = [torch.zeros_like(y0)]
        totals = [torch.zeros_like(p) for p in params]
        end = len(kept)
        for span in reversed(self.spans):
            start = end - 1 - len(span.history)
            leaves = [x.detach().requires_grad_() for x in kept[start:end]]
            outputs = self._replay(span, *leaves)
            # No one goes on from the slopes of the last step: its cotangents end with the state.
            pairs = list(zip(outputs, carried, strict=False))
            if span.inside:
                pairs.append((outputs[-1], cotangent[span.rows]))
            gradients = vjp(pairs, [*leaves, *params])
            carried, shares = gradients[: len(leaves)], gradients[len(leaves) :]
            totals = [total + share for total, share in zip(totals, shares, strict=True)]
            end = start
        return [carried[0] + cotangent[0], *totals]

    @torch.enable_grad()
    def _replay(self, span: _Span, y: Tensor, *slopes: Tensor) -> list[Tensor]:
        """The step again: its end, the slopes that the next one goes on from, its outputs."""
        self.stats.accepted += 1
        history = History(span.history, slopes).at(self.counted, span.t0, y, self.method.memory)
        step = self.method.step(self.counted, span.t0, span.t1, y, history)
        outputs = [step(span.inside)] if span.inside else []
        return [step.y1, *step.history.slopes, *outputs]
