"""The continuous adjoint: the paper's three integrals in one backward solve."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from odenet.adjoint.backsolve import BackwardSolve, Path
from odenet.adjoint.function import Pullback, with_pullback
from odenet.solvers import Control, InitialValueProblem, Method, Solution, SolveStats, sample


@dataclass(frozen=True)
class Adjoint:
    """The adjoint method (Chen et al. 2018, Algorithm 1; "optimise, then discretise").

    Backwards from the last output time, one solve carries the state ``y``, the adjoint ``a`` with
    ``da/dt = -a df/dy``, and the parameter gradient, the integral of ``a df/dtheta``. At each
    output time the loss's gradient there is added to ``a``. Memory does not grow with the steps.
    The gradient has an error, which falls with the tolerances of both solves and can be many times
    as large as they are. It is differentiable once. It is worthless where the state cannot be
    solved backwards: a state that misses the forward solution by half its size is a
    ``RuntimeWarning``.

    Args:
        control: of the backward solve; by default that of the forward solve, whose ``jump_times``
            it takes over where it has none. By default its error norm is one root mean square over
            state, adjoint and all parameters' gradients, so that many parameters weaken the control
            of the state. A ``norm`` of your own is taken of state and adjoint, the root mean square
            of each parameter's gradient, and the largest counts. Of tolerances that are tensors,
            the least holds for the parameters. ``FixedSteps(count)`` means ``count`` equal steps
            over the whole span.
        seminorm: leave the parameter integral out of the error norm (Kidger, Chen, Lyons 2021). It
            saves rejected steps, and costs little accuracy where the parameters act as smoothly in
            time as state and adjoint do; a parameter of a fast forcing gets a wrong gradient. False
            by default.
        method: of the backward solve, or its name; by default that of the forward solve.
        scaled: divide the adjoint by the size of the gradients that reach the outputs, so that a
            tolerance means the same accuracy whatever constant multiplies the loss. Without it,
            absolute tolerances are in the units of the loss, as in the paper and in torchdiffeq:
            cheaper where the loss is a mean over many examples, and as much less accurate. True by
            default.

    Raises:
        RuntimeError: in the backward pass, where the field is not the same as forwards, or a
            module reads a tensor with a gradient that it does not hold; and for a second
            derivative.
        SolveError: in the backward pass, as ``solve``.

    Example:
        >>> import torch, odenet
        >>> class Field(torch.nn.Linear):
        ...     def forward(self, t, y):
        ...         return torch.tanh(super().forward(y))
        >>> solver = odenet.Solver("dopri5", odenet.Adaptive(1e-5, 1e-5), odenet.Adjoint())
        >>> solution = odenet.solve(Field(2, 2), torch.randn(8, 2), [0.0, 1.0], solver)
        >>> solution.y1.square().mean().backward()
        >>> solution.stats.backward.nfe > 0 and solution.stats.drift < 1e-3
        True
    """

    control: Control | None = None
    seminorm: bool = False
    method: Method | str | None = None
    scaled: bool = True

    needs_params = True
    needs_steps = False

    def __call__(self, problem: InitialValueProblem) -> Solution:
        if not problem.wants_gradient:
            return problem.solve()
        stats = SolveStats()
        backward = self._backward(problem, stats)

        def primal(y0: Tensor, *params: Tensor) -> tuple[Tensor, list[Tensor], Pullback]:
            path = Path(problem.steps(stats.forward))
            ys = sample(path, y0, problem.ts)
            return ys, [ys, *path.end_slope()], backward.pullback

        return Solution(problem.ts, with_pullback(primal, problem.y0, *problem.params), stats)

    def _backward(self, problem: InitialValueProblem, stats: SolveStats) -> BackwardSolve:
        return BackwardSolve(
            problem,
            self.method or problem.method,
            self.control or problem.control,
            stats,
            seminorm=self.seminorm,
            scaled=self.scaled,
        )
