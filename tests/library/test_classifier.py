"""Classifiers: their sizes, what they cost, and that residual networks are Euler's method."""

import pytest
import torch
from torch import nn

from odenet import Adaptive, FixedSteps, Solver, solve
from odenet.models import (
    AugmentedODEBlock,
    ConvField,
    Downsample,
    ODEBlock,
    ResidualBlocks,
    residual_branch,
)
from odenet.models.classifier import FIRST_STEP, MODELS, classifier
from odenet.models.fields import Autonomous, MLPField

IMAGES = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 238_510),
        ("none", 157_578),
        ("resblock", 231_562),
        ("tied", 231_562),
        ("resnet", 601_482),
        ("rknet", 232_970),
        ("odenet", 232_970),
    ],
)
def test_parameters_are_as_many_as_in_table_1(name, parameters):
    assert sum(p.numel() for p in classifier(name).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "depth"), [("mlp", 0), ("none", 0), ("resblock", 1), ("tied", 6), ("resnet", 6)]
)
def test_residual_classifier_costs_its_depth(name, depth):
    logits, stats = classifier(name)(IMAGES)
    assert logits.shape == (4, 10)
    assert (stats.forward.nfe, stats.backward.nfe) == (depth, 0)


def test_state_that_the_ode_moves_is_64_channels_of_7_by_7():
    assert classifier("odenet").stem(IMAGES).shape == (4, 64, 7, 7)


def test_ode_classifier_counts_forward_and_backward_evaluations_of_one_call():
    logits, stats = classifier("odenet", tolerance=1e-1)(IMAGES)
    forward = stats.forward
    # The first step is given, so that no evaluation is spent on choosing it.
    assert forward.nfe == 1 + 6 * (forward.accepted + forward.rejected)
    assert stats.backward.nfe == 0
    logits.sum().backward()
    assert stats.backward.nfe > 0


def test_rknet_and_odenet_are_one_network_with_two_gradients():
    rk, ode = classifier("rknet"), classifier("odenet")
    assert torch.equal(rk(IMAGES)[0], ode(IMAGES)[0])
    assert rk.block.solver.gradient != ode.block.solver.gradient
    control = Adaptive(1e-3, 1e-3, initial=FIRST_STEP)
    assert rk.block.solver.control == ode.block.solver.control == control


def test_gradient_of_the_adjoint_is_as_exact_as_that_through_the_solver():
    exact = _block_gradient(
        "rknet", Solver("dopri5", Adaptive(1e-6, 1e-6), "checkpoint"), torch.float64
    )
    through, adjoint = (_block_gradient(name, None, torch.float32) for name in ("rknet", "odenet"))
    errors = [float((g.double() - exact).norm() / exact.norm()) for g in (through, adjoint)]
    assert errors[0] < 0.2 and errors[1] < 1.5 * errors[0]


def _block_gradient(name: str, solver: Solver | None, dtype: torch.dtype) -> torch.Tensor:
    model = classifier(name).to(dtype)
    logits, _ = model(IMAGES.to(dtype), solver)
    loss = nn.functional.cross_entropy(logits, torch.arange(4))
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, model.block.parameters())])


def test_tied_network_is_eulers_method_for_one_autonomous_field():
    tied = classifier("tied")
    assert len({id(branch) for branch in tied.block.branches}) == 1
    with torch.no_grad():
        x = tied.stem(IMAGES)
        y, _ = tied.block(x)
        field = Autonomous(tied.block.branches[0])
        euler = solve(field, x, (0.0, 6.0), Solver("euler", FixedSteps(6)))
    assert torch.equal(y, euler.ys[-1])


def test_solver_of_one_call_replaces_the_models_own_for_that_call_only():
    model = classifier("odenet")
    with torch.no_grad():
        own, _ = model(IMAGES)
        _, stats = model(IMAGES, Solver("euler", FixedSteps(3)))
        assert stats.forward.nfe == 3
        assert torch.equal(model(IMAGES)[0], own)


def test_residual_blocks_refuse_a_solver():
    with pytest.raises(ValueError, match="take no other"):
        classifier("resnet")(IMAGES, Solver("euler", FixedSteps(3)))


def test_unknown_classifier_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"unknown classifier 'vgg'; known: {', '.join(MODELS)}"):
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
    y, stats = network(x)
    euler = solve(Pieces(network.branches), x, (0.0, 6.0), Solver("euler", FixedSteps(6)))
    assert torch.equal(y, euler.ys[-1])
    assert stats.forward == euler.stats.forward


def test_ode_block_is_the_solution_at_time_1():
    field, x = MLPField(2, 8, 2), torch.randn(5, 2)
    solver = Solver("rk4", FixedSteps(4))
    y, stats = ODEBlock(field, solver)(x)
    assert torch.equal(y, solve(field, x, (0.0, 0.5, 1.0), solver).ys[-1])
    assert stats.forward.nfe == 16


@pytest.mark.parametrize("size", [7, 26])
def test_downsampling_is_a_preactivation_block_of_stride_2_in_plain_memory_order(size):
    block, x = Downsample(4).double(), torch.randn(3, 4, size, size, dtype=torch.float64)
    y = block(x)
    a = torch.relu(block.norm(x))
    first, norm, _, second = block.branch
    expected = block.shortcut(a) + second(torch.relu(norm(first(a))))
    assert torch.allclose(y, expected)
    assert y.shape == (3, 4, (size + 1) // 2, (size + 1) // 2) and y.is_contiguous()


def test_blocks_leave_their_input_as_it_was():
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    Downsample(4)(x)
    residual_branch(4)(x)
    assert torch.equal(x, before)


def test_an_augmented_block_solves_from_zeros_in_the_channels_it_adds():
    field, solver = ConvField(4), Solver("dopri5", Adaptive(1e-3, 1e-3))
    x = torch.rand(2, 3, 5, 5)
    y, stats = AugmentedODEBlock(field, solver, extra=1)(x)
    wanted, plain = ODEBlock(field, solver)(torch.cat((x, torch.zeros(2, 1, 5, 5)), 1))
    assert torch.equal(y, wanted) and stats.forward == plain.forward


def test_an_augmented_block_takes_another_solver_and_refuses_to_add_nothing():
    block = AugmentedODEBlock(MLPField(3, 8, 3), Solver("dopri5", Adaptive(1e-3, 1e-3)), extra=1)
    _, stats = block(torch.rand(4, 2), Solver("euler", FixedSteps(5)))
    assert stats.forward.nfe == 5
    with pytest.raises(ValueError, match="extra must be at least 1, got 0; ODEBlock adds none"):
        AugmentedODEBlock(MLPField(2, 8, 2), block.solver, extra=0)
