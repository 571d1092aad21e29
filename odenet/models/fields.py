"""Vector fields f(t, y) whose layers see the time as one more input.

Gluing the time onto the input of a linear map W and applying W is the same as adding t times the
time's column of W: ``W [t, y] + b = W[:, 1:] y + (b + t W[:, :1])``. The layers here compute the
right-hand side, which saves the copy, with the parameters of the left.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimeLinear(nn.Linear):
    """An affine map of ``[t, y]``, the time glued to the state.

    Args:
        in_features: size of the last dimension of ``y``, the time not counted.
        out_features: size of the last dimension of the result.

    Example:
        >>> import torch
        >>> from odenet.models import TimeLinear
        >>> TimeLinear(2, 3)(0.5, torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features + 1, out_features)

    def forward(self, t: float, y: Tensor) -> Tensor:  # type: ignore[override]
        return F.linear(y, self.weight[:, 1:], self.bias + t * self.weight[:, 0])


class TimeConv(nn.Conv2d):
    """A 3x3 convolution of ``[t, y]``, the time filling a channel of its own.

    The height and width stay. The padding is zero in the time's channel too, so that its share
    depends on the place.

    Args:
        in_channels: of ``y`` (n, in_channels, h, w), the time not counted.
        out_channels: of the result (n, out_channels, h, w).

    Example:
        >>> import torch
        >>> from odenet.models import TimeConv
        >>> TimeConv(2, 3)(0.5, torch.ones(1, 2, 7, 7)).shape
        torch.Size([1, 3, 7, 7])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels + 1, out_channels, kernel_size=3, padding=1)

    def forward(self, t: float, y: Tensor) -> Tensor:  # type: ignore[override]
        ones = y.new_ones(1, 1, *y.shape[2:])
        time = F.conv2d(ones, t * self.weight[:, :1], self.bias, padding=1)
        return F.conv2d(y, self.weight[:, 1:], padding=1).add_(time)


class Autonomous(nn.Module):
    """The field ``f(t, y) = net(y)``, which does not look at the time.

    Args:
        net: a module that keeps the shape of ``y``.

    Example:
        >>> import torch
        >>> from odenet.models import Autonomous
        >>> Autonomous(torch.nn.Linear(2, 2))(0.0, torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: float, y: Tensor) -> Tensor:
        return self.net(y)


class MLPField(nn.Module):
    """A field on states (..., widths[0]): layers with tanh between them, which all see the time.

    Args:
        widths: sizes from layer to layer; the first and the last are the state's size.

    Raises:
        ValueError: for fewer than two widths, or if the last is not the first.

    Example:
        >>> import torch
        >>> from odenet.models import MLPField
        >>> MLPField(2, 16, 2)(0.0, torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        if len(widths) < 2 or widths[0] != widths[-1]:
            raise ValueError(f"widths must begin and end with the state's size, got {widths}")
        self.layers = nn.ModuleList(TimeLinear(n, m) for n, m in pairwise(widths))

    def forward(self, t: float, y: Tensor) -> Tensor:
        first, *others = self.layers
        y = first(t, y)
        for layer in others:
            y = layer(t, torch.tanh(y))
        return y


class ConvField(nn.Module):
    """The field of the MNIST ODE-Net: GroupNorm, ReLU, convolution, twice, and GroupNorm.

    Args:
        channels: of the states (n, channels, h, w); 64 by default.

    Raises:
        ValueError: for channels that are neither 1 to 32 nor a multiple of 32.

    Example:
        >>> import torch
        >>> from odenet.models import ConvField
        >>> ConvField(8)(0.0, torch.ones(1, 8, 7, 7)).shape
        torch.Size([1, 8, 7, 7])
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.norms = nn.ModuleList(group_norm(channels) for _ in range(3))
        self.convs = nn.ModuleList(TimeConv(channels, channels) for _ in range(2))

    def forward(self, t: float, y: Tensor) -> Tensor:
        for norm, conv in zip(self.norms, self.convs, strict=False):
            y = conv(t, torch.relu_(norm(y)))
        return self.norms[-1](y)


def group_norm(channels: int) -> nn.GroupNorm:
    """The normalization of all convolutional models: at most 32 groups of equal size."""
    if channels < 1 or channels > 32 and channels % 32:
        raise ValueError(f"channels must be 1 to 32 or a multiple of 32, got {channels}")
    return nn.GroupNorm(min(32, channels), channels)
