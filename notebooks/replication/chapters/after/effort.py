"""The effort of a path, carried along in its solve: how fast it moves, and how unevenly.

The two penalties of Finlay et al. 2020: the squares of the slope and of its Jacobian, integrated
over the time.
"""

import torch
from torch import Tensor, nn

from odenet.ode import Solver, solve
from odenet.solvers import SolveStats


class Effort(nn.Module):
    """The field of states (n, numbers + 1): those of a path in a row, and its effort so far.

    Its slope is ``|f|^2 + |v df/dy|^2`` per number of the state, where v is ``noise``: independent
    normal entries, the same at all times, so that the second term is the square of the Jacobian's
    Frobenius norm on average.
    """

    def __init__(self, field: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.field = field
        self.noise = noise

    def forward(self, t: float, state: Tensor) -> Tensor:
        y = state[:, :-1].reshape(self.noise.shape)
        y = y if y.requires_grad else y.requires_grad_()
        with torch.enable_grad():
            slope = self.field(t, y)
            (pulled,) = torch.autograd.grad(slope, y, self.noise, create_graph=True)
        effort = (slope.square() + pulled.square()).flatten(1).mean(1, keepdim=True)
        return torch.cat((slope.flatten(1), effort), 1)

    def along(self, y: Tensor, solver: Solver) -> tuple[Tensor, Tensor, SolveStats]:
        """The state at time 1 of the path from y (n, ...), its effort (n,), and the cost."""
        start = torch.cat((y.flatten(1), y.new_zeros(len(y), 1)), 1)
        solution = solve(self, start, (0.0, 1.0), solver)
        end = solution.ys[-1]
        return end[:, :-1].reshape(y.shape), end[:, -1], solution.stats
