"""ODE and residual blocks, which return their output and its cost, and the parts around them."""

import torch
from torch import Tensor, nn

from odenet.models.fields import group_norm
from odenet.ode import Solver, solve
from odenet.solvers import Counts, SolveStats


class ODEBlock(nn.Module):
    """A layer whose output is the state at time 1 of ``dy/dt = field(t, y)``, ``y(0) = x``.

    The ODE block of the ODE-Net (Chen et al. 2018, Section 3). Calling it returns a pair: the
    output, of the shape of the input, and its ``SolveStats``.

    Args:
        field: a module ``field(t, y)`` that returns a slope of the shape of ``y``.
        solver: method, step-size control and gradient rule of each call.

    Raises:
        SolveError: when called, as ``odenet.solve``.

    Example:
        >>> import torch
        >>> from odenet import Adaptive, Solver
        >>> from odenet.models import MLPField, ODEBlock
        >>> block = ODEBlock(MLPField(2, 16, 2), Solver("dopri5", Adaptive(1e-3, 1e-3), "adjoint"))
        >>> y, stats = block(torch.randn(8, 2))
        >>> y.square().mean().backward()
        >>> tuple(y.shape), stats.backward.nfe > 0
        ((8, 2), True)
    """

    def __init__(self, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        self.field = field
        self.solver = solver

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, SolveStats]:
        """The block's value and cost, with another solver for this call if one is given."""
        solution = solve(self.field, x, (0.0, 1.0), solver or self.solver)
        return solution.ys[-1], solution.stats


class AugmentedODEBlock(ODEBlock):
    """An ``ODEBlock`` whose state has a few more channels, which are zero at time 0.

    Paths of an ODE cannot cross; with room beside them they can pass each other. The ANODE of
    Dupont et al. 2019. It maps (n, channels, ...) to (n, channels + extra, ...).

    Args:
        field: a module ``field(t, y)`` on states (n, channels + extra, ...).
        solver: method, step-size control and gradient rule of each call.
        extra: number of channels added, at least 1.

    Raises:
        ValueError: for an ``extra`` below 1.
        SolveError: when called, as ``odenet.solve``.

    Example:
        >>> import torch
        >>> from odenet import Adaptive, Solver
        >>> from odenet.models import AugmentedODEBlock, MLPField
        >>> solver = Solver("dopri5", Adaptive(1e-3, 1e-3))
        >>> block = AugmentedODEBlock(MLPField(3, 16, 3), solver, extra=1)
        >>> y, stats = block(torch.randn(8, 2))
        >>> tuple(y.shape)
        (8, 3)
    """

    def __init__(self, field: nn.Module, solver: Solver, extra: int) -> None:
        super().__init__(field, solver)
        if extra < 1:
            raise ValueError(f"extra must be at least 1, got {extra}; ODEBlock adds none")
        self.extra = extra

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, SolveStats]:
        """The block's value and cost, with another solver for this call if one is given."""
        zeros = x.new_zeros(len(x), self.extra, *x.shape[2:])
        return super().forward(torch.cat((x, zeros), 1), solver)


class ResidualBlocks(nn.Module):
    """Branches added one after the other, ``x <- x + branch(x)``: Euler steps of length 1.

    Calling it returns the output and its ``SolveStats``, like an ``ODEBlock``; each branch counts
    as one evaluation, so ``stats.forward.nfe`` is the depth.

    Args:
        branches: modules that keep the shape of their input.

    Example:
        >>> import torch
        >>> from odenet.models import ResidualBlocks
        >>> blocks = ResidualBlocks(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> y, stats = blocks(torch.ones(5, 2))
        >>> tuple(y.shape), stats.forward.nfe
        ((5, 2), 2)
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, solver: Solver | None = None) -> tuple[Tensor, SolveStats]:
        """The block's value and cost; raises ValueError if a solver is given."""
        if solver is not None:
            raise ValueError("residual blocks are their own solver and take no other")
        for branch in self.branches:
            x = x + branch(x)
        depth = len(self.branches)
        return x, SolveStats(forward=Counts(nfe=depth, accepted=depth))


def residual_branch(channels: int) -> nn.Sequential:
    """The branch of a pre-activation residual block (He et al. 2016b) that keeps the shape.

    Args:
        channels: of the images (n, channels, h, w) that it maps.

    Returns:
        GroupNorm, ReLU and a 3x3 convolution, twice.

    Raises:
        ValueError: for channels that are neither 1 to 32 nor a multiple of 32.

    Example:
        >>> import torch
        >>> from odenet.models import residual_branch
        >>> residual_branch(8)(torch.ones(1, 8, 7, 7)).shape
        torch.Size([1, 8, 7, 7])
    """
    return nn.Sequential(
        *_norm_relu(channels),
        _conv3x3(channels),
        *_norm_relu(channels),
        _conv3x3(channels),
    )


class Downsample(nn.Module):
    """A pre-activation residual block of stride 2: half as high and wide, rounded up.

    The states are large here, and on a CPU the order of their numbers in memory decides what they
    cost: convolutions of stride 2 are fast where the channels of a pixel lie together, group
    normalization where the pixels of a channel do. Each therefore gets its own order.

    Args:
        channels: of the images (n, channels, h, w).

    Raises:
        ValueError: for channels that are neither 1 to 32 nor a multiple of 32.

    Example:
        >>> import torch
        >>> from odenet.models import Downsample
        >>> Downsample(8)(torch.ones(1, 8, 7, 7)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.shortcut = nn.Conv2d(channels, channels, kernel_size=1, stride=2, bias=False)
        self.branch = nn.Sequential(
            _conv3x3(channels, stride=2), *_norm_relu(channels), _conv3x3(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, norm, relu, second = self.branch
        x = _channels_last(torch.relu_(self.norm(x)))
        y = _channels_last(relu(norm(first(x).contiguous())))
        return (self.shortcut(x) + second(y)).contiguous()


def _channels_last(x: Tensor) -> Tensor:
    """The same numbers, on a CPU with the channels of a pixel together."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    # In place: normalization keeps what it needs, which is not its result.
    return group_norm(channels), nn.ReLU(inplace=True)


def _conv3x3(channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
