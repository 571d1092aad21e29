"""The gradient of ``Adjoint``: the augmented solve backwards in time, from output to output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from odenet.adjoint import Adjoint
from odenet.compiled.graph import Graph, graph
from odenet.compiled.loop import March, State
from odenet.compiled.pieces import Law, Traced, field_of
from odenet.compiled.problem import Given, Plan, Problem, Report, bucket, law_of, padded
from odenet.solvers import Adaptive, FixedSteps, RungeKutta, SolveStats, Tableau
from odenet.solvers.loop import _stop_times


def solve_backward(
    problem: Problem, rule: Adjoint, ys: Tensor, cotangent: Tensor, stats: SolveStats
) -> list[Tensor]:
    """The gradients of ``y0`` and the parameters. Raises ``SolveError`` and ``CannotCompile``."""
    counts = stats.begin_backward()
    like = ys[0]
    rows = cotangent.reshape(len(cotangent), -1)
    sizes = torch.linalg.vector_norm(rows, dim=1).double()
    size = float(sizes.max()) / math.sqrt(max(like.numel(), 1))
    if size == 0 or not math.isfinite(size):
        return [torch.full_like(x, size) for x in (like, *problem.params)]
    size = size if rule.scaled else 1.0
    plan = _plan(problem, rule)
    method = rule.method or problem.method
    assert isinstance(method, RungeKutta)
    tableau = method.tableau
    part = 2 * like.numel() if rule.seminorm and isinstance(plan.control, Adaptive) else None
    made = backward_graph(tableau, law_of(plan.control, part), problem.names)
    outputs = (
        padded(problem.ts, 1.0, like.device),
        _padded(ys),
        _padded(cotangent / size),
        torch.tensor(len(problem.ts) - 1, device=like.device),
    )
    given = plan.given(like.device)
    state, told = problem.run("adjoint gradient", made, like, outputs, given, plan.searched)
    report = Report(*told.tolist())
    report.count(counts, plan, tableau, int(min(report.read, len(problem.ts) - 2)))
    field = augmented(problem.f, problem.names, problem.params, like)
    report.check(plan, tableau, field, state.y, state.k, counts)
    stats.drift = max(report.drift, stats.drift or 0.0)
    _, a, *gradients = unpack(state.y, [like, like, *problem.params])
    return [x * size for x in (a, *gradients)]


def backward_graph(tableau: Tableau, law: Law | None, names: tuple[str, ...]) -> Graph:
    """The graph of a backward solve."""

    def run(
        f: Any,
        params: tuple[Tensor, ...],
        outputs: tuple[Tensor, Tensor, Tensor, Tensor],
        given: Given,
        searched: bool,
    ) -> tuple[State, Tensor]:
        t, dt, ends, control = given.unpack(law)
        turns = Turns(*outputs)
        _, y, a = turns.at(turns.last)
        field = augmented(f, names, params, y)
        march = March(tableau, field, control, ends, turn=turns)
        state = pack([y, a, *(torch.zeros_like(p) for p in params)])
        k = field(t, state)
        start = State.at(t, march.searched(t, state, k) if searched else dt, state, k)
        end = march.run(start)
        return end, end.report()

    return graph(("adjoint", tableau, law, names), lambda: run)


@dataclass(frozen=True)
class Turns:
    """What the backward solve meets at each output, of which ``last`` is the first it meets."""

    ts: Tensor
    ys: Tensor  # the forward states
    cotangents: Tensor  # the loss's gradients
    last: Tensor

    def at(self, row: Tensor) -> list[Tensor]:
        return [x.index_select(0, row.view(1))[0] for x in (self.ts, self.ys, self.cotangents)]

    def __call__(self, y: Tensor, stop: Tensor, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Go on from the forward state, which forgets the drift of the piece that ends."""
        t, *met = self.at(self.last - 1 - read)
        known, given = (x.reshape(-1) for x in met)
        n = len(known)
        missed, a, rest = y.split([n, n, len(y) - 2 * n])
        floor = torch.finfo(y.dtype).tiny
        drift = _rms(missed - known) / _rms(known).clamp(min=floor)
        return stop == t, torch.cat((known, a + given, rest)), drift


def augmented(f: Any, names: tuple[str, ...], params: tuple[Tensor, ...], like: Tensor) -> Traced:
    """The right-hand side ``(f, -a df/dy, -a df/dtheta)`` on one vector."""

    def field(t: Tensor, vector: Tensor) -> Tensor:
        y, a, *_ = unpack(vector, [like, like, *params])

        def slope(y: Tensor, *params: Tensor) -> Tensor:
            return field_of(f, names, params)(t, y)

        dy, pull = torch.func.vjp(slope, y, *params)  # type: ignore[misc]
        return pack([dy, *pull(-a)])

    return field


def pack(pieces: Sequence[Tensor]) -> Tensor:
    """Tensors as one vector of the first one's precision."""
    return torch.cat([x.reshape(-1).to(pieces[0].dtype) for x in pieces])


def unpack(vector: Tensor, templates: Sequence[Tensor]) -> list[Tensor]:
    pieces = vector.split([x.numel() for x in templates])
    return [x.view(y.shape).to(y.dtype) for x, y in zip(pieces, templates, strict=True)]


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x).double() / math.sqrt(max(x.numel(), 1))


def _plan(problem: Problem, rule: Adjoint) -> Plan:
    """From output to output; the control of a piece is that of the whole, as in the eager rule."""
    ts = problem.ts
    control = rule.control or problem.control
    method = rule.method or problem.method
    assert isinstance(control, Adaptive | FixedSteps) and isinstance(method, RungeKutta)
    piece = control.restart(ts, 0.0)
    pieces = [list(_stop_times((b, a), method, piece)) for a, b in pairwise(ts)]
    return Plan(control, ts[-1], pieces[::-1])


def _padded(rows: Tensor) -> Tensor:
    """Rows of zeros behind the given ones, to a number that others share."""
    rest = bucket(len(rows)) - len(rows)
    return torch.cat((rows, rows.new_zeros(rest, *rows.shape[1:]))).contiguous()
