"""Fields that the tests solve, and what they ask of a solve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from odenet import solve

TIMES = torch.linspace(0, 2, 5, dtype=torch.float64)


class Field(nn.Module):
    """Takes the time as a float or as a tensor."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)  # its own: fields are also made in threads
        self.weight = nn.Parameter(0.7 * torch.randn(3, 3, generator=generator, dtype=dtype))
        self.bias = nn.Parameter(0.3 * torch.randn(3, generator=generator, dtype=dtype))
        self.unused = nn.Parameter(torch.ones(2, dtype=dtype))

    def forward(self, t, y):
        return torch.tanh(y @ self.weight + t * self.bias)


def initial_state(dtype=torch.float64):
    return torch.linspace(-1, 1, 6, dtype=dtype).view(2, 3)


def differentiated(solver, *, ts=TIMES, y0=None, field=None, scale=1.0):
    """Outputs, the gradients of a loss on them (by y0, ts and the parameters), and the stats."""
    y0 = (initial_state() if y0 is None else y0).requires_grad_()
    field = field or Field(y0.dtype)
    ts = ts.clone().requires_grad_()
    solution = solve(field, y0, ts, solver)
    weights = torch.arange(1.0, len(ts) + 1, dtype=y0.dtype)[:, None, None]
    (scale * (weights * solution.ys.sin()).sum()).backward()
    gradients = [x.grad for x in (y0, ts, *field.parameters()) if x.grad is not None]
    return solution.ys.detach(), gradients, solution.stats


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its tensor in ``b``."""
    return max(
        float((x - y).abs().max() / y.abs().max().clamp(min=1e-9))
        for x, y in zip(a, b, strict=True)
    )


Y0 = torch.tensor([[1.0, 0.3, 0.5], [-0.7, 0.2, -0.1]], dtype=torch.float64)
TS = torch.linspace(0, 3, 7, dtype=torch.float64)


def decay(t, y):
    return -y
