"""What a gradient rule is: given a solve, it returns a solution that can be differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from odenet.solvers import Control, Field, Method, Solution


class Gradient(Protocol):
    @property
    def keeps(self) -> bool:
        """Whether a solve under this rule keeps what only a gradient needs."""
        ...

    def __call__(
        self,
        f: Field,
        params: Sequence[Tensor],
        y0: Tensor,
        ts: Sequence[float],
        method: Method,
        control: Control,
    ) -> Solution:
        """The solution at ``ts``, whose gradients reach ``y0`` and ``params``."""
        ...
