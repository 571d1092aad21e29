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
    """An affine map of ``[t, y]``: y (..., in_features) to (..., out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features + 1, out_features)

    def forward(self, t: float, y: Tensor) -> Tensor:  # type: ignore[override]
        return F.linear(y, self.weight[:, 1:], self.bias + t * self.weight[:, 0])


class TimeConv(nn.Conv2d):
    """A 3x3 convolution of ``[t, y]``, t filling a channel: y (n, in_channels, h, w), same size.

    The padding is zero in the time's channel too, so that its share depends on the place.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels + 1, out_channels, kernel_size=3, padding=1)

    def forward(self, t: float, y: Tensor) -> Tensor:  # type: ignore[override]
        ones = y.new_ones(1, 1, *y.shape[2:])
        time = F.conv2d(ones, t * self.weight[:, :1], self.bias, padding=1)
        return F.conv2d(y, self.weight[:, 1:], padding=1).add_(time)


class Autonomous(nn.Module):
    """The field ``f(t, y) = net(y)``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: float, y: Tensor) -> Tensor:
        return self.net(y)


class MLPField(nn.Module):
    """A field on (..., widths[0]): tanh between layers, each of which sees the time.

    The last of ``widths`` must equal the first, or ValueError is raised.
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
    """The field of the MNIST ODE-Net on (n, channels, h, w): GN-ReLU-conv-GN-ReLU-conv-GN."""

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
    return nn.GroupNorm(min(32, channels), channels)
