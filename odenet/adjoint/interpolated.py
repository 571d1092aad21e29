"""The adjoint along the forward solve's dense output, without solving the state again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from odenet.adjoint.backsolve import BackwardSolve, Path
from odenet.adjoint.function import Pullback, with_pullback
from odenet.solvers import (
    Control,
    InitialValueProblem,
    Method,
    Solution,
    SolveStats,
    Trajectory,
    sample,
)


@dataclass(frozen=True)
class InterpolatedAdjoint:
    """The adjoint method with the state read from the forward solve (Daulbaev et al. 2020).

    Like ``Adjoint``, but the backward solve reads the state from the dense output of the forward
    steps. There is no there-and-back error, so fields that cannot be solved backwards are no
    problem, and memory grows with the accepted steps. The dense output of "dopri8" is of order 5
    alone, and the gradient less exact than its tolerance. Differentiable once.

    Args:
        control: of the backward solve, as for ``Adjoint``; by default that of the forward solve.
        method: of the backward solve, or its name; by default that of the forward solve.
        scaled: divide the adjoint by the size of the gradients, as for ``Adjoint``; True by
            default.

    Raises:
        RuntimeError: as ``Adjoint``.
        SolveError: in the backward pass, as ``solve``.

    Example:
        >>> import torch, odenet
        >>> rate = torch.tensor([40.0], dtype=torch.float64, requires_grad=True)
        >>> y0 = torch.ones(1, dtype=torch.float64)
        >>> solver = odenet.Solver(gradient=odenet.InterpolatedAdjoint())
        >>> solution = odenet.solve(lambda t, y: -rate * y, y0, [0, 0.1], solver, params=[rate])
        >>> solution.y1.backward()
        >>> round(rate.grad.item(), 5)  # -0.1 exp(-4)
        -0.00183
    """

    control: Control | None = None
    method: Method | str | None = None
    scaled: bool = True

    needs_params = True
    needs_steps = True

    def __call__(self, problem: InitialValueProblem) -> Solution:
        if not problem.wants_gradient:
            return problem.solve()
        stats = SolveStats()

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            path = Path(problem.steps(stats.forward))
            trajectory = Trajectory(path)
            ys = sample(trajectory.steps, y0, problem.ts)
            backward = BackwardSolve(
                problem,
                self.method or problem.method,
                self.control or problem.control,
                stats,
                scaled=self.scaled,
                trajectory=trajectory,
            )
            saved = [ys, *trajectory.tensors, *path.end_slope()]
            return ys, saved, backward.pullback

        return Solution(problem.ts, with_pullback(primal, problem.y0, *problem.params), stats)
