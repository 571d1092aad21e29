"""An initial value problem with its method and control: what every gradient rule is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odenet.solvers.loop import Trajectory, sample, steps
from odenet.solvers.solution import Counts, Solution, SolveStats
from odenet.solvers.step import Field, Method, Step
from odenet.solvers.step_size import Control


@dataclass(frozen=True, eq=False)
class InitialValueProblem:
    """``dy/dt = f(t, y)``, ``y(ts[0]) = y0``, wanted at times ``ts``; and how it is solved.

    Attributes:
        f: the field, already checked.
        params: what is differentiated besides ``y0``.
        module: the module that ``params`` were found in; None where they were given.
        times: ``ts`` as a tensor, where the solution is to be differentiated by them.
        dense: whether the steps are kept, for the solution between the output times.
    """

    f: Field
    y0: Tensor
    ts: tuple[float, ...]
    method: Method
    control: Control
    params: tuple[Tensor, ...] = ()
    module: nn.Module | None = None
    times: Tensor | None = None
    dense: bool = False

    @property
    def wants_gradient(self) -> bool:
        """Whether a gradient of the solution may be asked for."""
        inputs = (self.y0, *self.params)
        return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)

    def steps(self, counts: Counts) -> Iterator[Step]:
        """The accepted steps, whose cost is added to ``counts``."""
        return steps(self.f, self.y0, self.ts, self.method, self.control, counts)

    def solve(self) -> Solution:
        """The solution, differentiated by autograd where it records."""
        stats = SolveStats(Counts(), Counts())
        path = self.steps(stats.forward)
        if not self.dense:
            return Solution(self.ts, sample(path, self.y0, self.ts), stats)
        trajectory = Trajectory(path)
        ys = sample(trajectory.steps, self.y0, self.ts)
        return Solution(self.ts, ys, stats, trajectory)
