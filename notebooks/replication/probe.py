"""What one forward solve costs at each of several tolerances, and whether it can be undone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from odenet.models.blocks import ODEBlock
from odenet.models.classifier import Classifier
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive


def dopri5(tolerance: float) -> Solver:
    """DOPRI5 that chooses its first step itself, with this rtol and atol, for a forward solve."""
    return Solver("dopri5", Adaptive(tolerance, tolerance))


@torch.no_grad()
def probe(model: Classifier, images: Tensor, tolerances: Sequence[float]) -> dict[str, list]:
    """Of the model's ODE block on ``images``: ``nfe`` and ``there_and_back``, one per tolerance.

    Both are empty for a model without an ODE block.
    """
    found: dict[str, list] = {"nfe": [], "there_and_back": []}
    if isinstance(model.block, ODEBlock):
        state = model.eval().stem(images)
        for tolerance in tolerances:
            end, stats = model.block(state, dopri5(tolerance))
            error = there_and_back_error(model.block.field, state, end, tolerance)
            found["nfe"].append(stats.forward.nfe)
            found["there_and_back"].append(error)
    return found


@torch.no_grad()
def there_and_back_error(field: nn.Module, start: Tensor, end: Tensor, tolerance: float) -> float:
    """How far from ``start`` at time 0 a solve back from ``end`` at time 1 ends, relative to it."""
    back = solve(field, end, (1.0, 0.0), dopri5(tolerance)).ys[-1]
    return float((back - start).norm() / start.norm())
