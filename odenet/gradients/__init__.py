"""How a solve is differentiated: three rules, each given the solve."""

from odenet.gradients.adjoint import Adjoint
from odenet.gradients.backprop import Backprop
from odenet.gradients.checkpoint import Checkpoint
from odenet.gradients.rule import Gradient

GRADIENTS: dict[str, Gradient] = {
    "backprop": Backprop(),
    "checkpoint": Checkpoint(),
    "adjoint": Adjoint(),
}

__all__ = ["GRADIENTS", "Adjoint", "Backprop", "Checkpoint", "Gradient"]
