"""What a solve returns, what it cost, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Stats:
    """The cost of one solve: evaluations of the field, accepted and rejected steps.

    ``dt`` is the signed length that the control would try next: another solve of the same model
    can start with it (``Adaptive(initial=abs(dt))``).
    """

    nfe: int = 0
    accepted: int = 0
    rejected: int = 0
    dt: float = field(default=0.0, repr=False, compare=False)

    def __add__(self, other: Stats) -> Stats:
        return Stats(
            self.nfe + other.nfe, self.accepted + other.accepted, self.rejected + other.rejected
        )


@dataclass
class Work:
    """The cost of a solve and of its gradient.

    ``backward`` fills when the gradient is pulled back. It counts the evaluations of the field
    made then: none under ``Backprop``, which walks the graph of the forward pass. ``drift`` fills
    where ``Adjoint`` solves the state again backwards: the largest distance, relative to the
    state, at which it misses the forward solution (there and back).
    """

    forward: Stats = field(default_factory=Stats)
    backward: Stats = field(default_factory=Stats)
    drift: float | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """The states ``ys`` of shape ``(len(ts), *y0.shape)`` at times ``ts``, and their cost."""

    ts: tuple[float, ...]
    ys: Tensor
    work: Work


class SolveError(RuntimeError):
    """A solve that cannot go on: why, at which time, with which step, after which work."""

    def __init__(self, reason: str, t: float, dt: float, stats: Stats) -> None:
        super().__init__(f"{reason} at t = {t:.9g} (step {dt:.3g}) after {stats}")
        self.reason = reason
        self.t = t
        self.dt = dt
        self.stats = stats
