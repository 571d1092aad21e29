"""The optimizer of the digits: Muon where a parameter is a kernel, Adam elsewhere, both torch's."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import Adam, Muon

from replication.chapters.mnist.muon import KernelsByMuon


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.LazyLinear(2)
    )


def trained(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> nn.Module:
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
    return net


@pytest.fixture
def net() -> nn.Module:
    return trained(network(), Adam([torch.zeros(1)]), 1)  # the lazy layer knows its shape now


def test_a_kernel_steps_as_the_matrix_of_its_output_channels(net):
    (moved,) = (p for p in net.parameters() if p.dim() == 4 and p.shape[1] > 1)
    matrix = nn.Parameter(moved.detach().reshape(5, 36).clone())
    alone = Muon([matrix], lr=0.1, weight_decay=0.0)
    optimizer = KernelsByMuon(net, 0.1, 0.0)
    x = torch.randn(6, 1, 8, 8)
    for _ in range(3):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        matrix.grad = moved.grad.reshape(5, 36).clone()
        optimizer.step()
        alone.step()
    assert torch.equal(moved.reshape(5, 36), matrix)


def test_what_is_no_such_kernel_steps_by_adam(net):
    other = copy.deepcopy(net)
    names = [name for name, _ in net.named_parameters() if name != "2.weight"]
    trained(net, KernelsByMuon(net, 0.0, 0.01))
    trained(other, Adam([p for n, p in other.named_parameters() if n in names], lr=0.01))
    found, expected = (dict(n.named_parameters()) for n in (net, other))
    assert all(torch.equal(found[name], expected[name]) for name in names)


def test_no_kernels_no_muon():
    net = nn.Linear(3, 2)
    assert len(KernelsByMuon(net, 0.1, 0.01).param_groups) == 1


def test_a_schedule_reaches_both_and_survives_a_restart(net):
    other, steps = copy.deepcopy(net), 2

    def learner(model):
        optimizer = KernelsByMuon(model, 0.1, 0.01)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    first, schedule = learner(net)
    trained(net, first, steps)
    schedule.step()
    states = copy.deepcopy([part.state_dict() for part in (net, first, schedule)])
    trained(net, first, steps)
    again, later = learner(other)
    for part, state in zip((other, again, later), states, strict=True):
        part.load_state_dict(state)
    assert [group["lr"] for group in again.param_groups] == [0.05, 0.005]
    trained(other, again, steps)
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    later.step()
    assert [part.param_groups[0]["lr"] for part in again.parts] == [0.025, 0.0025]
