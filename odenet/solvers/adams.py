"""Adams methods with fixed steps, explicit and implicit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Integral

import numpy as np
from torch import Tensor

from odenet.solvers.loop import attempts
from odenet.solvers.runge_kutta import rk_step
from odenet.solvers.solution import Counts
from odenet.solvers.step import Field, SlopeHistory, Step, Weights, combine, sparse
from odenet.solvers.step_size import Control, check_number
from odenet.solvers.tables import RK4


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth of the given order, or Adams-Bashforth-Moulton with ``corrections``.

    The explicit step integrates the polynomial through the last ``order`` slopes. Each correction
    evaluates the field at the new point and integrates the polynomial through that slope and the
    last ``order - 1``: P(EC)^m E, with a fixed m instead of a stopping rule. The first
    ``order - 1`` steps are RK4's. No equation is solved, so neither is a method for stiff fields.
    Steps may be of unequal length. (Hairer, Norsett, Wanner: Solving ODEs I, III.1 and III.5.)

    Args:
        order: number of slopes in the polynomial, 4 by default; the first steps have order 4, so
            that more gain little.
        corrections: of each step; none by default, which is the explicit method.

    Raises:
        TypeError, ValueError: for an order below 1, or corrections below 0.
    """

    order: int = 4
    corrections: int = 0
    adaptive = False
    own_steps = False
    interpolates = True

    def __post_init__(self) -> None:
        check_number("order", self.order, "an integer of at least 1", low=1, kind=Integral)
        check_number(
            "corrections", self.corrections, "an integer of at least 0", low=0, kind=Integral
        )

    @property
    def name(self) -> str:
        return "implicit_adams" if self.corrections else "explicit_adams"

    @property
    def num_slopes(self) -> int:
        return self.order

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        return attempts(self, f, y0, ts, control, counts)

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        start = history.at(f, t, y, self.order)
        known = SlopeHistory(start.times[: self.order - 1], start.slopes[: self.order - 1])
        if len(start.slopes) < self.order:
            return replace(rk_step(RK4, f, t, t1, y, start), history=start)
        h = t1 - t
        past = tuple((s - t) / h for s in start.times)
        interpolant, slopes = Quadrature(past), start.slopes
        y1 = combine(y, h, interpolant.weights, slopes)
        for _ in range(self.corrections):
            interpolant = Quadrature((1.0, *past[:-1]))
            slopes = (f(t1, y1), *known.slopes)
            y1 = combine(y, h, interpolant.weights, slopes)
        return Step(interpolant, t, t1, y, y1, slopes, start, known)


@dataclass(frozen=True)
class Quadrature:
    """Integrate the polynomial through slopes at ``nodes``, in units of the step."""

    nodes: tuple[float, ...]
    error_weights = None

    @property
    def order(self) -> int:
        return len(self.nodes)

    @property
    def weights(self) -> Weights:
        return _end_weights(self.nodes)

    def dense_weights(self, theta: np.ndarray) -> np.ndarray:
        """The integrals from 0 to theta of the Lagrange polynomials of the nodes."""
        powers = np.arange(len(self.nodes))
        moments = theta[:, None] ** (powers + 1) / (powers + 1)
        vandermonde = np.array(self.nodes)[:, None] ** powers
        return np.linalg.solve(vandermonde.T, moments.T).T


@lru_cache(maxsize=64)  # equal steps have equal nodes
def _end_weights(nodes: tuple[float, ...]) -> Weights:
    return sparse(Quadrature(nodes).dense_weights(np.ones(1))[0].tolist())
