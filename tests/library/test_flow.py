"""Flows: Theorem 1 on exact cases, and each fast formula against the plain one."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from odenet import Adaptive, Solver, solve
from odenet.adjoint import Adjoint, Checkpoint
from odenet.models.fields import Autonomous, MLPField
from odenet.models.flow import ContinuousFlow, EstimatedTrace, ExactTrace, log_normal
from odenet.models.planar import Foreseen, PlanarField, PlanarLayers
from odenet.solvers import METHODS

TIGHT = Adaptive(1e-8, 1e-8)
SOLVER = Solver("dopri5", TIGHT)


def points(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def network(dims=2):
    return MLPField(dims, 8, dims).double()


def planar(units=5, seeds=(0, 1)):
    return PlanarField(units, seeds).double()


@torch.no_grad()
def test_linear_flow_has_the_density_of_the_exact_solution():
    linear = nn.Linear(3, 3, bias=False).double()
    flow = ContinuousFlow(ExactTrace(Autonomous(linear)), SOLVER)
    x, log_p, _ = flow(points(20, 3))
    carried = torch.matrix_exp(linear.weight)
    exact = MultivariateNormal(torch.zeros(3).double(), carried @ carried.T)
    assert torch.allclose(log_p, exact.log_prob(x), atol=1e-6)
    assert torch.allclose(flow.log_prob(x)[0], exact.log_prob(x), atol=1e-6)


@pytest.mark.parametrize("carrier", [ExactTrace, lambda f: EstimatedTrace(f, torch.ones(4, 2))])
def test_a_carrier_without_effort_refuses_to_answer_with_one(carrier):
    """It would take the log-density for a third coordinate of the point."""
    flow, z = ContinuousFlow(carrier(lambda t, z: z / 2), Solver()), torch.zeros(4, 2)
    for call in (flow, flow.log_prob, flow.back):
        with pytest.raises(ValueError, match="Trace carries no effort: take PlanarField"):
            call(z, effort=True)


class OfItsOwn(nn.Module):
    """A carrier that says nothing about an effort."""

    def forward(self, t, state):
        return torch.cat((state[..., :-1] / 2, torch.full_like(state[..., -1:], -1.0)), -1)


def test_a_carrier_of_ones_own_must_say_that_it_carries_effort():
    flow = ContinuousFlow(OfItsOwn(), SOLVER)
    assert flow(points(4, 2))[1].shape == (4,)
    with pytest.raises(ValueError, match="carries_effort = True"):
        flow(points(4, 2), effort=True)


@pytest.mark.parametrize("dims", [1, 3])
def test_a_carrier_of_the_plane_takes_no_other_points(dims):
    """A third coordinate would be taken for the log-density, and that for the effort."""
    flow, z = ContinuousFlow(planar(), SOLVER), points(2, 5, dims)
    for call in (flow, flow.log_prob, flow.back, lambda z: flow.path(z, [0.0, 1.0])):
        with pytest.raises(ValueError, match=r"PlanarField takes points \(..., 2\)"):
            call(z)


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_density_at_any_time_follows_from_the_jacobian_of_the_way_there(t):
    flow, z = ContinuousFlow(ExactTrace(network()), SOLVER), points(5, 2)

    def arrival(one):
        state = torch.cat((one, one.new_zeros(1)))
        return solve(flow.carrier, state, (0.0, t), SOLVER).ys[-1, :2]

    stretch = [torch.autograd.functional.jacobian(arrival, one).det().log() for one in z]
    log_p, _ = flow.log_prob(flow.path(z, (0.0, t))[-1], t=t)
    assert torch.allclose(log_p, log_normal(z) - torch.stack(stretch), atol=1e-6)


@torch.no_grad()
def test_forward_and_back_agree_and_cost_is_counted():
    flow = ContinuousFlow(planar(), SOLVER)
    z = points(2, 30, 2)
    x, log_p, stats = flow(z)
    again, change, back = flow.back(x)
    assert torch.allclose(again, z, atol=1e-6)
    assert torch.allclose(log_normal(again) - change, log_p, atol=1e-6)
    assert stats.forward.nfe > 8 and back.forward.nfe > 8


@torch.no_grad()
def test_closed_trace_of_the_planar_field_is_that_of_its_jacobian():
    field, z = planar(), points(2, 7, 2)
    slope = field(0.4, torch.cat((z, points(2, 7, 1)), -1))
    for run in range(2):
        one = planar(seeds=(run,))

        def point(y, one=one):
            return one(0.4, torch.cat((y, torch.zeros(1).double()))[None, None])[0, 0, :2]

        with torch.enable_grad():
            jacobians = [torch.autograd.functional.jacobian(point, y) for y in z[run]]
        traces = torch.stack([j.trace() for j in jacobians])
        assert torch.allclose(slope[run, :, 2], -traces, atol=1e-10)
        effort = torch.stack([j.square().sum() for j in jacobians])
        effort = effort + slope[run, :, :2].square().sum(-1)
        state = torch.cat((z, torch.zeros(2, 7, 2).double()), -1)
        assert torch.allclose(field(0.4, state)[run, :, 3], effort, atol=1e-10)


def test_runs_side_by_side_are_as_if_each_were_alone():
    both, z = planar(seeds=(3, 8)), points(2, 6, 2)
    state = torch.cat((z, torch.zeros(2, 6, 1).double()), -1)
    for run, seed in enumerate((3, 8)):
        alone = planar(seeds=(seed,))(0.7, state[run : run + 1])
        assert torch.allclose(both(0.7, state)[run], alone[0], atol=1e-12)


def test_estimated_trace_is_exact_in_the_mean_over_all_signs():
    field, z = network(), points(4, 2)
    state = torch.cat((z, torch.zeros(4, 1).double()), -1)
    exact = ExactTrace(field)(0.2, state)
    signs = [torch.tensor([a, b]).double().expand(4, 2) for a in (-1, 1) for b in (-1, 1)]
    estimates = torch.stack([EstimatedTrace(field, noise)(0.2, state) for noise in signs])
    assert torch.allclose(estimates.mean(0), exact, atol=1e-12)
    assert estimates.std(0)[:, 2].min() > 1e-6  # each alone is not


@pytest.mark.parametrize(
    "wrap", [ExactTrace, lambda f: EstimatedTrace(f, torch.ones(4, 2).double())]
)
def test_gradients_reach_field_and_points_through_the_trace(wrap):
    field, z = network(), points(4, 2).requires_grad_()
    carrier = wrap(field)
    weight = field.layers[0].weight

    def log_density(z, w):
        state = torch.cat((z, torch.zeros(4, 1).double()), -1)
        return torch.func.functional_call(carrier, {"field.layers.0.weight": w}, (0.3, state))

    assert torch.autograd.gradcheck(log_density, (z, weight.detach().requires_grad_()))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "wrap", [ExactTrace, lambda f: EstimatedTrace(f, torch.ones(4, 3).double())]
)
def test_the_trace_is_there_where_no_gradients_are_recorded(wrap, mode):
    """For ``f = z / 2``: p(x) at time 1 is the normal density at x exp(-1/2), times exp(-3/2)."""
    half = nn.Linear(3, 3, bias=False).double()
    nn.init.eye_(half.weight).data.mul_(0.5)
    with mode():
        x = points(4, 3)
        flow = ContinuousFlow(wrap(Autonomous(half)), SOLVER)
        log_p, _ = flow.log_prob(x)
        z, back = flow(x * math.exp(-0.5))[:2]
        exact = log_normal(x * math.exp(-0.5)) - 1.5
    assert torch.allclose(log_p, exact, atol=1e-6)
    assert torch.allclose(z, x, atol=1e-6) and torch.allclose(back, exact, atol=1e-6)
    assert not log_p.requires_grad and log_p.is_inference() == (mode is torch.inference_mode)


@pytest.mark.parametrize(
    "wrap", [ExactTrace, lambda f: EstimatedTrace(f, torch.ones(4, 2).double())]
)
def test_a_density_is_the_same_in_every_mode_of_autograd(wrap):
    flow, x = ContinuousFlow(wrap(network()), SOLVER), points(4, 2)
    expected = flow.log_prob(x)[0].detach()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(flow.log_prob(x)[0], expected)


def test_a_field_that_solves_inside_has_its_trace_in_inference_mode():
    class Inner(nn.Module):
        """``f(z) = (e - 1) z``, by a solve that brings a pullback of its own."""

        def forward(self, t, z):
            solver = Solver("dopri5", TIGHT, Checkpoint())
            return solve(lambda t, y: y, z, (0.0, 1.0), solver, params=()).y1 - z

    with torch.inference_mode():
        slope = ExactTrace(Inner())(0.0, torch.ones(2, 4).double())
    assert torch.allclose(slope[:, 3], torch.tensor(-3 * math.expm1(1)).double(), atol=1e-6)


def test_a_field_that_ignores_the_point_has_no_trace():
    class Wind(nn.Module):
        def forward(self, t, z):
            return torch.ones_like(z).detach()

    slope = ExactTrace(Wind())(0.0, torch.zeros(3, 3))
    assert slope.tolist() == [[1.0, 1.0, 0.0]] * 3


def loss_gradients(field, solver):
    flow = ContinuousFlow(field, solver)
    z = torch.linspace(-1, 1, 24).double().view(2, 6, 2)
    x, log_p, stats = flow(z)
    gradients = torch.autograd.grad((log_p + x.square().sum(-1)).sum(), list(field.parameters()))
    return gradients, stats


@pytest.mark.parametrize("gradient", ["backprop", Checkpoint(), Adjoint()])
def test_units_known_beforehand_change_no_gradient(gradient):
    field = planar()
    plain, stats = loss_gradients(field, SOLVER)
    fast, same = loss_gradients(field, Solver(Foreseen(METHODS["dopri5"], field), TIGHT, gradient))
    assert same.forward == stats.forward
    tolerance = 1e-12 if gradient == "backprop" else 1e-5
    assert all(torch.allclose(a, b, atol=tolerance) for a, b in zip(plain, fast, strict=True))


def test_units_are_computed_once_a_step():
    field = planar()
    passes = []
    plain = field.at
    field.at = lambda times: passes.append(len(times)) or plain(times)
    _, stats = loss_gradients(field, Solver(Foreseen(METHODS["dopri5"], field), TIGHT))
    steps = stats.forward.accepted + stats.forward.rejected
    assert sorted(passes) == [1, 1, *[5] * steps]  # the first two look for the first step


def test_nothing_is_remembered_after_a_step():
    field = planar()
    solver = Solver(Foreseen(METHODS["dopri5"], field), TIGHT)
    with torch.no_grad():
        before = ContinuousFlow(field, solver)(points(2, 3, 2))[0]
        for p in field.parameters():
            p.mul_(1.5)
        z = points(2, 3, 2)
        fast, plain = (ContinuousFlow(field, s)(z)[0] for s in (solver, SOLVER))
    assert before.isfinite().all() and torch.allclose(fast, plain, atol=1e-12)


def plain_layers(flow, z):
    """Layer by layer, as the paper writes it."""
    log_det = torch.zeros(z.shape[:2]).double()
    u = flow._bounded()
    for k in range(flow.w.shape[1]):
        w, out, b = flow.w[:, k, None], u[:, k, None], flow.b[:, k, None]
        h = torch.tanh((z * w).sum(-1) + b)
        log_det = log_det + torch.log1p((w * out).sum(-1) * (1 - h * h))
        z = z + h[..., None] * out
    return z, log_det


@pytest.mark.parametrize("layers", [0, 1, 2, 7])
def test_the_chain_of_layers_is_the_plain_one_and_so_are_its_gradients(layers):
    flow, z = PlanarLayers(layers, (0, 1, 2)).double(), points(3, 5, 2).requires_grad_()
    found = [flow(z), plain_layers(flow, z)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True))
    inputs = [z, *flow.parameters()]
    one, other = (
        torch.autograd.grad(x.sin().sum() + y.cos().sum(), inputs, allow_unused=True)
        for x, y in found
    )
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(torch.zeros(()) if a is None else a, b if b is not None else a * 0)


def test_layers_are_inverted_however_steep_they_are():
    flow = PlanarLayers(9, (0, 1)).double()
    with torch.no_grad():
        flow.w.mul_(4)
        flow.u.mul_(-40)
    z = points(2, 50, 2)
    x, _ = flow(z)
    states = flow.inverse(x)
    assert len(states) == 9 and torch.allclose(states[-1], z, atol=1e-6)
    last = flow.only(slice(-2, None))
    assert torch.allclose(last(states[1])[0], x, atol=1e-6)


def test_layers_cannot_fold_and_their_determinants_have_logarithms():
    flow = PlanarLayers(4, range(3))
    with torch.no_grad():
        flow.u.mul_(-1000)
        flow.b.zero_()
        assert (flow.w * flow._bounded()).sum(-1).min() > -1
    _, log_det = flow(torch.zeros(3, 1, 2))  # where the layers are steepest
    gradients = torch.autograd.grad(log_det.sum(), list(flow.parameters()))
    assert all(x.isfinite().all() for x in (log_det, *gradients))


def test_density_of_layers_from_data_to_noise_has_mass_one():
    flow = PlanarLayers(6, (1,)).double()
    axis = torch.linspace(-12, 12, 400).double()
    x = torch.cartesian_prod(axis, axis)[None]
    with torch.no_grad():
        mass = float(flow.log_prob(x).exp().sum()) * float(axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-3)


def test_parameter_counts():
    field, layers = PlanarField(32), PlanarLayers(32)
    assert sum(p.numel() for p in field.parameters()) == 1120 + 198 * 32
    assert sum(p.numel() for p in layers.parameters()) == 5 * 32


def test_log_normal_is_the_standard_normal_density():
    assert float(log_normal(torch.zeros(2))) == pytest.approx(-math.log(2 * math.pi))
