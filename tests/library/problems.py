"""Fields that the tests of both front doors solve."""

from __future__ import annotations

import torch
from torch import nn


class Spiral(nn.Module):
    """Takes the time as a float or as a tensor."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()

    def forward(self, t, y):
        return self.net(y**3) + 0.1 * t


Y0 = torch.tensor([[1.0, 0.3], [-0.7, 0.2]], dtype=torch.float64)
TS = torch.linspace(0, 3, 7, dtype=torch.float64)


def decay(t, y):
    return -y
