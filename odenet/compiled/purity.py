"""Fields that change themselves when they are called, which compiled code would not."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from odenet.compiled.graph import CannotCompile
from odenet.compiled.problem import Problem

_OWN = {"_parameters", "_buffers", "_modules"}  # of every module; looked at apart
_pure: WeakSet[nn.Module] = WeakSet()


def require_pure(problem: Problem, y0: Tensor) -> None:
    """Raises ``CannotCompile`` for a module that a call changes.

    It is called once as it is, before its first compiled solve.
    """
    field = problem.f
    if not isinstance(field, nn.Module) or field in _pure:
        return
    before = _state(field)
    with torch.no_grad():
        problem.slope(problem.ts[0], y0)
    after = _state(field)
    if len(after) != len(before) or any(
        x is not y or m != n for (x, m), (y, n) in zip(before, after, strict=True)
    ):
        raise CannotCompile(
            f"{type(field).__name__} changes its own attributes or buffers when it is called, "
            "which compiled code would not do: rewrite it (stats counts the evaluations), or solve "
            "it with the rule itself, not compiled"
        )
    _pure.add(field)


def _state(field: nn.Module) -> list[tuple[Any, int]]:
    """A module's attributes and buffers, each with a number that a change in place would change."""
    attributes = [
        (value, len(value) if isinstance(value, Sized) else 0)
        for module in field.modules()
        for name, value in vars(module).items()
        if name not in _OWN
    ]
    return [*attributes, *((buffer, buffer._version) for buffer in field.buffers())]
