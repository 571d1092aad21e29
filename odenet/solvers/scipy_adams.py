"""SciPy's variable-order Adams integrators, which the paper used, as methods of this package."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.integrate import ode
from torch import Tensor

from odenet.solvers.solution import Counts, SolveError
from odenet.solvers.step import Field, SlopeHistory, Step
from odenet.solvers.step_size import Adaptive, Control
from odenet.solvers.tables import EULER


@dataclass(frozen=True)
class SciPyAdams:
    """VODE with its Adams formulas, or LSODA, which begins with Adams and may turn to BDF.

    They choose order and steps inside, in float64 on the CPU. They step past an output and
    interpolate back: outputs cost nothing, and the field is also called beyond the last time.
    Nothing can be differentiated through them or replayed, so only ``Adjoint`` gives gradients.
    (Brown, Byrne, Hindmarsh 1989; Petzold 1983.)

    Args:
        integrator: "vode", by default, or "lsoda".

    Raises:
        ValueError: for another one.
    """

    integrator: str = "vode"
    adaptive = True
    own_steps = True

    def __post_init__(self) -> None:
        if self.integrator not in ("vode", "lsoda"):
            raise ValueError(f"integrator must be 'vode' or 'lsoda', got {self.integrator!r}")

    @property
    def name(self) -> str:
        return f"scipy_{self.integrator}"

    def path(
        self, f: Field, y0: Tensor, ts: Sequence[float], control: Control, counts: Counts
    ) -> Iterator[Step]:
        """Yield one step from each output to the next; ``counts.accepted`` counts those inside."""

        if not isinstance(control, Adaptive):
            raise TypeError(f"{self.name} needs tolerances, got {control}")
        arrays = Arrays(f, y0)
        if not len(arrays.start):  # which the Fortran code does not take
            yield from (opaque_step(t, t1, y0, y0) for t, t1 in pairwise(ts))
            return
        settings = self._settings(control, arrays, ts[-1] - ts[0])
        solver = ode(arrays.field).set_integrator(self.integrator, **settings)
        solver.set_initial_value(arrays.start, ts[0])
        t, y, taken = ts[0], y0, 0
        for t1 in ts[1:]:
            try:
                end = solver.integrate(t1)
            finally:
                if arrays.error is not None:
                    raise arrays.error
            if not solver.successful() or not np.isfinite(end).all():
                reason = f"{self.name} gave up: {_reason(solver)}"
                # LSODA calls the field beyond t1.
                reached = min(arrays.reached, t1, key=lambda s: abs(s - ts[0]))
                raise SolveError(reason, reached, t1 - t, counts)
            y1 = arrays.tensor(end)
            counts.accepted += _steps_taken(solver) - taken
            taken = _steps_taken(solver)
            yield opaque_step(t, t1, y, y1)
            t, y = t1, y1

    def _settings(self, control: Adaptive, arrays: Arrays, span: float) -> dict[str, Any]:
        return {
            "rtol": arrays.tolerance(control.rtol),
            "atol": arrays.tolerance(control.atol),
            "nsteps": control.max_steps or 10_000,
            "first_step": math.copysign(control.initial or 0.0, span),
            "min_step": control.min_step,
            "max_step": min(control.max_step, 1e30),
            **({"method": "adams"} if self.integrator == "vode" else {}),
        }


def opaque_step(t: float, t1: float, y: Tensor, y1: Tensor) -> Step:
    return Step(EULER, t, t1, y, y1, (), SlopeHistory(), SlopeHistory())


class Arrays:
    """A field and a state as SciPy takes them: flat arrays in double precision.

    ``reached`` is the time of the latest call; ``error`` what the field raised first: VODE goes on
    calling it, and fails with another.
    """

    def __init__(self, f: Field, y0: Tensor) -> None:
        self._f, self._y0 = f, y0
        self.reached: float = math.nan
        self.error: BaseException | None = None
        self.start = _array(y0.detach())

    def tensor(self, y: np.ndarray) -> Tensor:
        # A copy: SciPy goes on to write into its arrays.
        return torch.tensor(y, dtype=self._y0.dtype, device=self._y0.device).view(self._y0.shape)

    def tolerance(self, value: float | Tensor) -> float | np.ndarray:
        """A number, or one for each number of the state."""
        if not isinstance(value, Tensor):
            return float(value)
        return _array(value.detach().to(self._y0.device).expand(self._y0.shape))

    def field(self, t: float, y: np.ndarray) -> np.ndarray:
        self.reached = float(t)
        try:
            slope = self._f(self.reached, self.tensor(y))
            if slope.requires_grad and torch.is_grad_enabled():
                raise ValueError(
                    "SciPy keeps its steps to itself, and the slope requires a gradient: "
                    "differentiate with Adjoint and params, or solve under torch.no_grad()"
                )
            return _array(slope.detach())
        except BaseException as error:
            self.error = self.error or error
            raise


def _array(y: Tensor) -> np.ndarray:
    return y.reshape(-1).to("cpu", torch.float64).numpy()


def _reason(solver: ode) -> str:
    code = solver.get_return_code()
    if code > 0:  # a success, to SciPy
        return "the state is not finite"
    return str(solver._integrator.messages.get(code, f"code {code}")).rstrip(".")


def _steps_taken(solver: ode) -> int:
    """SciPy does not say; both codes count their steps in the eleventh integer of their state."""
    return int(solver._integrator.iwork[10])
