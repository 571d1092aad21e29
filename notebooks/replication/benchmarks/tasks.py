"""What the libraries are timed on: fields in PyTorch, where they start, when they are seen."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odenet.models.classifier import CHANNELS, classifier
from odenet.models.fields import Autonomous, ConvField


@dataclass(frozen=True)
class Task:
    """A solve from ``y0``, seen at ``ts``, the first of which is the start.

    ``tolerance`` is relative and absolute; ``exact`` is the method and tolerance of the reference.
    """

    field: nn.Module
    y0: Tensor
    ts: Tensor
    tolerance: float = 1e-5
    exact: tuple[str, float] = ("dopri8", 1e-9)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.field.parameters())


class Cubic(nn.Module):
    """The field ``net(y^3)`` of torchdiffeq's demonstration, 2-50-2 with its weights: N(0, 0.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        for p in self.net.parameters():
            nn.init.normal_(p, 0, 0.1)

    def forward(self, t: float | Tensor, y: Tensor) -> Tensor:
        return self.net(y**3)


class Carrier(nn.Module):
    """A flow's field on (n, 3), points of the plane and their log-density: 64 tanh units.

    ``d log p / dt = -sum_n (1 - h_n^2) (w_n u_n)``, the trace in closed form.
    """

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(2, 64)
        self.out = nn.Linear(64, 2)

    def forward(self, t: float | Tensor, state: Tensor) -> Tensor:
        h = torch.tanh(self.into(state[:, :2]))
        shares = (self.into.weight * self.out.weight.T).sum(1)
        change = (h * h - 1) @ shares
        return torch.cat((self.out(h), change[:, None]), 1)


def small(ends: Tensor) -> Task:
    """torchdiffeq's demonstration: twenty states of two numbers, over a quarter of its time."""
    return Task(Cubic(), torch.randn(20, 2), 25 / 4 * ends)


def benchmark(ends: Tensor) -> Task:
    """diffrax's benchmark "small neural ODE": 4-32-4, 64 states, over 100 units of time."""
    net = nn.Sequential(nn.Linear(4, 32), nn.Softplus(), nn.Linear(32, 4), nn.Tanh())
    return Task(Autonomous(net), torch.randn(64, 4), 100 * ends)


def flow(ends: Tensor) -> Task:
    """A step of a continuous normalizing flow: 512 points with their log-density."""
    points = torch.randn(512, 2)
    density = torch.distributions.Normal(0, 1).log_prob(points).sum(1, keepdim=True)
    return Task(Carrier(), torch.cat((points, density), 1), ends)


def mnist(ends: Tensor) -> Task:
    """The block of the MNIST ODE-Net, untrained: what its stem makes of 128 images of noise.

    It has kinks, at which a method of high order takes very short steps.
    """
    model = classifier("odenet", seed=int(torch.randint(2**31, ())))
    with torch.no_grad():
        state = model.stem(torch.rand(128, 1, 28, 28))
    return Task(ConvField(CHANNELS), state, ends, tolerance=1e-3, exact=("dopri5", 1e-6))


TASKS = {"small": small, "benchmark": benchmark, "flow": flow, "mnist": mnist}


def task(name: str, outputs: int, seed: int = 0) -> Task:
    """The task of that name, seen at ``outputs`` evenly spaced times after its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TASKS[name](torch.linspace(0, 1, outputs + 1))
