"""SciPy's ``solve_ivp`` as a method of this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from torch import Tensor

from odenet.solvers.scipy_adams import Arrays, opaque_step
from odenet.solvers.solution import Counts, SolveError
from odenet.solvers.step import Field, Step

SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")


@dataclass(frozen=True)
class SciPySolver:
    """One of ``SOLVERS``: explicit Runge-Kutta methods, and implicit ones for stiff fields.

    They choose their steps inside, in float64 on the CPU; only ``Adjoint`` gives gradients.
    """

    solver: str = "LSODA"
    adaptive = True
    own_steps = True

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"unknown solver {self.solver!r}; known: {', '.join(SOLVERS)}")

    @property
    def name(self) -> str:
        return f"scipy_solver ({self.solver})"

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Any, counts: Counts
    ) -> Iterator[Step]:
        """Yield one step from each output to the next; ``counts.accepted`` counts those inside."""
        arrays = Arrays(f, y0)
        settings: dict[str, Any] = {
            "method": self.solver,
            "dense_output": True,
            "rtol": arrays.tolerance(control.rtol),
            "atol": arrays.tolerance(control.atol),
            "first_step": control.initial,
            "max_step": control.max_step,
        }
        try:
            found = solve_ivp(arrays.field, (ts[0], ts[-1]), arrays.start, **settings)
        except ValueError as error:
            if "infs or NaNs" not in str(error):
                raise
            raise SolveError("the state or its slope is not finite", ts[0], 0.0, counts) from error
        counts.accepted += len(found.t) - 1
        if not found.success or not np.isfinite(found.y).all():
            reason = "the state is not finite" if found.success else f"it gave up: {found.message}"
            raise SolveError(f"{self.name}: {reason}", found.t[-1], 0.0, counts)
        t, y = ts[0], y0
        for t1, end in zip(ts[1:], found.sol(np.array(ts[1:])).T, strict=True):
            y1 = arrays.tensor(end)
            yield opaque_step(t, t1, y, y1)
            t, y = t1, y1
