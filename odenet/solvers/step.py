"""One Runge-Kutta step: pure, without control, counting or grad mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from odenet.solvers.tableau import Tableau

Field = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Step:
    """A step of ``tableau`` from ``(t0, y0)`` to ``(t1, y1)`` with its slopes, one a stage."""

    tableau: Tableau
    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    slopes: tuple[Tensor, ...]

    @property
    def h(self) -> float:
        return self.t1 - self.t0

    @property
    def end_slope(self) -> Tensor | None:
        """The slope at ``(t1, y1)`` where the method computes it (FSAL), else None."""
        return self.slopes[-1] if self.tableau.fsal else None

    def __call__(self, ts: Sequence[float]) -> Tensor:
        """Dense output: the solution at times ``ts`` of this step, ``(len(ts), *y0.shape)``.

        The value at ``t1`` is ``y1`` itself.
        """
        if all(t == self.t1 for t in ts):
            return self.y1.expand(len(ts), *self.y1.shape)
        if ts[-1] == self.t1:
            return torch.cat((self(ts[:-1]), self.y1[None]))
        theta = (torch.tensor(ts, dtype=torch.float64) - self.t0) / self.h
        slopes = torch.stack(self.slopes).view(len(self.slopes), -1)
        weights = (self.h * self.tableau.dense_weights(theta)).to(slopes)
        return self.y0 + (weights @ slopes).view(len(ts), *self.y0.shape)

    def error(self) -> Tensor:
        """The local error estimate ``h sum_i (b_i - b_embedded_i) k_i``."""
        weights = self.tableau.error_weights
        if weights is None:
            raise TypeError(f"{self.tableau.name} has no error estimate")
        return combine(torch.zeros_like(self.y1), self.h, weights, self.slopes)


def rk_step(tableau: Tableau, f: Field, t: float, t1: float, y: Tensor, k: Tensor) -> Step:
    """The step of ``tableau`` from ``(t, y)`` to time ``t1``; ``k`` is the slope ``f(t, y)``."""
    h = t1 - t
    slopes = [k]
    point = y
    for c, row in zip(tableau.nodes[1:], tableau.rows[1:], strict=True):
        point = combine(y, h, row, slopes)
        slopes.append(f(t1 if c == 1 else t + c * h, point))
    # The last stage of an FSAL method is evaluated at the end of the step.
    y1 = point if tableau.fsal else combine(y, h, tableau.weights, slopes)
    return Step(tableau, t, t1, y, y1, tuple(slopes))


def combine(y: Tensor, h: float, weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """``y + h sum_i weights_i slopes_i``, with the products in the state's precision."""
    total = y
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            # In place after the first: the sum is ours, and autograd saves nothing of an addition.
            add = torch.add if total is y else Tensor.add_
            total = add(total, slope, alpha=h * weight)
    return total
