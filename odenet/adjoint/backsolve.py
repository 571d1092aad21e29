"""The backward solve of both adjoint rules, from output to output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from odenet.adjoint.function import vjp
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    InitialValueProblem,
    Method,
    SolveStats,
    Trajectory,
    rms,
)

Pack = Callable[[Sequence[Tensor]], Tensor]
Unpack = Callable[..., list[Tensor]]


@dataclass(frozen=True, eq=False)
class BackwardSolve:
    """The gradients of a solve by the adjoint equation, backwards in time.

    The state is solved again along with the adjoint, or read from ``trajectory`` where it is given.
    """

    problem: InitialValueProblem
    method: Method
    control: Control
    stats: SolveStats
    seminorm: bool = True
    scaled: bool = True
    trajectory: Trajectory | None = None

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of ``y0`` and the parameters."""
        self.stats.begin_backward()
        ys, *tensors = saved
        size = max(map(rms, cotangent))
        if size == 0 or not math.isfinite(size):
            return [torch.full_like(x, size) for x in inputs]
        size = size if self.scaled else 1.0
        trajectory = self.trajectory and self.trajectory.with_tensors(tensors)
        gradients = self._solve(ys, cotangent / size, inputs[1:], trajectory)
        return [g * size for g in gradients]

    def _solve(
        self,
        ys: Tensor,
        cotangent: Tensor,
        params: Sequence[Tensor],
        trajectory: Trajectory | None,
    ) -> list[Tensor]:
        """Piece by piece between outputs: the adjoint at ``ts[0]``, the parameter gradients."""
        ts, counts = self.problem.ts, self.stats.backward
        states = 0 if trajectory else 1  # that are solved again
        pack, unpack = _packing([ys[0]] * (states + 1) + list(params))
        field = _augmented(self.problem.f, params, pack, unpack, trajectory)
        control = self._control(ys[0].numel() * (states + 1))
        before = (states + 1) * pack([ys[0]]).numel()  # the parameter gradients in the vector
        a, state = cotangent[-1], pack([*[ys[-1]] * (states + 1), *map(torch.zeros_like, params)])
        for i in range(len(ts) - 1, 0, -1):
            # The forward state is known here: starting from it forgets the drift of the last piece.
            state = torch.cat((pack([*ys[i : i + states], a]), state[before:]))
            again, span = control.restart(ts, counts.next_dt), (ts[i], ts[i - 1])
            piece = InitialValueProblem(field, state, span, self.method, again)
            for step in self._prepared(piece, params).steps(counts):
                state = step.y1
            *arrived, a = unpack(state, states + 1)
            if arrived:
                self._record_drift(arrived[0], ys[i - 1])
            a = a + cotangent[i - 1]
        return [a, *unpack(state)[states + 1 :]]

    def _prepared(
        self, piece: InitialValueProblem, params: Sequence[Tensor]
    ) -> InitialValueProblem:
        """The problem from one output back to the one before, as it is solved."""
        return piece

    def _control(self, without_params: int) -> Control:
        if not (self.seminorm and isinstance(self.control, Adaptive)):
            return self.control
        norm = self.control.norm
        return replace(self.control, norm=lambda x: norm(x[:without_params]))

    def _record_drift(self, arrived: Tensor, y: Tensor) -> None:
        distance = rms(arrived - y) / max(rms(y), torch.finfo(y.dtype).tiny)
        self.stats.drift = max(distance, self.stats.drift or 0.0)


def _augmented(
    f: Field, params: Sequence[Tensor], pack: Pack, unpack: Unpack, trajectory: Trajectory | None
) -> Field:
    """The right-hand side ``(f, -a df/dy, -a df/dtheta)``; without ``f`` where y is read."""

    def field(t: float, state: Tensor) -> Tensor:
        y, a = (trajectory(t), *unpack(state, 1)) if trajectory else unpack(state, 2)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = f(t, y)
        slopes = vjp([(dy, -a)], [y, *params])
        return pack(slopes if trajectory else [dy.detach(), *slopes])

    return field


def _packing(templates: Sequence[Tensor]) -> tuple[Pack, Unpack]:
    """Tensors of the templates' shapes as one vector of the first one's precision, and back."""
    sizes = [x.numel() * (2 if x.is_complex() else 1) for x in templates]
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
    if template.is_complex():
        flat = torch.view_as_complex(flat.view(-1, 2))
    shaped = flat.view(template.shape)
    return shaped if shaped.dtype == template.dtype else shaped.to(template.dtype)
