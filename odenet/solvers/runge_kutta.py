"""Explicit Runge-Kutta steps from a tableau."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from odenet.solvers.loop import attempts
from odenet.solvers.solution import Counts
from odenet.solvers.step import Field, SlopeHistory, Step, combine
from odenet.solvers.step_size import Control
from odenet.solvers.tableau import Tableau


@dataclass(frozen=True)
class RungeKutta:
    """The explicit Runge-Kutta method of ``tableau``."""

    tableau: Tableau
    num_slopes = 1
    own_steps = False

    @property
    def name(self) -> str:
        return self.tableau.name

    @property
    def order(self) -> int:
        return self.tableau.order

    @property
    def adaptive(self) -> bool:
        return self.tableau.error_weights is not None

    @property
    def interpolates(self) -> bool:
        return self.tableau.dense_order >= self.tableau.order - 1

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        return attempts(self, f, y0, ts, control, counts)

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        return rk_step(self.tableau, f, t, t1, y, history.at(f, t, y, 1))


def rk_step(
    tableau: Tableau, f: Field, t: float, t1: float, y: Tensor, start: SlopeHistory
) -> Step:
    """The step of ``tableau`` from ``(t, y)`` to time ``t1``; ``start`` holds ``f(t, y)``."""
    h = t1 - t
    slopes = [start.slopes[0]]
    point = y
    for c, row in zip(tableau.nodes[1:], tableau.rows[1:], strict=True):
        point = combine(y, h, row, slopes)
        slopes.append(f(t1 if c == 1 else t + c * h, point))
    # The last stage of an FSAL method is evaluated at the end of the step.
    y1 = point if tableau.fsal else combine(y, h, tableau.weights, slopes)
    history = SlopeHistory((t1,), (slopes[-1],)) if tableau.fsal else SlopeHistory()
    return Step(tableau, t, t1, y, y1, tuple(slopes), start, history)
