"""Differentiate a solve through the solver's own operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from odenet.solvers import Control, Field, Method, Solution, Work, sample, steps


@dataclass(frozen=True)
class Backprop:
    """Exact gradients of the computed solution; memory grows with every stage of every step.

    Any number of derivatives. Rejected steps leave nothing in the graph.
    """

    keeps = False  # autograd does, where it records

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
        ys = sample(steps(f, y0, ts, method, control, work.forward), y0, ts)
        return Solution(tuple(ts), ys, work)
