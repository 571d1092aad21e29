"""What a step is: its two ends, its slopes, and the interpolant between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Field = Callable[[float, Tensor], Tensor]
Weights = tuple[tuple[int, float], ...]  # (index, weight) of each slope that counts


@dataclass(frozen=True, eq=False)
class SlopeHistory:
    """The slopes that a method goes on from, the latest first, and their times."""

    times: tuple[float, ...] = ()
    slopes: tuple[Tensor, ...] = ()

    def at(self, f: Field, t: float, y: Tensor, keep: int) -> SlopeHistory:
        """The latest ``keep`` slopes with that at ``(t, y)`` in front, evaluated if missing."""
        if self.times[:1] == (t,):
            return self
        return SlopeHistory((t, *self.times)[:keep], (f(t, y), *self.slopes)[:keep])


class Interpolant(Protocol):
    """How slopes combine to a solution inside a step, and to its error at the end."""

    @property
    def order(self) -> int: ...

    @property
    def error_weights(self) -> Weights | None: ...

    def dense_weights(self, theta: np.ndarray) -> np.ndarray:
        """The weight of each slope at fractions ``theta`` of the step, ``(len(theta), slopes)``."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """A step from ``(t0, y0)`` to ``(t1, y1)``.

    Attributes:
        slopes: of its stages, one by one or stacked in one tensor.
        start: the slopes that it went on from, its own first one in front.
        history: the slopes that the next step goes on from.
        error_norm: its error in units of the tolerance, where the step has measured it itself.
    """

    interpolant: Interpolant
    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    slopes: Sequence[Tensor] | Tensor
    start: SlopeHistory
    history: SlopeHistory
    error_norm: float | None = None

    @property
    def h(self) -> float:
        return self.t1 - self.t0

    def __call__(self, ts: Sequence[float]) -> Tensor:
        """Dense output: the solution at times ``ts`` of this step, ``(len(ts), *y0.shape)``.

        The value at ``t1`` is ``y1`` itself. Raises ValueError for no times, for times outside of
        the step, and for times inside one of SciPy's, which has no dense output.
        """
        low, high = (self.t0, self.t1) if self.t0 < self.t1 else (self.t1, self.t0)
        if not len(ts) or min(ts) < low or max(ts) > high:
            raise ValueError(f"times must lie within {low} and {high}, got {list(ts)}")
        if not len(self.slopes) and any(low < t < high for t in ts):
            raise ValueError("a step of SciPy's methods has no dense output: ask for its ends")
        pieces = dense([(self, ts)])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def error(self) -> Tensor:
        """The local error estimate, ``h`` times the error weights of the slopes."""
        weights = self.interpolant.error_weights
        if weights is None:
            raise TypeError(f"{self.interpolant} has no error estimate")
        return combine(None, self.h, weights, self.slopes)


class Method(Protocol):
    """A way to solve. It keeps no state between two solves, and sets no grad mode.

    The field that it is given counts its evaluations; ``path`` counts the steps.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def adaptive(self) -> bool:
        """Whether it can keep to a tolerance."""
        ...

    @property
    def own_steps(self) -> bool:
        """Whether it makes its steps inside, where no control, gradient or event sees them."""
        ...

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Any, counts: Any
    ) -> Iterator[Step]:
        """The accepted steps from ``ts[0]`` to ``ts[-1]``, adding their number to ``counts``."""
        ...


class Stepper(Protocol):
    """What makes one step at a time, which a control judges."""

    @property
    def order(self) -> int:
        """The power of the step size with which the error of a solve falls."""
        ...

    @property
    def interpolates(self) -> bool:
        """Whether its dense output is as good as its error control assumes."""
        ...

    @property
    def num_slopes(self) -> int:
        """The number of slopes, that at the start of the step included, which a step needs."""
        ...

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        """The step from ``(t, y)`` to time ``t1``; of ``history``, ``f(t, y)`` may be missing."""
        ...


class StepMethod(Method, Stepper, Protocol):
    """A method that makes one step at a time."""


def dense(pairs: Sequence[tuple[Step, Sequence[float]]]) -> list[Tensor]:
    """Dense output of several steps, each at its own times, in order and in one product.

    The value at the end of the last step is its ``y1`` itself, in a piece of its own.
    """
    last, ts = pairs[-1]
    if ts[-1] == last.t1:
        inside = [*pairs[:-1], (last, ts[:-1])] if len(ts) > 1 else pairs[:-1]
        return [*(dense(inside) if inside else []), last.y1[None]]
    terms = [term for step, _ in pairs for term in (step.y0, *step.slopes)]
    weights = np.zeros((sum(len(ts) for _, ts in pairs), len(terms)))
    row = column = 0
    for step, ts in pairs:
        block = weights[row : row + len(ts), column : column + 1 + len(step.slopes)]
        block[:, 0] = 1
        block[:, 1:] = step.h * step.interpolant.dense_weights((np.array(ts) - step.t0) / step.h)
        row, column = row + block.shape[0], column + block.shape[1]
    # Sizes are named: a state may hold no numbers at all.
    flat = torch.stack(terms).reshape(len(terms), last.y0.numel())
    return [(torch.from_numpy(weights).to(flat) @ flat).view(len(weights), *last.y0.shape)]


def sparse(row: Sequence[float]) -> Weights:
    """The entries of ``row`` that are not zero, with their places."""
    return tuple((i, w) for i, w in enumerate(row) if w)


def combine(
    y: Tensor | None, h: float, weights: Weights, slopes: Sequence[Tensor] | Tensor
) -> Tensor:
    """``y + h sum_i weights_i slopes_i``, without ``y`` the sum alone; in the state's precision."""
    i, w = weights[0]
    total = slopes[i] * (h * w) if y is None else torch.add(y, slopes[i], alpha=h * w)
    for i, w in weights[1:]:
        # In place: the sum is ours, and autograd saves nothing of an addition.
        total.add_(slopes[i], alpha=h * w)
    return total
