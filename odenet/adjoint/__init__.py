"""How a solve is differentiated: by backpropagation (two rules), or by the adjoint (two)."""

from odenet.adjoint.adjoint import Adjoint
from odenet.adjoint.backprop import Backprop
from odenet.adjoint.checkpoint import Checkpoint
from odenet.adjoint.interpolated import InterpolatedAdjoint
from odenet.adjoint.rule import Gradient

GRADIENTS: dict[str, Gradient] = {
    "backprop": Backprop(),
    "checkpoint": Checkpoint(),
    "adjoint": Adjoint(),
}

__all__ = ["GRADIENTS", "Adjoint", "Backprop", "Checkpoint", "Gradient", "InterpolatedAdjoint"]
