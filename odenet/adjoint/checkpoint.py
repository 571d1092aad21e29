"""The gradient of backprop with one step's graph at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from odenet.adjoint.dependence import check_complete, check_same, check_unchanged
from odenet.adjoint.function import Pullback, vjp, with_pullback
from odenet.solvers import (
    Field,
    InitialValueProblem,
    SlopeHistory,
    Solution,
    SolveStats,
    Step,
    StepMethod,
    covered,
)
from odenet.solvers.modified import Modified
from odenet.solvers.step import dense


@dataclass(frozen=True)
class Checkpoint:
    """The gradient of ``Backprop``, up to rounding, in the memory of one or two states a step.

    The forward pass keeps where each accepted step began: its state, and the slopes that it went on
    from, of which FSAL methods such as "dopri5" and the Adams methods have some. The backward pass
    repeats the steps from last to first and pulls back through each, which costs the evaluations of
    the accepted steps once more. So ``f`` must give the same slope when it is called again: each
    repeated step is compared with that of the forward pass, and ``RuntimeError`` raised where they
    differ. Under ``FixedSteps``, the random numbers of a step, as of dropout, are the same in both
    passes. Differentiable once. (Griewank 1992; Gholami, Keutzer, Biros 2019.)

    Raises:
        RuntimeError: as ``Adjoint``.

    Example:
        >>> import torch, odenet
        >>> field = torch.nn.Linear(2, 2, dtype=torch.float64)
        >>> solution = odenet.solve(
        ...     lambda t, y: field(y), torch.randn(8, 2, dtype=torch.float64), [0.0, 1.0],
        ...     odenet.Solver(gradient=odenet.Checkpoint()), params=list(field.parameters()),
        ... )
        >>> solution.y1.square().mean().backward()
        >>> solution.stats.backward.accepted == solution.stats.forward.accepted
        True
    """

    needs_params = True
    needs_steps = True

    def __call__(self, problem: InitialValueProblem) -> Solution:
        if not problem.wants_gradient:
            return problem.solve()
        ts, stats = problem.ts, SolveStats()
        problem = self._repeatable(problem)

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            spans: list[Span] = []
            saved: list[Tensor] = []
            pieces = [y0[None]]
            done, history = 1, SlopeHistory()
            for step in problem.steps(stats.forward):
                inside = covered(step, ts, done)
                pieces += dense([(step, inside)]) if inside else []
                spans.append(Span(step.t0, step.t1, history.times, inside, done))
                saved += (step.y0, *history.slopes)
                done, history = done + len(inside), step.history
            saved.append(step.y1)
            return torch.cat(pieces), saved, self._replay(problem, spans, stats).pullback

        ys = with_pullback(primal, problem.y0, *problem.params)
        return Solution(ts, ys, stats)

    def _repeatable(self, problem: InitialValueProblem) -> InitialValueProblem:
        return replace(problem, method=Repeatable(cast(StepMethod, problem.method), {}))

    def _replay(self, problem: InitialValueProblem, spans: list[Span], stats: SolveStats) -> Replay:
        return Replay(problem, spans, stats)


@dataclass(frozen=True, eq=False)
class Repeatable(Modified):
    """Steps that, made a second time, draw the random numbers of the first.

    ``states`` are those of the generators where each step began that drew any. A field that draws
    none in its first step is taken for one that never does, as looking takes time.
    """

    states: dict[tuple[float, float] | None, list[Tensor]]

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        if None in self.states:
            return self.method.step(f, t, t1, y, history)
        if (t, t1) in self.states:
            devices = [] if y.device.type == "cpu" else [y.device]
            with torch.random.fork_rng(devices, device_type=y.device.type):
                _set_random_states(y.device, self.states[t, t1])
                return self.method.step(f, t, t1, y, history)
        before = _random_states(y.device)
        step = self.method.step(f, t, t1, y, history)
        if not all(map(torch.equal, before, _random_states(y.device))):
            self.states[t, t1] = before
        elif not self.states:
            self.states[None] = before
        return step


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def _set_random_states(device: torch.device, states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)


@dataclass(frozen=True)
class Span:
    """An accepted step: its ends, the times of its history, and the outputs read from it."""

    t0: float
    t1: float
    history: tuple[float, ...]
    inside: Sequence[float]
    row: int  # of the first of these outputs

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + len(self.inside))


@dataclass(frozen=True, eq=False)
class Replay:
    """The pullback of recorded steps, which repeats them from last to first."""

    problem: InitialValueProblem
    spans: list[Span]
    stats: SolveStats

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        """Carry the cotangent of the state, and of the slopes behind it, back to ``ts[0]``."""
        counts = self.stats.begin_backward()
        check_unchanged(self.problem)
        y0, *params = inputs
        carried = [torch.zeros_like(y0)]
        totals = [torch.zeros_like(p) for p in params]
        end = len(saved) - 1
        for span in reversed(self.spans):
            start = end - 1 - len(span.history)
            rows = cotangent[span.rows]
            kept = saved[start:end], saved[end]
            carried, shares = self.pull(span, *kept, params, carried, rows)
            totals = [total + share for total, share in zip(totals, shares, strict=True)]
            counts.accepted += 1
            end = start
        return [carried[0] + cotangent[0], *totals]

    def pull(
        self,
        span: Span,
        saved: Sequence[Tensor],
        end: Tensor,
        params: Sequence[Tensor],
        carried: Sequence[Tensor],
        rows: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Through one step: the cotangents of what was ``saved``, and of the parameters.

        ``end`` is where the step ended, ``carried`` are the cotangents of what the step leaves,
        ``rows`` those of its outputs.
        """
        leaves = [x.detach().requires_grad_() for x in saved]
        outputs = self._replay(span, *leaves)
        check_same(outputs[0], end, end - saved[0])
        if span is self.spans[-1]:
            check_complete(self.problem, outputs, [*leaves, *params])
        # No one goes on from the slopes of the last step: its cotangents end with the state.
        pairs = list(zip(outputs, carried, strict=False))
        if span.inside:
            pairs.append((outputs[-1], rows))
        gradients = vjp(pairs, [*leaves, *params])
        return gradients[: len(leaves)], gradients[len(leaves) :]

    @torch.enable_grad()
    def _replay(self, span: Span, y: Tensor, *slopes: Tensor) -> list[Tensor]:
        """The step again: its end, the slopes that the next one goes on from, its outputs."""
        method = cast(StepMethod, self.problem.method)  # `solve` lets no other come here

        def counted(t: float, y: Tensor) -> Tensor:
            self.stats.backward.nfe += 1
            return self.problem.f(t, y)

        step = method.step(counted, span.t0, span.t1, y, SlopeHistory(span.history, slopes))
        outputs = [step(span.inside)] if span.inside else []
        return [step.y1, *step.history.slopes, *outputs]
