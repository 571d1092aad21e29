"""The gradient of ``Checkpoint``: a loop over recorded steps, from last to first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from odenet.compiled.forward import Recorded, Times
from odenet.compiled.graph import Graph, graph
from odenet.compiled.loop import Reading, Record
from odenet.compiled.pieces import attempt, field_of
from odenet.compiled.problem import Problem
from odenet.solvers import Counts, Tableau


class Carried(NamedTuple):
    """The cotangents of a state, of the slope that was gone on from, and of the parameters."""

    y: Tensor
    k: Tensor
    params: tuple[Tensor, ...]


def pull_back(
    problem: Problem, steps: Recorded, y0: Tensor, cotangent: Tensor, counts: Counts
) -> list[Tensor]:
    """The gradients of ``y0`` and the parameters."""
    y, params, tableau = y0.detach().contiguous(), problem.params, problem.tableau
    made = replay_graph(tableau, problem.names)
    start = torch.tensor(problem.ts[:1], dtype=torch.float64, device=y.device)
    zeros = torch.zeros_like(y)
    carried = Carried(zeros, zeros.clone(), tuple(torch.zeros_like(p) for p in params))
    if steps.reading is None:
        carried, given = carried._replace(y=cotangent[1].contiguous()), None
    else:
        rows = len(steps.reading[0]) + 1 - len(cotangent)
        given = F.pad(cotangent.reshape(len(cotangent), -1), (0, 0, 0, rows)).contiguous()
    for i in reversed(range(len(steps.counts))):
        count = torch.tensor(steps.counts[i], device=y.device)
        first = (start, y) if i == 0 and tableau.fsal else None
        arguments = (steps.records[i], count, steps.reading, given, carried, first)
        carried = Carried(*problem.run("checkpoint gradient", made, y, *arguments))
        counts.accepted += steps.counts[i]
        counts.nfe += steps.counts[i] * (tableau.stages - tableau.fsal) + (first is not None)
    return [carried.y + cotangent[0], *carried.params]


def replay_graph(tableau: Tableau, names: tuple[str, ...]) -> Graph:
    """The graph that pulls back through the steps of one record."""

    def run(
        f: Any,
        params: tuple[Tensor, ...],
        record: Record,
        count: Tensor,
        reading: Times | None,
        given: Tensor | None,
        after: Carried,
        first: tuple[Tensor, Tensor] | None,
    ) -> Carried:
        read = None if reading is None else Reading(*reading)
        cotangents = None if given is None else given[1:]
        replay = _Replay(tableau, f, names, params, Record(*record), read, cotangents)
        carried = replay.steps(count, Carried(*after))
        return carried if first is None else replay.start(first[0][0], first[1], carried)

    return graph(("replay", tableau, names), lambda: run)


@dataclass(frozen=True)
class _Replay:
    tableau: Tableau
    f: Any
    names: tuple[str, ...]
    params: tuple[Tensor, ...]
    record: Record
    reading: Reading | None
    given: Tensor | None  # the cotangents of the outputs

    def steps(self, count: Tensor, after: Carried) -> Carried:
        """Back through the first ``count`` steps of the record."""

        def goes_on(i: Tensor, *_: Tensor) -> Tensor:
            return i > 0

        def step(i: Tensor, ay: Tensor, ak: Tensor, *totals: Tensor) -> tuple[Tensor, ...]:
            ay, ak, *shares = self._step((i - 1).view(1), ay, ak)
            return (i - 1, ay, ak, *(a + b for a, b in zip(totals, shares, strict=True)))

        start = (count, after.y, after.k, *after.params)
        _, ay, ak, *totals = torch.while_loop(goes_on, step, tuple(x.clone() for x in start))
        return Carried(ay, ak, tuple(totals))

    def _step(self, i: Tensor, ay: Tensor, ak: Tensor) -> tuple[Tensor, ...]:
        """Back through step ``i``: the cotangents at its start, its share of the parameters'."""
        record, fsal = self.record, self.tableau.fsal
        t, t1 = (x.clone() for x in record.times.index_select(0, i)[0].unbind())
        y = record.y.index_select(0, i)[0]
        k = y if record.k is None else record.k.index_select(0, i)[0]

        def taken(y: Tensor, k: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
            field = field_of(self.f, self.names, params)
            made = attempt(self.tableau, field, t, t1, y, k if fsal else field(t, y))
            read = self.reading.basis(y, made.slopes, made.y1) if self.reading else []
            ends = (made.y1, made.last) if fsal else (made.y1,)
            return tuple(x.clone() for x in (*ends, *read))

        pull = torch.func.vjp(taken, y, k, *self.params)[1]
        ends = (ay, ak) if fsal else (ay,)
        return pull((*ends, *self._of_basis(i, t, t1, y)))

    def _of_basis(self, i: Tensor, t: Tensor, t1: Tensor, like: Tensor) -> list[Tensor]:
        """The cotangents of what the outputs in the step are read from."""
        if self.reading is None or self.given is None:
            return []
        first, count = (x.clone() for x in self.record.rows.index_select(0, i)[0].unbind())
        start, n = self.reading.rows(first, count)
        weights = self.reading.weights(t, t1, start, n).to(self.given)
        return [x.view_as(like) for x in (weights.T @ self.given.narrow(0, start, n)).unbind()]

    def start(self, t: Tensor, y: Tensor, after: Carried) -> Carried:
        """Through the slope at the start of the solve, which the first step went on from."""

        def slope(y: Tensor, *params: Tensor) -> Tensor:
            return field_of(self.f, self.names, params)(t, y)

        pull = torch.func.vjp(slope, y, *self.params)[1]
        ay, *shares = pull(after.k)
        totals = tuple(a + b for a, b in zip(after.params, shares, strict=True))
        return Carried(after.y + ay, torch.zeros_like(ay), totals)
