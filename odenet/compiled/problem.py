"""A solve as its graphs take it, and what they tell of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from odenet.compiled.graph import CannotCompile, Graph
from odenet.compiled.loop import Ends
from odenet.compiled.pieces import Law, Tolerances, Traced
from odenet.solvers import (
    Adaptive,
    Counts,
    Field,
    FixedSteps,
    RungeKutta,
    SolveError,
    Tableau,
    rk_step,
)
from odenet.solvers.loop import _failure, _land

_FIRST = 7  # numbers of a solve before its stops


@dataclass(frozen=True)
class Problem:
    """What ``solve`` was given: ``params`` are those of ``f`` called ``names``."""

    f: Any
    checked: Field
    names: tuple[str, ...]
    params: tuple[Tensor, ...]
    ts: tuple[float, ...]
    method: RungeKutta
    control: Adaptive | FixedSteps

    @property
    def tableau(self) -> Tableau:
        return self.method.tableau

    def run(self, task: str, graph: Graph, y: Tensor, *arguments: Any) -> Any:
        """The value of a graph of the field, for states like ``y``. Raises ``CannotCompile``."""
        try:
            return graph(lambda: self._named(task, y), self.f, self.params, *arguments)
        except CannotCompile:
            self.slope(self.ts[0], y)
            raise  # unless the field is wrong: then it has said so itself

    def slope(self, t: float, y: Tensor) -> Tensor:
        """The field as it is, with the time as compiled code gives it; says what is wrong."""
        return self.checked(_doubles(t, y.device), y)  # type: ignore[arg-type]

    def _named(self, task: str, y: Tensor) -> str:
        """A name for a compilation."""
        field = type(self.f) if isinstance(self.f, nn.Module) else self.f
        name = getattr(field, "__name__", type(field).__name__)
        shape = "x".join(map(str, y.shape)) or "scalar"
        kind = f"{str(y.dtype).removeprefix('torch.')} on {y.device.type}"
        return f"{task} of {name}, {shape} {kind}, by {self.method.name}"


class Given(NamedTuple):
    """The numbers of a solve that a graph takes.

    ``numbers``: the start, the first length, how many stops, how many attempts, the longest step,
    ``rtol`` and ``atol``; then the stops, and then the length that a step to each must exceed. In
    one tensor with a dimension: of one without, the compiler looks at the value, and starts again.
    """

    numbers: Tensor
    tolerances: tuple[Tensor, Tensor] | None  # instead of those two, where entries have their own

    def unpack(self, law: Law | None) -> tuple[Tensor, Tensor, Ends, Adaptive | None]:
        """The start, the first length, where the solve ends, its control; traced."""
        # Copies: what a loop takes from outside must not share memory.
        first, table = self.numbers[:_FIRST], self.numbers[_FIRST:].view(2, -1)
        start, length, count, attempts, longest, *both = (x.clone() for x in first.unbind())
        stops, smallest = (x.clone() for x in table.unbind())
        control = None
        if law is not None:
            rtol, atol = self.tolerances or both
            control = law.control(Tolerances(rtol, atol, longest))
        return start, length, Ends(stops, smallest, count, attempts), control


@dataclass(frozen=True)
class Plan:
    """Where a solve starts and stops, piece by piece, under which control."""

    control: Adaptive | FixedSteps
    start: float
    pieces: Sequence[Sequence[float]]  # the stops of each; the last one ends it

    @property
    def stops(self) -> list[float]:
        return [t for piece in self.pieces for t in piece]

    @property
    def searched(self) -> bool:
        """Whether the first length is looked for."""
        return isinstance(self.control, Adaptive) and not self.initial

    @property
    def initial(self) -> float:
        if not isinstance(self.control, Adaptive):
            return math.inf
        return min(self.control.initial or 0.0, self.control.max_step)

    def given(self, device: torch.device) -> Given:
        control, stops, smallest = self.control, self.stops, []
        start = self.start
        for piece in self.pieces:
            reach = max(abs(start), abs(piece[-1]))
            limit = max(control.min_step, 4 * sys.float_info.epsilon * reach)
            smallest += [limit] * len(piece)
            start = piece[-1]
        rest = bucket(len(stops)) - len(stops)
        table = [*stops, *[stops[-1]] * rest, *smallest, *[0.0] * rest]
        length = math.copysign(self.initial, stops[0] - self.start)
        longest, rtol, atol = math.inf, math.nan, math.nan
        own = self._own_tolerances(device)
        if isinstance(control, Adaptive):
            longest = control.max_step
            rtol, atol = (math.nan if own else float(x) for x in (control.rtol, control.atol))
        numbers = [self.start, length, len(stops), control.max_steps, longest, rtol, atol]
        return Given(_doubles([*numbers, *table], device), own)

    def _own_tolerances(self, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """Those of an ``Adaptive`` one of whose tolerances is a tensor."""
        if not isinstance(self.control, Adaptive):
            return None
        both = (self.control.rtol, self.control.atol)
        if not any(isinstance(x, Tensor) for x in both):
            return None
        rtol, atol = (x.to(device) if isinstance(x, Tensor) else _doubles(x, device) for x in both)
        return rtol, atol


@dataclass(frozen=True)
class Report:
    """What a graph tells of a solve; ``read`` counts outputs, or the turns that it took."""

    t: float
    dt: float
    place: float
    read: float
    accepted: float
    rejected: float
    spent: float
    failed: float
    drift: float

    def goes_on(self, plan: Plan) -> bool:
        """Whether the solve stopped only because its record is full."""
        ended = self.failed or self.place == len(plan.stops)
        return not ended and self.spent < plan.control.max_steps

    def count(self, counts: Counts, plan: Plan, tableau: Tableau, turns: int = 0) -> None:
        """Add what was done: evaluations as the graph makes them, which is as the eager loop does.

        ``turns``: how often the solve went on with a new state.
        """
        counts.accepted += int(self.accepted)
        counts.rejected += int(self.rejected)
        counts.next_dt = self.dt
        attempts = int(self.accepted + self.rejected)
        counts.nfe += 1 + plan.searched + (tableau.stages - 1) * attempts
        finished = self.place == len(plan.stops)
        counts.nfe += turns if tableau.fsal else int(self.accepted) - finished

    def check(
        self, plan: Plan, tableau: Tableau, field: Traced, y: Tensor, k: Tensor, counts: Counts
    ) -> None:
        """Raises ``SolveError`` for a solve that did not reach its end from ``(y, k)``."""
        stops = plan.stops
        if self.failed:  # the attempt is made again, to see why
            t1 = _land(self.t, self.dt, stops[int(self.place)])

            def timed(t: float, y: Tensor) -> Tensor:
                return field(_doubles(t, y.device), y)

            raise _failure(rk_step(tableau, timed, self.t, t1, y, k), counts)
        if self.place < len(stops):
            raise SolveError(f"more than {plan.control.max_steps} steps", self.t, self.dt, counts)


def bucket(n: int) -> int:
    """The power of two from ``n`` on: so many numbers share a graph."""
    return 1 << max(n - 1, 0).bit_length()


def padded(ts: Sequence[float], like: float, device: torch.device) -> Tensor:
    """The times, and then infinities of the sign of ``like``, to a length that others share."""
    rest = bucket(len(ts)) - len(ts)
    return _doubles([*ts, *[math.copysign(math.inf, like)] * rest], device)


def law_of(control: Adaptive | FixedSteps, part: int | None = None) -> Law | None:
    return Law.of(control, part) if isinstance(control, Adaptive) else None


def _doubles(values: Any, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=device)
