"""What a solve returns, what it cost, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Counts:
    """The cost of one pass: evaluations of the field, accepted and rejected steps.

    Attributes:
        nfe: number of evaluations of the field; one evaluates a whole batch.
        accepted: number of accepted steps.
        rejected: number of attempts that were repeated with a shorter step.
        next_dt: the signed length that ``Adaptive`` would try next. Another solve of the same model
            can start with it, as ``Adaptive(initial=abs(next_dt))``. Infinite under ``FixedSteps``,
            and 0 for SciPy's methods, which do not say.
    """

    nfe: int = 0
    accepted: int = 0
    rejected: int = 0
    next_dt: float = field(default=0.0, repr=False, compare=False)

    def __add__(self, other: Counts) -> Counts:
        """The cost of both, one after the other."""
        return Counts(
            self.nfe + other.nfe,
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            other.next_dt or self.next_dt,
        )


@dataclass
class SolveStats:
    """The cost of a solve and of its gradient.

    Attributes:
        forward: of the solve; final when ``solve`` returns.
        backward: of the latest backward pass through the solution. It counts the evaluations that
            are made then: none under ``Backprop``, which walks the graph of the forward pass.
        drift: the there-and-back error of the latest backward pass, where ``Adjoint`` solves the
            state again backwards: the largest distance, relative to the state, at which it misses
            the forward solution at an output time. None under the other rules, and before.
        backward_passes: how often the gradient was pulled back; not counted under ``Backprop``.
    """

    forward: Counts = field(default_factory=Counts)
    backward: Counts = field(default_factory=Counts)
    drift: float | None = None
    backward_passes: int = 0

    def begin_backward(self) -> Counts:
        """The counts of a backward pass that starts now."""
        self.backward, self.drift = Counts(), None
        self.backward_passes += 1
        return self.backward


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution of an initial value problem.

    Attributes:
        ts: the output times, as floats.
        ys: the states at these times, ``(len(ts), *y0.shape)``.
        stats: what the solve cost, and after ``backward()`` what the gradient cost.
        trajectory: the steps, where ``solve(..., dense=True)`` kept them: ``solution(t)``.

    Example:
        >>> import torch, odenet
        >>> y0 = torch.ones(3, dtype=torch.float64)
        >>> solution = odenet.solve(lambda t, y: -y, y0, [0.0, 0.5, 1.0])
        >>> tuple(solution.ys.shape), tuple(solution.y1.shape)
        ((3, 3), (3,))
        >>> solution.stats.forward.nfe > 0
        True
    """

    ts: tuple[float, ...]
    ys: Tensor
    stats: SolveStats
    trajectory: Callable[[float], Tensor] | None = None

    def __call__(self, t: float | Sequence[float] | Tensor) -> Tensor:
        """The solution at a time, or at several times in a dimension in front.

        Raises:
            ValueError: without ``dense=True``, for a time before the first output or after the
                last, for one that requires a gradient, and for times in more than one dimension.

        Example:
            >>> import torch, odenet
            >>> y0 = torch.ones(3, dtype=torch.float64)
            >>> solution = odenet.solve(lambda t, y: -y, y0, [0.0, 1.0], dense=True)
            >>> tuple(solution([0.1, 0.2]).shape), round(solution(0.5)[0].item(), 4)  # exp(-0.5)
            ((2, 3), 0.6065)
        """
        if self.trajectory is None:
            raise ValueError("the steps were not kept: solve with dense=True")
        given = t if isinstance(t, Sequence) else (t,)
        if any(isinstance(s, Tensor) and s.requires_grad for s in given):
            raise ValueError("times must not require a gradient: give such times to solve, in ts")
        times = torch.as_tensor(t, dtype=torch.float64)
        if times.dim() > 1:
            raise ValueError(
                f"t must be a time, or times in one dimension, got shape {tuple(times.shape)}"
            )
        low, high = sorted((self.ts[0], self.ts[-1]))
        each = times.reshape(-1).tolist()
        for s in each:
            if not low <= s <= high:
                raise ValueError(f"times must be within {low} and {high}, got {s}")
        states = [self.trajectory(s) for s in each]
        if not times.dim():
            return states[0]
        return torch.stack(states) if states else self.ys[:0]

    @property
    def y1(self) -> Tensor:
        """The state at the last output time, of the shape of ``y0``."""
        return self.ys[-1]

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.ys.shape))
        kind = f"{str(self.ys.dtype).removeprefix('torch.')} on {self.ys.device}"
        times = f"t = {self.ts[0]:g} to {self.ts[-1]:g}"
        return f"<Solution: {shape} {kind}, {times}, {self.stats.forward}>"


class SolveError(RuntimeError, AssertionError):  # torchdiffeq raises the latter
    """A solve that cannot go on.

    Attributes:
        reason: why.
        t: the time that the solve had reached.
        dt: the signed length of the step at which the solve stopped; of SciPy's methods its size
            alone, or 0.
        counts: the work done until then.

    Example:
        >>> import torch, odenet
        >>> y0 = torch.ones(1, dtype=torch.float64)
        >>> try:
        ...     odenet.solve(lambda t, y: y * y, y0, [0.0, 2.0])  # y = 1 / (1 - t)
        ... except odenet.SolveError as error:
        ...     print(f"stopped at t = {error.t:.3f}")
        stopped at t = 1.000
    """

    def __init__(self, reason: str, t: float, dt: float, counts: Counts) -> None:
        super().__init__(f"{reason} at t = {t:.9g} (step {dt:.3g}) after {counts}")
        self.reason = reason
        self.t = t
        self.dt = dt
        self.counts = counts

    def __reduce__(self) -> tuple[Any, ...]:  # so that it crosses from one process to another
        return type(self), (self.reason, self.t, self.dt, self.counts)
