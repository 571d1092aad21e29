"""The package's ``autograd.Function``: a computation that brings its own pullback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# (cotangent, inputs, residuals) -> one gradient (or None) for each input
Pullback = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor | None]]
# inputs -> (value, residuals that the pullback needs, the pullback)
Primal = Callable[..., tuple[Tensor, Sequence[Tensor], Pullback]]


class _WithPullback(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, primal: Primal, *inputs: Tensor) -> Tensor:
        value, residuals, ctx.pullback = primal(*inputs)
        # Saved by autograd, not by the closure: it sees in-place changes and breaks cycles.
        ctx.save_for_backward(*inputs, *residuals)
        ctx.inputs = len(inputs)
        ctx.device = value.device.type
        return value

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_inference_mode_enabled():
            raise RuntimeError("inference mode records nothing: call backward() outside of it")
        saved = ctx.saved_tensors
        inputs, residuals = saved[: ctx.inputs], saved[ctx.inputs :]
        # The field brings the autocast of the forward pass.
        with torch.no_grad(), torch.autocast(ctx.device, enabled=False):
            found = ctx.pullback(cotangent, inputs, residuals)
        if torch.is_grad_enabled():  # create_graph: it would be taken for a constant
            found = [g if g is None else _Once.apply(g, cotangent, *inputs) for g in found]
        return (None, *found)


class _Once(torch.autograd.Function):
    """A gradient that cannot be differentiated by what it was computed from."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *sources: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        raise RuntimeError("this gradient rule is differentiable once: take Backprop for more")


def with_pullback(primal: Primal, *inputs: Tensor) -> Tensor:
    """The value of ``primal(*inputs)``, differentiated once by the pullback it returns.

    ``primal`` runs without recording a graph. A second derivative raises ``RuntimeError``.
    """
    return _WithPullback.apply(primal, *inputs)


def moved(x: Tensor, t: Tensor, slope: Tensor) -> Tensor:
    """``x`` with the derivative ``slope`` with respect to ``t``; differentiated once.

    ``t`` has no dimensions, or one that ``x`` and ``slope`` have in front.
    """

    def pullback(
        cotangent: Tensor, inputs: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        by_time = (cotangent * saved[0]).reshape(*t.shape, x.numel() // t.numel()).sum(-1)
        return cotangent, by_time.to(t.device, t.dtype)

    return with_pullback(lambda x, t: (x.clone(), [slope], pullback), x, t)


def vjp(pairs: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The sum over ``(output, cotangent)`` pairs of cotangent times Jacobian, for each input.

    Zeros where nothing depends on an input. The graph is kept: what an input was made from may
    belong to it.
    """
    dependent = [(y, a) for y, a in pairs if y.requires_grad]
    if not dependent:
        return [torch.zeros_like(x) for x in inputs]
    outputs, cotangents = zip(*dependent, strict=True)
    found = torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]
