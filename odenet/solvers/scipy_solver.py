"""The solvers behind SciPy's ``solve_ivp`` as methods of this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import integrate
from torch import Tensor

from odenet.solvers.loop import ENDLESS, too_many
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
        t, y, outputs, attempted = ts[0], y0, list(ts[1:]), 0
        for solver in self._steps(arrays, ts, control, counts):
            counts.accepted, attempted = counts.accepted + 1, attempted + 1
            # Made once, where it is needed: it may cost evaluations.
            ends, inside = solver.t, cache(solver.dense_output)
            while outputs and (outputs[0] - ends) * solver.direction <= 0:
                t1, attempted = outputs.pop(0), 0
                y1 = arrays.tensor(solver.y if t1 == ends else inside()(t1))
                yield opaque_step(t, t1, y, y1)
                t, y = t1, y1
            # LSODA goes on for ever where a solution blows up.
            if outputs and too_many(
                control.max_steps, attempted + 1, abs(ts[-1] - ends), solver.step_size
            ):
                raise SolveError(ENDLESS.format(attempted), ends, solver.step_size, counts)

    def _steps(
        self, arrays: Arrays, ts: Sequence[float], control: Any, counts: Counts
    ) -> Iterator[Any]:
        """SciPy's solver after each of its steps."""
        settings = {
            "rtol": arrays.tolerance(control.rtol),
            "atol": arrays.tolerance(control.atol),
            "first_step": control.initial and min(control.initial, abs(ts[-1] - ts[0])),
            "max_step": control.max_step,
        }
        kind, reached = getattr(integrate, self.solver), ts[0]
        try:
            solver = kind(arrays.field, ts[0], arrays.start, ts[-1], **settings)
            while solver.status == "running":
                reached, reason = solver.t, solver.step()
                if solver.status == "failed":
                    said = f"{self.name} gave up: {reason}".rstrip(".")
                    raise SolveError(said, reached, 0.0, counts)
                if not np.isfinite(solver.y).all():
                    raise SolveError("the state is not finite", reached, 0.0, counts)
                yield solver
        except ValueError as error:
            if "infs or NaNs" not in str(error):
                raise
            raise SolveError(
                "the state or its slope is not finite", reached, 0.0, counts
            ) from error
        finally:
            if arrays.error is not None:
                raise arrays.error
