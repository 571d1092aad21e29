"""The loop over steps as one graph: `torch.while_loop` over attempts, read and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from odenet.compiled.pieces import Attempt, Traced, adapt, attempt, land, longest, signed
from odenet.solvers import Adaptive, Tableau
from odenet.solvers.step_size import where


class State(NamedTuple):
    """Where a solve is; all but ``y`` and ``k``, the slope there, are numbers."""

    t: Tensor
    dt: Tensor
    before: Tensor  # the error of the last accepted step
    y: Tensor
    k: Tensor
    place: Tensor  # of the next stop
    read: Tensor  # how many outputs lie behind
    accepted: Tensor
    rejected: Tensor
    spent: Tensor  # attempts that count against the limit
    failed: Tensor
    drift: Tensor

    @classmethod
    def at(cls, t: Tensor, dt: Tensor, y: Tensor, k: Tensor) -> State:
        """A solve that begins."""
        zeros = [torch.zeros_like(t, dtype=torch.int64) for _ in range(6)]
        drift = torch.zeros_like(t)
        return cls(*(t.clone(), dt, torch.ones_like(t), y.clone(), k, *zeros, drift))

    def report(self) -> Tensor:
        """The numbers of ``Report``."""
        told = (self.t, self.dt, self.place, self.read, self.accepted, self.rejected)
        return torch.stack([x.double() for x in (*told, self.spent, self.failed, self.drift)])


class Ends(NamedTuple):
    """Where a solve must stop, and when it must give up; tensors of stops are padded."""

    stops: Tensor
    smallest: Tensor  # the length that a step to each stop must exceed
    total: Tensor  # of the stops
    max_steps: Tensor


class Turn(Protocol):
    """What happens to the state at a stop, beside the control's beginning anew."""

    def __call__(self, y: Tensor, stop: Tensor, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether anything does at this stop, after ``read`` others; then the state and drift."""
        ...


@dataclass(frozen=True)
class Reading:
    """How outputs are read from a step: by dense output, or from its end only."""

    ts: Tensor  # the output times after the first one, padded with infinities
    dense: Tensor | None  # the tableau's ``dense_matrix``

    def passed(self, t: Tensor, t1: Tensor) -> Tensor:
        """How many of the outputs a step from ``t`` to ``t1`` leaves behind."""
        return ((self.ts - t1) * (t1 - t) <= 0).sum()

    def weights(self, t: Tensor, t1: Tensor, first: int, n: int) -> Tensor:
        """The weight of each tensor of the ``basis`` in each of ``n`` outputs from ``first`` on.

        The value at the end of a step is its end itself.
        """
        ts = self.ts.narrow(0, first, n)
        if self.dense is None:
            return torch.ones_like(ts)[:, None]
        theta = ((ts - t) / (t1 - t))[:, None]
        powers = [theta]
        for _ in range(len(self.dense) - 1):
            powers.append(powers[-1] * theta)
        inside = torch.cat((torch.ones_like(theta), torch.cat(powers, 1) @ self.dense), 1)
        at_end = (ts == t1)[:, None]
        return torch.cat((torch.where(at_end, 0.0, inside), at_end.to(theta)), 1)

    def basis(self, y0: Tensor, slopes: Sequence[Tensor], y1: Tensor) -> list[Tensor]:
        """What outputs are weighted sums of."""
        return [y1] if self.dense is None else [y0, *slopes, y1]

    def rows(self, first: Tensor, count: Tensor) -> tuple[int, int]:
        """The outputs of a step as numbers that may bound a slice."""
        start, n = first.item(), count.item()
        torch._check(start >= 0)
        torch._check(n >= 0)
        torch._check(start + n <= len(self.ts))
        return start, n  # type: ignore[return-value]


class Record(NamedTuple):
    """Of each accepted step: its ends, its outputs (from which, how many), its start."""

    times: Tensor  # (steps, 2)
    rows: Tensor  # (steps, 2)
    y: Tensor
    k: Tensor | None  # where a step goes on from the last slope of the one before

    @classmethod
    def empty(cls, steps: int, y: Tensor, fsal: bool) -> Record:
        def empty(*shape: int, like: torch.dtype) -> Tensor:
            return torch.empty(steps, *shape, dtype=like, device=y.device)

        states = [empty(*y.shape, like=y.dtype) for _ in range(1 + fsal)]
        times, rows = empty(2, like=torch.float64), empty(2, like=torch.int64)
        return cls(times, rows, states[0], states[1] if fsal else None)

    def write(self, i: Tensor, times: Tensor, rows: Tensor, y: Tensor, k: Tensor) -> None:
        i = i.view(1)
        self.times.index_copy_(0, i, times[None])
        self.rows.index_copy_(0, i, rows[None])
        self.y.index_copy_(0, i, y[None])
        if self.k is not None:
            self.k.index_copy_(0, i, k[None])


@dataclass(frozen=True)
class March:
    """Steps of ``tableau`` through ``field``; of fixed length where there is no ``control``.

    Outputs are written to ``out`` as ``reading`` says, accepted steps to ``record``; ``turn`` is
    what happens at stops.
    """

    tableau: Tableau
    field: Traced
    control: Adaptive | None
    ends: Ends
    reading: Reading | None = None
    out: Tensor | None = None
    record: Record | None = None
    turn: Turn | None = None

    def searched(self, t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        """The signed length of the first attempt, where it is not given."""
        assert self.control is not None
        order, norm, span = self.tableau.order, self.control.norm, self.ends.stops[0] - t
        length = self.control.first_length(norm, self.field, t, y, k, span, order)
        return signed(length, span)

    def run(self, start: State) -> State:
        """Go on to the last stop, a failure, the last attempt, or the last place in ``record``."""

        def goes_on(*carried: Tensor) -> Tensor:
            s = State(*carried)
            more = (s.place < self.ends.total) & (s.failed == 0) & (s.spent < self.ends.max_steps)
            if self.record is None:
                return more
            return more & (s.accepted - start.accepted < len(self.record.times))

        def step(*carried: Tensor) -> tuple[Tensor, ...]:
            s = State(*carried)
            stop, smallest = (x.index_select(0, s.place.view(1)).view(()) for x in self.ends[:2])
            t1 = land(s.t, s.dt, stop)
            made = attempt(self.tableau, self.field, s.t, t1, s.y, s.k)
            after = self._judged(s, stop, smallest, t1, made)
            if self.record is not None:
                # An attempt that is refused is written over by the next one.
                place, times = s.accepted - start.accepted, torch.stack((s.t, t1))
                rows = torch.stack((s.read, after.read - s.read))
                self.record.write(place, times, rows, s.y, s.k)
            return tuple(after)

        return State(*torch.while_loop(goes_on, step, tuple(start)))

    def _judged(self, s: State, stop: Tensor, smallest: Tensor, t1: Tensor, made: Attempt) -> State:
        """What follows the attempt; a solve that fails stays where it is."""
        h = t1 - s.t
        accepted, length, error = adapt(self.control, self.tableau.order, made, h, s.before)
        there = accepted & (t1 == stop)
        failed = ~accepted & ~((smallest < length) & (length < abs(h)))
        planned = signed(length, h)
        # A step cut short at a stop says nothing against the length planned before.
        dt = where(there, longest(s.dt, planned), planned)
        place = s.place + there
        after = s._replace(
            t=torch.where(accepted, t1, s.t),
            dt=torch.where(failed, s.dt, dt),
            before=torch.where(accepted, error, s.before),
            y=torch.where(accepted, made.y1, s.y),
            place=place,
            read=self._read(s, t1, made, accepted),
            accepted=s.accepted + accepted,
            rejected=s.rejected + ~accepted,
            spent=s.spent + 1,
            failed=s.failed + failed,
            drift=s.drift.clone(),
        )
        evaluated = accepted & (place < self.ends.total)
        if self.turn is not None:
            turned, y, drift = self.turn(after.y, stop, s.read)
            turned = turned & there
            after = after._replace(
                y=torch.where(turned, y, after.y),
                before=torch.where(turned, 1.0, after.before),
                read=s.read + turned,
                spent=torch.where(turned, 0, after.spent),
                drift=torch.where(turned & (drift > s.drift), drift, s.drift),
            )
            evaluated = evaluated & turned if self.tableau.fsal else evaluated
        return after._replace(k=self._next_slope(s, after, made, accepted, evaluated))

    def _next_slope(
        self, s: State, after: State, made: Attempt, accepted: Tensor, evaluated: Tensor
    ) -> Tensor:
        """The slope that the next attempt starts with; not evaluated where none follows."""
        known = torch.where(accepted, made.last, s.k) if self.tableau.fsal else s.k.clone()
        if self.tableau.fsal and self.turn is None:
            return known
        return torch.cond(
            evaluated, lambda: self.field(after.t, after.y), lambda: known.clone(), ()
        )

    def _read(self, s: State, t1: Tensor, made: Attempt, accepted: Tensor) -> Tensor:
        """How many outputs lie behind the attempt; those in it are written, if it is accepted."""
        if self.reading is None or self.out is None:
            return s.read.clone()
        read = torch.where(accepted, self.reading.passed(s.t, t1), s.read)
        first, n = self.reading.rows(s.read, read - s.read)
        weights = self.reading.weights(s.t, t1, first, n)
        basis = self.reading.basis(s.y, made.slopes, made.y1)
        rows = torch.stack(basis).reshape(len(basis), -1)
        values = (weights.to(rows) @ rows).view(-1, *s.y.shape)
        self.out.narrow(0, first + 1, n).copy_(values)  # its row 0 is the start
        return read
