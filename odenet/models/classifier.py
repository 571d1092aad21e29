"""The MNIST classifier: ResNet, RK-Net, ODE-Net and the controls are values of one class."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from odenet.gradients import Adjoint, Checkpoint, Gradient
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


def _ode(gradient: Callable[[float], Gradient]) -> Callable[[float], nn.Module]:
    def block(tolerance: float) -> nn.Module:
        solver = Solver("dopri5", Adaptive(tolerance, tolerance), gradient(tolerance))
        return ODEBlock(ConvField(CHANNELS), solver)

    return block


def _adjoint(tolerance: float) -> Adjoint:
    """The adjoint method at ten times the tolerance of the forward solve.

    Its gradient is then as far from that of an exact solve as the gradient through the solver is
    (measured on MNIST: 5 and 4 per cent at 1e-3); at the same tolerance it costs 2.6 times as much.
    """
    return Adjoint(Adaptive(10 * tolerance, 10 * tolerance))


# name -> the block between stem and head, for a tolerance (which residual blocks do not need)
BLOCKS: Mapping[str, Callable[[float], nn.Module]] = MappingProxyType(
    {
        "none": _residual(0),
        "resblock": _residual(1),
        "resnet": _residual(6),
        "rknet": _ode(lambda tolerance: Checkpoint()),
        "odenet": _ode(_adjoint),
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
