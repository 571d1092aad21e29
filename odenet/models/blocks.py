"""Blocks that keep the shape of a tensor and say what they cost: x -> (y, Work)."""

import torch
from torch import Tensor, nn

from odenet.models.fields import group_norm
from odenet.ode import Solver, solve
from odenet.solvers import Stats, Work


class ODEBlock(nn.Module):
    """The state at time 1 of ``dy/dt = field(t, y)`` that starts as the block's input at time 0."""

    def __init__(self, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        self.field = field
        self.solver = solver

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, Work]:
        """The block's value and cost, with another solver for this call if one is given."""
        solution = solve(self.field, x, (0.0, 1.0), solver or self.solver)
        return solution.ys[-1], solution.work


class ResidualBlocks(nn.Module):
    """Branches added one after the other, ``x <- x + branch(x)``: Euler steps of length 1.

    Each costs one evaluation, so ``work.forward.nfe`` is the depth.
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, Work]:
        """The block's value and cost; raises ValueError if a solver is given."""
        if solver is not None:
            raise ValueError("residual blocks are their own solver and take no other")
        for branch in self.branches:
            x = x + branch(x)
        depth = len(self.branches)
        return x, Work(forward=Stats(nfe=depth, accepted=depth))


def residual_branch(channels: int) -> nn.Sequential:
    """The branch of a pre-activation residual block (He et al. 2016b) that keeps the shape."""
    return nn.Sequential(
        group_norm(channels),
        nn.ReLU(),
        _conv3x3(channels),
        group_norm(channels),
        nn.ReLU(),
        _conv3x3(channels),
    )


class Downsample(nn.Module):
    """A pre-activation residual block of stride 2: half as high and wide, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.shortcut = nn.Conv2d(channels, channels, kernel_size=1, stride=2, bias=False)
        self.branch = nn.Sequential(
            _conv3x3(channels, stride=2), group_norm(channels), nn.ReLU(), _conv3x3(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(x))
        return self.shortcut(x) + self.branch(x)


def _conv3x3(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
