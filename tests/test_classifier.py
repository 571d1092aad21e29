"""Classifiers: their sizes, what they cost, and that residual networks are Euler's method."""

import pytest
import torch
from torch import nn

from odenet import Adaptive, FixedSteps, Solver, solve
from odenet.models.blocks import ODEBlock, ResidualBlocks, residual_branch
from odenet.models.classifier import BLOCKS, classifier
from odenet.models.fields import MLPField

IMAGES = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("none", 157_578),
        ("resblock", 231_562),
        ("resnet", 601_482),
        ("rknet", 232_970),
        ("odenet", 232_970),
    ],
)
def test_parameters_are_as_many_as_in_table_1(name, parameters):
    assert sum(p.numel() for p in classifier(name).parameters()) == parameters


@pytest.mark.parametrize(("name", "depth"), [("none", 0), ("resblock", 1), ("resnet", 6)])
def test_residual_classifier_costs_its_depth(name, depth):
    logits, work = classifier(name)(IMAGES)
    assert logits.shape == (4, 10)
    assert (work.forward.nfe, work.backward.nfe) == (depth, 0)


def test_state_that_the_ode_moves_is_64_channels_of_7_by_7():
    assert classifier("odenet").stem(IMAGES).shape == (4, 64, 7, 7)


def test_ode_classifier_counts_forward_and_backward_evaluations_of_one_call():
    logits, work = classifier("odenet", tolerance=1e-1)(IMAGES)
    forward = work.forward
    assert forward.nfe == 2 + 6 * (forward.accepted + forward.rejected)
    assert work.backward.nfe == 0
    logits.sum().backward()
    assert work.backward.nfe > 0


def test_rknet_and_odenet_are_one_network_with_two_gradients():
    rk, ode = classifier("rknet"), classifier("odenet")
    assert torch.equal(rk(IMAGES)[0], ode(IMAGES)[0])
    assert rk.block.solver.gradient != ode.block.solver.gradient
    assert rk.block.solver.control == ode.block.solver.control == Adaptive(1e-3, 1e-3)


def test_solver_of_one_call_replaces_the_models_own_for_that_call_only():
    model = classifier("odenet")
    with torch.no_grad():
        own, _ = model(IMAGES)
        _, work = model(IMAGES, Solver("euler", FixedSteps(3)))
        assert work.forward.nfe == 3
        assert torch.equal(model(IMAGES)[0], own)


def test_residual_blocks_refuse_a_solver():
    with pytest.raises(ValueError, match="take no other"):
        classifier("resnet")(IMAGES, Solver("euler", FixedSteps(3)))


def test_unknown_classifier_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"unknown classifier 'vgg'; known: {', '.join(BLOCKS)}"):
        classifier("vgg")


def test_seed_alone_decides_the_initial_weights():
    state = torch.get_rng_state()
    one, two, other = classifier("none"), classifier("none"), classifier("none", seed=1)
    assert torch.equal(one(IMAGES)[0], two(IMAGES)[0])
    assert not torch.equal(one(IMAGES)[0], other(IMAGES)[0])
    assert torch.equal(torch.get_rng_state(), state)


class Pieces(nn.Module):
    """The field that is branch i between the times i and i + 1."""

    def __init__(self, branches: nn.ModuleList) -> None:
        super().__init__()
        self.branches = branches

    def forward(self, t: float, y: torch.Tensor) -> torch.Tensor:
        return self.branches[int(t)](y)


def test_residual_network_is_eulers_method_with_steps_of_1():
    network = ResidualBlocks(*(residual_branch(4) for _ in range(6)))
    x = torch.randn(3, 4, 6, 6)
    y, work = network(x)
    euler = solve(Pieces(network.branches), x, (0.0, 6.0), Solver("euler", FixedSteps(6)))
    assert torch.equal(y, euler.ys[-1])
    assert work.forward == euler.work.forward


def test_ode_block_is_the_solution_at_time_1():
    field, x = MLPField(2, 8, 2), torch.randn(5, 2)
    solver = Solver("rk4", FixedSteps(4))
    y, work = ODEBlock(field, solver)(x)
    assert torch.equal(y, solve(field, x, (0.0, 0.5, 1.0), solver).ys[-1])
    assert work.forward.nfe == 16
