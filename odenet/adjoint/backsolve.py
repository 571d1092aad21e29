"""The backward solve of both adjoint rules, from output to output."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from odenet.adjoint.dependence import check_complete, check_same, check_unchanged
from odenet.adjoint.function import vjp
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    InitialValueProblem,
    SolveStats,
    Step,
    Trajectory,
    rms,
)
from odenet.solvers.modified import at_jumps

Pack = Callable[[Sequence[Tensor]], Tensor]
Unpack = Callable[..., list[Tensor]]
_LOST = 0.5  # of the state: a drift from which the gradient is worth nothing


class Path:
    """Steps to go through once, of which the ``last`` one is remembered."""

    last: Step

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Step]:
        for step in self._steps:
            self.last = step
            yield step

    def end_slope(self) -> list[Tensor]:
        """The slope where the path ends, if it is known there."""
        history = self.last.history
        return list(history.slopes[:1]) if history.times[:1] == (self.last.t1,) else []


@dataclass(frozen=True, eq=False)
class BackwardSolve:
    """The gradients of a solve by the adjoint equation, backwards in time.

    The state is solved again along with the adjoint, or read from ``trajectory`` where it is given.
    """

    problem: InitialValueProblem
    method: Any  # a method; its name was replaced by `Solver`
    control: Any
    stats: SolveStats
    seminorm: bool = False
    scaled: bool = True
    trajectory: Trajectory | None = None

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of ``y0`` and the parameters.

        ``saved``: the outputs, the tensors of the trajectory, and the slope at the end if known.
        """
        counts = self.stats.begin_backward()
        ys, *tensors = saved
        rows = cotangent.reshape(len(cotangent), ys[0].numel())
        size = float(torch.linalg.vector_norm(rows, dim=1).max()) / math.sqrt(max(rows.shape[1], 1))
        if size == 0 or not math.isfinite(size):
            return [torch.full_like(x, size if size == 0 else math.nan) for x in inputs]
        size = size if self.scaled else 1.0
        trajectory = self.trajectory and self.trajectory.with_tensors(tensors)
        end_slope = tensors[len(self.trajectory.tensors) if self.trajectory else 0 :]
        counts.nfe += check_unchanged(self.problem, evaluate=not end_slope)
        gradients = self._solve(ys, cotangent / size, inputs[1:], trajectory, end_slope)
        return [g * size for g in gradients]

    def _solve(
        self,
        ys: Tensor,
        cotangent: Tensor,
        params: Sequence[Tensor],
        trajectory: Trajectory | None,
        end_slope: list[Tensor],
    ) -> list[Tensor]:
        """Piece by piece between outputs: the adjoint at ``ts[0]``, the parameter gradients."""
        ts, counts = self.problem.ts, self.stats.backward
        states = 0 if trajectory else 1  # that are solved again
        pack, unpack = _packing([ys[0]] * (states + 1) + list(params))
        field = _augmented(self.problem, params, pack, unpack, trajectory, end_slope)
        control = self._control(ys[0], states + 1, params, unpack, cotangent)
        method = at_jumps(self.method, control.jump_times)
        before = (states + 1) * pack([ys[0]]).numel()  # the parameter gradients in the vector
        a, state = cotangent[-1], pack([*[ys[-1]] * (states + 1), *map(torch.zeros_like, params)])
        for i in range(len(ts) - 1, 0, -1):
            # The forward state is known here: starting from it forgets the drift of the last piece.
            state = torch.cat((pack([*ys[i : i + states], a]), state[before:]))
            again, span = control.restart(ts, counts.next_dt), (ts[i], ts[i - 1])
            piece = InitialValueProblem(field, state, span, method, again)
            for step in self._prepared(piece, params).steps(counts):
                state = step.y1
            *arrived, a = unpack(state, states + 1)
            if arrived:
                self._record_drift(arrived[0] - ys[i - 1], ys[i - 1 : i + 1])
            a = a + cotangent[i - 1]
        self._warn_of_drift()
        return [a, *unpack(state)[states + 1 :]]

    def _prepared(
        self, piece: InitialValueProblem, params: Sequence[Tensor]
    ) -> InitialValueProblem:
        """The problem from one output back to the one before, as it is solved."""
        return piece

    def _control(
        self,
        y: Tensor,
        states: int,
        params: Sequence[Tensor],
        unpack: Unpack,
        cotangent: Tensor,
    ) -> Control:
        """The control of the whole vector."""
        control: Any = self.control
        jumps = control.jump_times or self.problem.control.jump_times
        if not isinstance(control, Adaptive):
            return replace(control, jump_times=jumps)
        counted = states if self.seminorm else None

        def norm(x: Tensor) -> Any:
            if self.control.norm is rms:
                return rms(x[: states * y.numel()] if self.seminorm else x)
            parts = unpack(x, counted)
            return self._largest(parts[:states], parts[states:])

        atol = torch.as_tensor(control.atol)
        if not bool((atol > 0).all()):
            # Gradients start at zero, where no relative tolerance can be kept.
            atol = atol.clamp(min=rms(cotangent) * float(torch.as_tensor(control.rtol).min()))
            control = replace(control, atol=atol)
        rtol, atol = (_spread(x, y, states, params) for x in (control.rtol, control.atol))
        return replace(control, rtol=rtol, atol=atol, norm=norm, jump_times=jumps)

    def _largest(self, states: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        """The largest norm, where that is the user's: of state, adjoint, parameters' gradients."""
        norms = [self.control.norm(x) for x in states] + [rms(x) for x in gradients]
        return torch.stack([torch.as_tensor(n, dtype=torch.float64) for n in norms]).max()

    def _record_drift(self, missed: Tensor, ys: Tensor) -> None:
        """By how much a piece missed where it should have ended, the first of two states."""
        size = rms(ys[0]) or rms(ys[1]) or 1.0
        self.stats.drift = max(rms(missed) / size, self.stats.drift or 0.0)

    def _warn_of_drift(self) -> None:
        drift, rtol = self.stats.drift or 0.0, getattr(self.control, "rtol", 0.0)
        if not drift < max(_LOST, 10 * float(torch.as_tensor(rtol).max())):
            warnings.warn(
                f"Adjoint: the state that was solved backwards misses the forward solution by "
                f"{drift:.2g} of its size, so the gradient is worth nothing: take Checkpoint, "
                "InterpolatedAdjoint, or tighter tolerances",
                RuntimeWarning,
                stacklevel=2,
            )


def _augmented(
    problem: InitialValueProblem,
    params: Sequence[Tensor],
    pack: Pack,
    unpack: Unpack,
    trajectory: Trajectory | None,
    end_slope: list[Tensor],
) -> Field:
    """The right-hand side ``(f, -a df/dy, -a df/dtheta)``; without ``f`` where y is read.

    Its first slope is compared with ``end_slope``, that of the forward solve there.
    """

    def field(t: float, state: Tensor) -> Tensor:
        y, a = (trajectory(t), *unpack(state, 1)) if trajectory else unpack(state, 2)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = problem.f(t, y)
        if end_slope:
            check_same(dy.detach(), end_slope.pop(), dy.detach())
            check_complete(problem, [dy], [y, *params])
        slopes = vjp([(dy, -a)], [y, *params])
        return pack(slopes if trajectory else [dy.detach(), *slopes])

    return field


def _spread(tolerance: Any, y: Tensor, states: int, params: Sequence[Tensor]) -> Any:
    """A tolerance of the state's entries, for state, adjoint and the parameters' gradients."""
    if not isinstance(tolerance, Tensor):
        return tolerance
    each = tolerance.to(y.device).expand(y.shape).reshape(-1)
    rest = sum(map(_reals, params))
    return torch.cat([*[each] * states, each.min().expand(rest)])


def _reals(x: Tensor) -> int:
    """How many real numbers a tensor holds."""
    return x.numel() * (2 if x.is_complex() else 1)


def _packing(templates: Sequence[Tensor]) -> tuple[Pack, Unpack]:
    """Tensors of the templates' shapes as one vector of the first one's precision, and back."""
    sizes = [_reals(x) for x in templates]
    ends = list(accumulate(sizes, initial=0))
    places = list(zip(ends, ends[1:], templates, strict=False))
    dtype = templates[0].dtype
    alike = all(x.dtype == dtype and not x.is_complex() for x in templates)

    def pack(parts: Sequence[Tensor]) -> Tensor:
        if alike:  # without the calls that would change nothing: this runs once an evaluation
            return torch.cat([x.reshape(-1) for x in parts])
        real = (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in parts)
        return torch.cat([x.reshape(-1).to(dtype) for x in real])

    def unpack(vector: Tensor, count: int | None = None) -> list[Tensor]:
        """All of them, or the first ``count``."""
        if alike and count == 2:  # likewise: the state and its adjoint
            return list(vector[: 2 * sizes[0]].view(2, *templates[0].shape).unbind())
        return [_like(vector[i:j], y) for i, j, y in places[:count]]

    return pack, unpack


def _like(flat: Tensor, template: Tensor) -> Tensor:
    if template.is_complex():  # not view_as_complex, which an odd number of reals before it breaks
        flat = torch.complex(flat[::2], flat[1::2])
    shaped = flat.view(template.shape)
    return shaped if shaped.dtype == template.dtype else shaped.to(template.dtype)
