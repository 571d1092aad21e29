"""Methods that do something more in each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from odenet.solvers.loop import attempts
from odenet.solvers.solution import Counts
from odenet.solvers.step import Field, SlopeHistory, Step, StepMethod
from odenet.solvers.step_size import Control


@dataclass(frozen=True, eq=False)
class Modified:
    """``method``, whose steps a subclass changes."""

    method: StepMethod

    def __getattr__(self, name: str) -> Any:  # all that is not a step
        return getattr(self.method, name)

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        inside = self.inside(f, ts[0], ts[-1], y0)
        return attempts(self, inside, y0, ts, control, counts)

    def inside(self, f: Field, t: float, t1: float, y: Tensor) -> Field:
        """``f`` as it is called between ``t`` and ``t1``."""
        return self.method.inside(f, t, t1, y) if isinstance(self.method, Modified) else f

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        return self.method.step(f, t, t1, y, history)


@dataclass(frozen=True, eq=False)
class OneSided(Modified):
    """Steps that never call the field at a jump, but just before it and just after.

    Args:
        jumps: the times of the jumps; None for each end of each step.
    """

    jumps: frozenset[float] | None

    def step(self, f: Field, t: float, t1: float, y: Tensor, history: SlopeHistory) -> Step:
        step = self.method.step(self.inside(f, t, t1, y), t, t1, y, history)
        # A slope from before the jump is of no use behind it.
        return replace(step, history=SlopeHistory()) if self._jumps(t1) else step

    def _jumps(self, t: float) -> bool:
        return self.jumps is None or t in self.jumps

    def inside(self, f: Field, t: float, t1: float, y: Tensor) -> Field:
        """``f``, called next to the ends where they are jumps."""
        if not (self._jumps(t) or self._jumps(t1)):
            return f
        inner = {t: beside(t, t1, y.dtype), t1: beside(t1, t, y.dtype)}
        return lambda s, y: f(inner[s] if s in inner and self._jumps(s) else s, y)


def beside(t: float, toward: float, dtype: torch.dtype) -> float:
    """The number of this precision next to ``t``, on the side ``toward``."""
    start, end = (torch.tensor(x, dtype=dtype) for x in (t, toward))
    return torch.nextafter(start, end).item()


def at_jumps(method: Any, jumps: Sequence[float]) -> Any:
    """``method`` for a field that jumps at these times."""
    return OneSided(method, frozenset(jumps)) if jumps else method
