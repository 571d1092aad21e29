"""A field as a solve calls it: what it returns is looked at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from odenet.solvers import Field


class CheckedField:
    """``f``, raising TypeError or ValueError for a slope that is not like the state ``y0``.

    A field must not write into its argument, and slopes are kept: one that is written into memory
    of the field's own is copied.

    Attributes:
        first: time, state and slope of the first call, for those who must know it again.
    """

    def __init__(self, f: Field, y0: Tensor) -> None:
        self.__wrapped__ = f  # for those who look into it
        self._f = _autocast(f, y0.device.type)
        self._shape, self._dtype = y0.shape, y0.dtype
        # In code that is traced or mapped over there is no memory to look at.
        self._looks = not torch.compiler.is_compiling() and _has_memory(y0)
        self._versions = self._looks and not torch.is_inference_mode_enabled()
        self._pointer = self._latest = 0
        self.first: tuple[float, Tensor, Tensor] | None = None

    def __call__(self, t: float, y: Tensor) -> Tensor:
        if not self._looks:
            return self._like_state(self._f(t, y))
        if self.first is None:
            return self._first_call(t, y)
        version = y._version if self._versions else 0
        k = self._like_state(self._f(t, y))
        if self._versions and y._version != version:
            raise _written()
        pointer = k.data_ptr()
        if pointer == self._pointer:
            k = self._copied(k)
        self._latest = pointer
        return k

    def _first_call(self, t: float, y: Tensor) -> Tensor:
        given = y.clone()  # so that a field that writes changes nothing of the caller's
        returned = self._like_state(self._f(t, given))
        if not torch.equal(given, y) and not torch.equal(given.nan_to_num(), y.nan_to_num()):
            raise _written()
        k = returned.clone()
        self._looks = _has_memory(returned)
        if self._looks:
            self._returned = returned.detach()  # kept, so that no other slope is given its memory
            self._pointer = self._latest = returned.data_ptr()
        self.first = t, given.detach(), k.detach()
        return k

    def _copied(self, k: Tensor) -> Tensor:
        assert self.first is not None
        if self._latest != self._pointer and not torch.equal(k, self.first[2]):
            raise ValueError(
                "f returns memory that holds an earlier slope: it must return a new tensor "
                "(buffer.clone())"
            )
        return k.clone()

    def _like_state(self, k: Any) -> Tensor:
        if not isinstance(k, Tensor):
            raise TypeError(f"f must return a tensor, got {type(k).__name__}")
        if k.shape != self._shape or k.dtype is not self._dtype:
            raise ValueError(
                f"f must return a slope of the state's shape {tuple(self._shape)} and "
                f"{self._dtype}, got {tuple(k.shape)} and {k.dtype}"
            )
        return k


def _autocast(f: Field, device: str) -> Field:
    """``f`` under the autocast of now, in whose place a backward pass has none."""
    if torch.compiler.is_compiling() or not torch.is_autocast_enabled(device):
        return f
    # Without the cache, in whose low precision the gradients of all evaluations would add up.
    mode = torch.autocast(device, torch.get_autocast_dtype(device), cache_enabled=False)
    return mode(f)


def _has_memory(x: Tensor) -> bool:
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


def _written() -> ValueError:
    return ValueError("f writes into its argument y: it must compute a new tensor (y.clone())")
