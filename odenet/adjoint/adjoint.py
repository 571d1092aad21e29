"""The continuous adjoint: the paper's three integrals in one backward solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from odenet.adjoint.function import Pullback, vjp, with_pullback
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    Method,
    Solution,
    Trajectory,
    Work,
    rms,
    sample,
    steps,
)

Pack = Callable[[Sequence[Tensor]], Tensor]
Unpack = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Adjoint:
    """The adjoint method of Chen et al. 2018, Algorithm 1; memory does not grow with the steps.

    Backwards from the last output time, one solve carries the state ``y``, the adjoint ``a`` with
    ``da/dt = -a df/dy``, and the parameter gradient, the integral of ``a df/dtheta``. At each
    output time the loss's gradient there is added to ``a``.

    ``control`` and ``method`` are those of the forward solve unless given. The error norm leaves
    the parameter integral out (Kidger, Chen, Lyons 2021) unless ``seminorm`` is False. With
    ``interpolated`` the state is not solved again but read from the forward solve's dense output
    (Daulbaev et al. 2020): no drift, and memory that grows with the accepted steps. The adjoint is
    solved in units of its own size, so that a tolerance means the same accuracy whatever constant
    multiplies the loss; without ``scaled`` it is solved in those of the loss, as the paper and
    torchdiffeq do. A ``warm`` backward solve tries first the step that the forward solve ended
    with, instead of looking for one from nothing. Differentiable once.
    """

    control: Control | None = None
    seminorm: bool = True
    interpolated: bool = False
    method: Method | None = None
    scaled: bool = True
    warm: bool = False

    keeps = True

    def __call__(
        self,
        f: Field,
        params: Sequence[Tensor],
        y0: Tensor,
        ts: Sequence[float],
        method: Method,
        control: Control,
    ) -> Solution:
        work = Work()

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            path = steps(f, y0, ts, method, control, work.forward)
            known = Trajectory(path) if self.interpolated else None
            ys = sample(known.steps if known else path, y0, ts)
            backward = _Backward(
                self, f, ts, self.method or method, self.control or control, known, work
            )
            return ys, [ys, *(known.tensors if known else [])], backward.pullback

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)


@dataclass(frozen=True, eq=False)
class _Backward:
    """The backward solve; ``known`` is the forward trajectory where it is not solved again."""

    rule: Adjoint
    f: Field
    ts: Sequence[float]
    method: Method
    control: Control
    known: Trajectory | None
    work: Work

    def pullback(
        self, cotangent: Tensor, inputs: Sequence[Tensor], residuals: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of ``y0`` and the parameters."""
        ys, *kept = residuals
        size = max(map(rms, cotangent))
        if size == 0 or not math.isfinite(size):
            return [torch.full_like(x, size) for x in inputs]
        size = size if self.rule.scaled else 1.0
        known = self.known.with_tensors(kept) if self.known else None
        gradients = self._solve(ys, cotangent / size, inputs[1:], known)
        return [g * size for g in gradients]

    def _solve(
        self, ys: Tensor, cotangent: Tensor, params: Sequence[Tensor], known: Trajectory | None
    ) -> list[Tensor]:
        """Piece by piece between outputs: the adjoint at ``ts[0]``, the parameter gradients."""
        ts, stats = self.ts, self.work.backward
        dt = self.work.forward.dt if self.rule.warm else 0.0
        resolved = 0 if known else 1
        pack, unpack = _packing([ys[0]] * (resolved + 1) + list(params))
        field = _augmented(self.f, params, pack, unpack, known)
        control = self._control(ys[0].numel() * (resolved + 1))
        a, gradients = cotangent[-1], [torch.zeros_like(p) for p in params]
        for i in range(len(ts) - 1, 0, -1):
            # The forward state is known here: starting from it forgets the drift of the last piece.
            state = pack([*ys[i : i + resolved], a, *gradients])
            piece = control.resume(ts, dt)
            for step in steps(field, state, (ts[i], ts[i - 1]), self.method, piece, stats):
                state, dt = step.y1, stats.dt
            pieces = unpack(state)
            if resolved:
                self._record_drift(pieces.pop(0), ys[i - 1])
            a, gradients = pieces[0] + cotangent[i - 1], pieces[1:]
        return [a, *gradients]

    def _control(self, without_params: int) -> Control:
        if not (self.rule.seminorm and isinstance(self.control, Adaptive)):
            return self.control
        norm = self.control.norm
        return replace(self.control, norm=lambda x: norm(x[:without_params]))

    def _record_drift(self, missed: Tensor, y: Tensor) -> None:
        distance = rms(missed - y) / max(rms(y), torch.finfo(y.dtype).tiny)
        self.work.drift = max(distance, self.work.drift or 0.0)


def _augmented(
    f: Field, params: Sequence[Tensor], pack: Pack, unpack: Unpack, known: Trajectory | None
) -> Field:
    """The right-hand side ``(f, -a df/dy, -a df/dtheta)``, the first only where y is unknown."""

    def field(t: float, state: Tensor) -> Tensor:
        y, a = (known(t), unpack(state)[0]) if known else unpack(state)[:2]
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = f(t, y)
        slopes = vjp([(dy, -a)], [y, *params])
        return pack(slopes if known else [dy.detach(), *slopes])

    return field


def _packing(templates: Sequence[Tensor]) -> tuple[Pack, Unpack]:
    """Tensors of the templates' shapes as one vector of the first one's precision, and back."""
    sizes = [x.numel() * (2 if x.is_complex() else 1) for x in templates]

    def pack(pieces: Sequence[Tensor]) -> Tensor:
        real = (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in pieces)
        return torch.cat([x.reshape(-1).to(templates[0].dtype) for x in real])

    def unpack(vector: Tensor) -> list[Tensor]:
        return [_like(x, y) for x, y in zip(vector.split(sizes), templates, strict=True)]

    return pack, unpack


def _like(flat: Tensor, template: Tensor) -> Tensor:
    if template.is_complex():
        flat = torch.view_as_complex(flat.view(-1, 2))
    return flat.view(template.shape).to(template.dtype)
