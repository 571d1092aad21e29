"""States of several tensors, and complex ones, as one real tensor that a solver takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from odenet.solvers import rms

Function = Callable[[Tensor, Any], Any]


class Packing:
    """The states of ``y0`` as one real tensor and back; a single real tensor is left as it is.

    Raises:
        TypeError, ValueError: for states that are not floating-point or complex tensors.
    """

    def __init__(self, y0: Any) -> None:
        self.y0 = y0
        self.states = y0 if isinstance(y0, (tuple, list)) else (y0,)
        if not self.states:
            raise ValueError("y0 must hold at least one tensor, got an empty tuple")
        for y in self.states:
            if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
                kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
                raise TypeError(f"y0 must hold floating-point or complex tensors, got {kind}")
        self.plain = isinstance(y0, Tensor) and not y0.is_complex()
        self.sizes = [y.numel() * (2 if y.is_complex() else 1) for y in self.states]

    def pack(self, y: Any) -> Tensor:
        if self.plain:
            return y
        states = y if isinstance(self.y0, (tuple, list)) else (y,)
        # Not view_as_real, whose gradient an odd number of reals before it breaks.
        real = (torch.stack((x.real, x.imag), -1) if x.is_complex() else x for x in states)
        return torch.cat([x.reshape(-1) for x in real])

    def unpack(self, vector: Tensor) -> Any:
        """The states in a vector, or in a stack of them along the first dimension."""
        if self.plain:
            return vector
        lead = vector.shape[:-1]
        states = []
        for piece, like in zip(vector.split(self.sizes, dim=-1), self.states, strict=True):
            if like.is_complex():
                piece = torch.complex(piece[..., ::2], piece[..., 1::2])
            states.append(piece.reshape((*lead, *like.shape)).to(like.dtype))
        return tuple(states) if isinstance(self.y0, (tuple, list)) else states[0]

    def slopes(self, returned: Any) -> Tensor:
        """What a field returned, packed: slopes that broadcast with their states."""
        if self.plain:
            return _like(returned, self.y0)
        several = isinstance(self.y0, (tuple, list))
        slopes = returned if several else (returned,)
        if not isinstance(slopes, (tuple, list)) or len(slopes) != len(self.states):
            kind = len(slopes) if isinstance(slopes, (tuple, list)) else type(slopes).__name__
            raise TypeError(f"func must return a tuple of {len(self.states)} slopes, got {kind}")
        like = [_like(k, y) for k, y in zip(slopes, self.states, strict=True)]
        return self.pack(like if several else like[0])

    def norm(self, norm: Callable[[Any], Any] | None) -> Callable[[Tensor], Any]:
        """A norm of the states as one of the vector; by default the largest of their rms."""
        if norm is not None:
            return lambda x: norm(self.unpack(x))
        return rms if len(self.states) == 1 else self._largest_rms

    def _largest_rms(self, x: Tensor) -> Tensor:
        pieces = [piece for piece in x.split(self.sizes) if piece.numel()]
        norms = [torch.linalg.vector_norm(piece) / piece.numel() ** 0.5 for piece in pieces]
        return torch.stack(norms).max() if norms else x.sum()

    def tolerance(self, name: str, value: Any) -> Any:
        """A number, a tensor like the state, or one of these for each state of a tuple."""
        if isinstance(value, Tensor) and value.requires_grad:
            raise ValueError(f"{name} must not require a gradient")
        several = isinstance(self.y0, (tuple, list))
        if not isinstance(value, (tuple, list)):
            if self.plain or not isinstance(value, Tensor) or value.dim() == 0:
                return value
            values = [value] * len(self.states)
        elif not several or len(value) != len(self.states):
            raise ValueError(
                f"{name} must be a number, a tensor, or a tuple with one for each of the "
                f"{len(self.states)} states of a tuple, got {len(value)}"
            )
        else:
            values = list(value)
        spread = []
        for v, y in zip(values, self.states, strict=True):
            full = torch.as_tensor(v, device=y.device, dtype=torch.float64)
            try:
                full = full.expand(y.shape)
            except RuntimeError:
                raise ValueError(
                    f"{name} must broadcast with each state, got shapes {tuple(full.shape)} and "
                    f"{tuple(y.shape)}: a tuple has one for each state"
                ) from None
            spread.append((torch.stack((full, full), -1) if y.is_complex() else full).reshape(-1))
        return torch.cat(spread)


class PackedField:
    """``func`` as a field of packed states, given its time as a tensor of their precision."""

    def __init__(self, func: Function, packing: Packing) -> None:
        self.__self__ = func  # whose parameters are found
        self._packing, self._plain = packing, packing.plain

    def __call__(self, t: Any, y: Tensor) -> Tensor:
        time = t if isinstance(t, Tensor) else y.new_full((), t)  # a tensor where ts need gradients
        if self._plain:
            return _like(self.__self__(time, y), y)
        return self._packing.slopes(self.__self__(time, self._packing.unpack(y)))


def _like(k: Any, y: Tensor) -> Tensor:
    """A slope of a state's shape and precision."""
    if not isinstance(k, Tensor):
        raise TypeError(f"func must return tensors, got {type(k).__name__}")
    if k.shape == y.shape and k.dtype == y.dtype:
        return k
    if k.is_complex() and not y.is_complex():
        raise TypeError(f"func must return a real slope for a real state, got {k.dtype}")
    try:
        return k.to(y.dtype).expand(y.shape)
    except RuntimeError:
        raise ValueError(
            f"func must return a slope of the state's shape {tuple(y.shape)}, got {tuple(k.shape)}"
        ) from None
