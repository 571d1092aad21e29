"""The forward solve: its graph, run until the end is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from odenet.compiled.graph import Graph, graph
from odenet.compiled.loop import March, Reading, Record, State
from odenet.compiled.pieces import Law, field_of
from odenet.compiled.problem import Given, Plan, Problem, Report, bucket, law_of, padded
from odenet.solvers import Counts, FixedSteps, Tableau
from odenet.solvers.loop import _stop_times

# What a record holds at most, and how many steps at most and at least.
_RECORDED_BYTES, _MOST, _LEAST = 2**26, 256, 16

Times = tuple[Tensor, Tensor | None]  # the fields of a Reading


@dataclass(frozen=True)
class Recorded:
    """The steps of a solve: how its outputs were read from them; the steps in each record."""

    reading: Times | None
    counts: tuple[int, ...] = ()
    records: tuple[Record, ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """Those of the records, in the order that ``with_tensors`` takes."""
        return [x for record in self.records for x in record if x is not None]

    def with_tensors(self, tensors: Sequence[Tensor]) -> Recorded:
        each = len(tensors) // max(len(self.counts), 1)
        rows = (tensors[i * each : (i + 1) * each] for i in range(len(self.counts)))
        return replace(self, records=tuple(Record(*row, *[None] * (4 - each)) for row in rows))


def solve_forward(
    problem: Problem, y0: Tensor, counts: Counts, recorded: bool
) -> tuple[Tensor, Recorded]:
    """The outputs and the steps. Raises ``SolveError``, as the eager loop does."""
    y, tableau, device = y0.detach().contiguous(), problem.tableau, y0.device
    stops = list(_stop_times(problem.ts, problem.method, problem.control))
    plan = Plan(problem.control, problem.ts[0], [stops])
    reading = _reading(problem, stops, device)
    made = forward_graph(tableau, law_of(problem.control), problem.names)
    given = plan.given(device)
    room = _room(y, plan, tableau) if recorded else 0
    records: list[Record] = []
    taken: list[int] = []
    resumed = None
    while True:
        state, out, record, told = problem.run(
            "solve", made, y, y, given, reading, plan.searched, room, resumed
        )
        report = Report(*told.tolist())
        if record is not None:
            records.append(Record(*record))
            taken.append(int(report.accepted) - sum(taken))
        if not report.goes_on(plan):
            break
        resumed = (state, out)  # the record is full
    report.count(counts, plan, tableau)
    field = field_of(problem.f, problem.names, problem.params)
    report.check(plan, tableau, field, state.y, state.k, counts)
    ys = torch.stack((y, state.y)) if out is None else out[: len(problem.ts)]
    return ys, Recorded(reading, tuple(taken), tuple(records))


def forward_graph(tableau: Tableau, law: Law | None, names: tuple[str, ...]) -> Graph:
    """The graph of a solve, or of a part of it that fills one record.

    It is ``resumed`` where another one stopped; ``room`` is what a record holds, 0 for none.
    """

    def run(
        f: Any,
        params: tuple[Tensor, ...],
        y: Tensor,
        given: Given,
        reading: Times | None,
        searched: bool,
        room: int,
        resumed: tuple[State, Tensor | None] | None,
    ) -> tuple[State, Tensor | None, Record | None, Tensor]:
        t, dt, ends, control = given.unpack(law)
        field = field_of(f, names, params)
        out, known = (None, None) if resumed is None else resumed[::-1]
        if reading is not None and out is None:
            out = y.new_empty(len(reading[0]) + 1, *y.shape)
            out[0] = y
        elif out is not None:
            out = out.clone()
        record = Record.empty(room, y, tableau.fsal) if room else None
        read = None if reading is None else Reading(*reading)
        march = March(tableau, field, control, ends, read, out, record)
        if known is None:
            k = field(t, y)
            start = State.at(t, march.searched(t, y, k) if searched else dt, y, k)
        else:
            start = State(*(x.clone() for x in known))
        end = march.run(start)
        return end, out, record, end.report()

    return graph(("forward", tableau, law, names), lambda: run)


def _reading(problem: Problem, stops: list[float], device: torch.device) -> Times | None:
    """How outputs are read; not at all where the end is the only one."""
    ts, tableau = problem.ts, problem.tableau
    if len(ts) == 2:
        return None
    inside = problem.method.interpolates and not set(ts[1:]) <= set(stops)
    dense = torch.from_numpy(tableau.dense_matrix).contiguous().to(device) if inside else None
    return padded(ts[1:], ts[-1] - ts[0], device), dense


def _room(y: Tensor, plan: Plan, tableau: Tableau) -> int:
    """How many steps a record holds."""
    size = max(y.numel() * y.element_size() * (1 + tableau.fsal), 1)
    most = max(_LEAST, min(_MOST, _RECORDED_BYTES // size))
    needed = bucket(len(plan.stops)) if isinstance(plan.control, FixedSteps) else _MOST
    return min(1 << (most.bit_length() - 1), needed)
