"""The continuous adjoint: the paper's three integrals in one backward solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from odenet.gradients.function import Pullback, vjp, with_pullback
from odenet.solvers import (
    Adaptive,
    Control,
    Field,
    Method,
    Solution,
    Stats,
    Work,
    rms,
    sample,
    steps,
)


@dataclass(frozen=True)
class Adjoint:
    """The adjoint method of Chen et al. 2018, Algorithm 1; memory does not grow with the steps.

    Backwards from the last output time, one solve carries the state ``y``, the adjoint ``a`` with
    ``da/dt = -a df/dy``, and the parameter gradient, the integral of ``a df/dtheta``. At each
    output time the loss's gradient there is added to ``a``.

    The solve uses the forward control unless ``control`` is given. Its error norm leaves the
    parameter integral out (Kidger, Chen, Lyons 2021) unless ``seminorm`` is False. The adjoint is
    solved in units of its own size, so that a tolerance means the same accuracy whatever constant
    multiplies the loss. Differentiable once.
    """

    control: Control | None = None
    seminorm: bool = True

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
            ys = sample(steps(f, y0, ts, method, control, work.forward), y0, ts)
            return ys, [ys], pullback

        def pullback(
            cotangent: Tensor, inputs: Sequence[Tensor], residuals: Sequence[Tensor]
        ) -> list[Tensor]:
            (ys,), (_, *params) = residuals, inputs
            size = max(float(rms(c)) for c in cotangent)
            if size == 0 or not math.isfinite(size):
                return [torch.full_like(x, size) for x in inputs]
            backward = self._backward_control(control, 2 * ys[0].numel())
            a, gradients = _solve_backwards(
                f, params, ts, ys, cotangent / size, method, backward, work.backward
            )
            return [a * size, *(g * size for g in gradients)]

        return Solution(tuple(ts), with_pullback(primal, y0, *params), work)

    def _backward_control(self, forward: Control, without_params: int) -> Control:
        control = self.control or forward
        if not (self.seminorm and isinstance(control, Adaptive)):
            return control
        norm = control.norm
        return replace(control, norm=lambda x: norm(x[:without_params]))


def _solve_backwards(
    f: Field,
    params: Sequence[Tensor],
    ts: Sequence[float],
    ys: Tensor,
    cotangent: Tensor,
    method: Method,
    control: Control,
    stats: Stats,
) -> tuple[Tensor, list[Tensor]]:
    """The adjoint at ``ts[0]`` and the parameter gradients, piece by piece between outputs."""
    pack, unpack = _packing(ys[0], params)
    augmented = _augmented(f, params, pack, unpack)
    a = cotangent[-1]
    gradients = [torch.zeros_like(p) for p in params]
    dt = 0.0
    for i in range(len(ts) - 1, 0, -1):
        # The forward state is known here: starting from it forgets the drift of the last piece.
        state = pack(ys[i], a, gradients)
        piece = control.resume(ts, dt)
        lengths = [0.0, dt]
        for step in steps(augmented, state, (ts[i], ts[i - 1]), method, piece, stats):
            state = step.y1
            lengths.append(step.h)
        # The last step was cut at the output time; the one before it tells what is possible.
        dt = max(lengths[-2:], key=abs)
        _, a, gradients = unpack(state)
        a = a + cotangent[i - 1]
    return a, gradients


Pack = Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]
Unpack = Callable[[Tensor], tuple[Tensor, Tensor, list[Tensor]]]


def _packing(y: Tensor, params: Sequence[Tensor]) -> tuple[Pack, Unpack]:
    """State, adjoint and parameter gradients as one vector, and back."""
    sizes = [y.numel(), y.numel(), *(p.numel() for p in params)]

    def pack(y: Tensor, a: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        return torch.cat([x.reshape(-1).to(y.dtype) for x in (y, a, *gradients)])

    def unpack(state: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        y_, a_, *gradients = state.split(sizes)
        shaped = [g.view(p.shape).to(p.dtype) for g, p in zip(gradients, params, strict=True)]
        return y_.view(y.shape), a_.view(y.shape), shaped

    return pack, unpack


def _augmented(f: Field, params: Sequence[Tensor], pack: Pack, unpack: Unpack) -> Field:
    """The right-hand side ``(f, -a df/dy, -a df/dtheta)`` of the backward solve."""

    def field(t: float, state: Tensor) -> Tensor:
        y, a, _ = unpack(state)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            dy = f(t, y)
        da, *gradients = vjp([(dy, -a)], [y, *params])
        return pack(dy.detach(), da, gradients)

    return field
