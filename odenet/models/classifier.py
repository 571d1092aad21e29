"""The MNIST classifiers: ResNet, RK-Net, ODE-Net and the controls are values of one class."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from odenet.adjoint import Adjoint, Checkpoint, Gradient
from odenet.models.blocks import Downsample, ODEBlock, ResidualBlocks, residual_branch
from odenet.models.fields import ConvField, group_norm
from odenet.ode import Solver
from odenet.solvers import METHODS, Adaptive, SolveStats

PIXELS = 28 * 28
CHANNELS = 64
HIDDEN = 300  # of the MLP
CLASSES = 10
DEPTH = 6  # residual blocks of the ResNet, and Euler steps of the tied one
# Of the unit of time: a step of this length meets the tolerance 1e-3 in nets before and after
# training (measured). Trying it at once saves an evaluation, and a short first step.
FIRST_STEP = 0.25


class Classifier(nn.Module):
    """Images (n, 1, 28, 28) to logits (n, 10): a stem that shrinks, a block, a head.

    Calling it returns the logits and the ``SolveStats`` of the block.

    Args:
        stem: maps the images to what enters the block.
        block: returns its output and what it cost, as ``ODEBlock`` does.
        head: maps that output to logits.

    Example:
        >>> import torch
        >>> from odenet.models import Classifier, ResidualBlocks
        >>> model = Classifier(torch.nn.Flatten(), ResidualBlocks(), torch.nn.Linear(784, 10))
        >>> logits, stats = model(torch.zeros(2, 1, 28, 28))
        >>> tuple(logits.shape)
        (2, 10)
    """

    def __init__(self, stem: nn.Module, block: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem, self.block, self.head = stem, block, head

    def forward(self, images: Tensor, solver: Solver | None = None) -> tuple[Tensor, SolveStats]:
        """The logits and the cost of the block, with another solver for this call if given."""
        state, stats = self.block(self.stem(images), solver)
        return self.head(state), stats


def classifier(name: str, tolerance: float = 1e-3, seed: int = 0) -> Classifier:
    """One of the paper's MNIST classifiers (Table 1), or of the controls beside them.

    Args:
        name: "mlp", "resnet" (six blocks), "rknet" or "odenet"; the controls are "none" (no block),
            "resblock" (one) and "tied" (six that share their weights). RK-Net and ODE-Net are the
            same network and solver, with the gradient of backpropagation (by ``Checkpoint``, in
            less memory) and with the adjoint's, which "odenet" solves backwards by "bosh3" at
            thirty times the tolerance.
        tolerance: rtol and atol of the solver, where there is one.
        seed: of the initial weights; the CPU's global random state is left alone.

    Returns:
        A ``Classifier``.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> from odenet.models import classifier
        >>> sum(p.numel() for p in classifier("odenet").parameters())
        232970
    """
    if name not in MODELS:
        raise ValueError(f"unknown classifier {name!r}; known: {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name](tolerance)


def _mlp(tolerance: float) -> Classifier:
    """LeCun's network with one layer of 300 hidden units."""
    stem = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, HIDDEN), nn.ReLU())
    return Classifier(stem, ResidualBlocks(), nn.Linear(HIDDEN, CLASSES))


def _convolutional(block: Callable[[float], nn.Module]) -> Callable[[float], Classifier]:
    def build(tolerance: float) -> Classifier:
        stem = nn.Sequential(
            nn.Conv2d(1, CHANNELS, kernel_size=3), Downsample(CHANNELS), Downsample(CHANNELS)
        )
        head = nn.Sequential(
            group_norm(CHANNELS),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(CHANNELS, CLASSES),
        )
        return Classifier(stem, block(tolerance), head)

    return build


def _residual(depth: int) -> Callable[[float], nn.Module]:
    return lambda tolerance: ResidualBlocks(*(residual_branch(CHANNELS) for _ in range(depth)))


def _tied(tolerance: float) -> nn.Module:
    return ResidualBlocks(*[residual_branch(CHANNELS)] * DEPTH)


def _ode(gradient: Callable[[float], Gradient]) -> Callable[[float], nn.Module]:
    def block(tolerance: float) -> nn.Module:
        control = Adaptive(tolerance, tolerance, initial=FIRST_STEP)
        return ODEBlock(ConvField(CHANNELS), Solver("dopri5", control, gradient(tolerance)))

    return block


def _adjoint(tolerance: float) -> Adjoint:
    """The adjoint method by steps of order 3, at thirty times the tolerance of the forward solve.

    Measured on MNIST at 1e-3, before and after a training: its gradient is then as far from that
    of an exact solve as the gradient through the solver is (16 and 8 per cent in the block's input,
    4 in its parameters), for 16 and 10 evaluations. DOPRI5 at ten times the tolerance needs 38 and
    26 to come as near: ReLU's kinks are jumps to the adjoint, and waste a higher order.
    """
    control = Adaptive(30 * tolerance, 30 * tolerance, initial=FIRST_STEP)
    return Adjoint(control, method=METHODS["bosh3"])


# name -> a new classifier, for a tolerance (which only those with a solver need)
MODELS: Mapping[str, Callable[[float], Classifier]] = MappingProxyType(
    {
        "mlp": _mlp,
        "none": _convolutional(_residual(0)),
        "resblock": _convolutional(_residual(1)),
        "tied": _convolutional(_tied),
        "resnet": _convolutional(_residual(DEPTH)),
        "rknet": _convolutional(_ode(lambda tolerance: Checkpoint())),
        "odenet": _convolutional(_ode(_adjoint)),
    }
)
