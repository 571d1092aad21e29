"""A field as a solve calls it: what it returns is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from odenet.solvers import Field
from odenet.solvers.modified import beside


def checked_field(f: Field, y0: Tensor) -> Any:
    """``f``, raising TypeError or ValueError for a slope that is not like the state ``y0``.

    A field must not write into its argument, and slopes are kept: one in the memory of the first is
    copied. A buffer that is first returned later goes unseen: to look for it would cost at each
    evaluation. The result has an attribute ``first``: time, state and slope of its first call, for
    those who must know the field again.
    """
    shape, dtype, call = y0.shape, y0.dtype, f
    if (mode := autocast_of_now(y0.device.type)) is not None:
        call = mode(f)
    # In code that is traced or mapped over there is no memory to look at.
    looks = not torch.compiler.is_compiling() and _has_memory(y0)
    versions = looks and not torch.is_inference_mode_enabled()
    returned = pointer = latest = None

    def plain(t: float, y: Tensor) -> Tensor:
        k = call(t, y)
        if not isinstance(k, Tensor) or k.shape != shape or k.dtype is not dtype:
            raise _unlike(k, y0)
        return k

    def looked_at(t: float, y: Tensor) -> Tensor:
        nonlocal latest
        if torch.compiler.is_compiling():
            return plain(t, y)
        if checked.first is None:
            return first(t, y)
        if pointer is None:
            return plain(t, y)
        version = y._version if versions else 0
        k = call(t, y)
        if not isinstance(k, Tensor) or k.shape != shape or k.dtype is not dtype:
            raise _unlike(k, y0)
        if versions and y._version != version:
            raise _written()
        latest, before = k.data_ptr(), latest
        return _copied(k, checked.first[2], before == pointer) if latest == pointer else k

    def first(t: float, y: Tensor) -> Tensor:
        nonlocal returned, pointer, latest
        given = y.clone()  # so that a field that writes changes nothing of the caller's
        k = plain(t, given)
        if _has_memory(k):
            if not torch.equal(given, y) and not torch.equal(given.nan_to_num(), y.nan_to_num()):
                raise _written()
            returned = k.detach()  # kept, so that no other slope is given its memory
            pointer = latest = returned.data_ptr()
            k = k.clone()
        checked.first = t, given.detach(), k.detach()
        return k

    checked: Any = looked_at if looks else plain
    checked.__wrapped__ = f  # for those who look into it
    checked.first = None
    return checked


def _copied(k: Tensor, first: Tensor, alone: bool) -> Tensor:
    """A slope in the memory of the first one; ``alone`` if the slope before it was there, too."""
    if not alone and not torch.equal(k, first):
        raise ValueError(
            "f returns memory that holds an earlier slope: it must return a new tensor "
            "(buffer.clone())"
        )
    return k.clone()


def _unlike(k: Any, y0: Tensor) -> Exception:
    if not isinstance(k, Tensor):
        return TypeError(f"f must return a tensor, got {type(k).__name__}")
    return ValueError(
        f"f must return a slope of the state's shape {tuple(y0.shape)} and {y0.dtype}, got "
        f"{tuple(k.shape)} and {k.dtype}"
    )


def autocast_of_now(device: str) -> Any:
    """The autocast mode that is on, for calls of a field in a backward pass that has none."""
    if torch.compiler.is_compiling() or not torch.is_autocast_enabled(device):
        return None
    # Without the cache, in whose low precision the gradients of all evaluations would add up.
    return torch.autocast(device, torch.get_autocast_dtype(device), cache_enabled=False)


@torch.no_grad()
def slope_at(f: Field, t: float, y: Tensor, toward: float, jumps: Sequence[float]) -> Tensor:
    """The slope, without a graph; at one of the ``jumps``, that on the side ``toward``."""
    return f(beside(t, toward, y.dtype) if t in jumps else t, y)


def _has_memory(x: Tensor) -> bool:
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


def _written() -> ValueError:
    return ValueError("f writes into its argument y: it must compute a new tensor (y.clone())")
