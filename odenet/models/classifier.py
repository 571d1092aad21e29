"""The MNIST classifier: ResNet, RK-Net, ODE-Net and the controls are values of one class."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from odenet.models.blocks import Downsample, ODEBlock, ResidualBlocks, residual_branch
from odenet.models.fields import ConvField, group_norm
from odenet.ode import Solver
from odenet.solvers import Adaptive, Work

CHANNELS = 64
CLASSES = 10


class Classifier(nn.Module):
    """Images (n, 1, 28, 28) to logits (n, 10): a stem that shrinks, a block, a linear head."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, CHANNELS, kernel_size=3), Downsample(CHANNELS), Downsample(CHANNELS)
        )
        self.block = block
        self.head = nn.Sequential(
            group_norm(CHANNELS),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(CHANNELS, CLASSES),
        )

    def forward(self, images: Tensor, solver: Solver | None = None) -> tuple[Tensor, Work]:
        """The logits and the cost of the block, with another solver for this call if given."""
        state, work = self.block(self.stem(images), solver)
        return self.head(state), work


def _residual(depth: int) -> Callable[[float], nn.Module]:
    return lambda tolerance: ResidualBlocks(*(residual_branch(CHANNELS) for _ in range(depth)))


def _ode(gradient: str) -> Callable[[float], nn.Module]:
    return lambda tolerance: ODEBlock(
        ConvField(CHANNELS), Solver("dopri5", Adaptive(tolerance, tolerance), gradient)
    )


# name -> the block between stem and head, for a tolerance (which residual blocks do not need)
BLOCKS: Mapping[str, Callable[[float], nn.Module]] = MappingProxyType(
    {
        "none": _residual(0),
        "resblock": _residual(1),
        "resnet": _residual(6),
        "rknet": _ode("checkpoint"),
        "odenet": _ode("adjoint"),
    }
)


def classifier(name: str, tolerance: float = 1e-3, seed: int = 0) -> Classifier:
    """The classifier called ``name``, initialized from ``seed``; raises ValueError if unknown.

    RK-Net and ODE-Net are the same network and solver, with the gradient through the solver's own
    operations and through the adjoint.
    """
    if name not in BLOCKS:
        raise ValueError(f"unknown classifier {name!r}; known: {', '.join(BLOCKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(BLOCKS[name](tolerance))
