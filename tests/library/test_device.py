"""Solves on a device: all rules, events and models, and no look at a value but one a step."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from odenet import (
    METHODS,
    Adaptive,
    FixedSteps,
    InterpolatedAdjoint,
    Solver,
    odeint_adjoint,
    solve,
    solve_event,
)
from odenet.models import (
    RNN,
    ContinuousFlow,
    EstimatedTrace,
    ExactTrace,
    LatentODE,
    MLPField,
    PlanarField,
    PlanarLayers,
    classifier,
    poisson_path,
)

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
RULES = ["backprop", "checkpoint", "adjoint", InterpolatedAdjoint()]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, NO_CUDA])])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def field(device):
    return MLPField(2, 16, 2).to(device)


class Looks(TorchDispatchMode):
    """Counts the numbers that are read from tensors while it is on."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_solves_where_the_state_is(device, field, method):
    chosen = METHODS[method]
    control = Adaptive(1e-4, 1e-4) if chosen.adaptive else FixedSteps(20)
    with torch.no_grad():
        solution = solve(
            field, torch.ones(3, 2, device=device), (0.0, 1.0), Solver(method, control)
        )
        exact = solve(field, torch.ones(3, 2, device=device), (0.0, 1.0)).y1
    assert solution.ys.device.type == device.type
    torch.testing.assert_close(solution.y1, exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_differentiates_where_the_state_is(device, field, rule):
    y0 = torch.ones(3, 2, device=device, requires_grad=True)
    solve(field, y0, (0.0, 0.5, 1.0), Solver(gradient=rule)).ys.square().sum().backward()
    for x in (y0, *field.parameters()):
        assert x.grad.device.type == device.type and bool(x.grad.isfinite().all())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_solve_looks_at_one_number_an_attempt(device, field, rule):
    y0 = torch.ones(3, 2, device=device, requires_grad=True)
    solver = Solver(gradient=rule)
    with Looks() as looks:
        solution = solve(field, y0, (0.0, 0.5, 1.0), solver)
    counts = solution.stats.forward
    assert looks.count == counts.accepted + counts.rejected + 3  # and three for the first step


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_fixed_steps_look_once_at_the_end(device, field, rule):
    y0 = torch.ones(3, 2, device=device, requires_grad=True)
    with Looks() as looks:
        solve(field, y0, (0.0, 0.5, 1.0), Solver("rk4", FixedSteps(10), rule))
    assert looks.count == 1


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_times_have_their_gradient_where_they_are(device, field, rule):
    ts = torch.tensor([0.0, 1.0], requires_grad=True)
    y0 = torch.ones(3, 2, device=device)
    solve(field, y0, ts, Solver("dopri5", Adaptive(1e-4, 1e-4), rule)).y1.sum().backward()
    assert ts.grad.device == ts.device and ts.grad.abs().min() > 0


def test_events_happen_where_the_state_is(device):
    y0 = torch.zeros(1, device=device, requires_grad=True)
    time, solution = solve_event(lambda t, y: torch.ones_like(y), y0, 0.0, lambda t, y: y - 1.5)
    time.backward()
    assert time.device.type == solution.ys.device.type == device.type
    assert float(y0.grad) == pytest.approx(-1, abs=1e-4)


def test_torchdiffeqs_interface_works_where_the_state_is(device, field):
    states = (torch.ones(3, 2, device=device), torch.zeros(1, device=device))
    grown = odeint_adjoint(
        lambda t, y: (field(float(t), y[0]), y[0].sum().view(1)),
        states,
        torch.tensor([0.0, 1.0], device=device),
        adjoint_params=tuple(field.parameters()),
    )
    grown[1][-1].sum().backward()
    assert field.layers[0].weight.grad.device.type == device.type


def test_models_work_where_their_weights_are(device):
    solver = Solver("dopri5", Adaptive(1e-3, 1e-3), "checkpoint")
    points = torch.randn(4, 2, device=device)
    exact = ExactTrace(MLPField(2, 8, 2))
    values = [
        classifier("odenet").to(device)(torch.rand(2, 1, 28, 28, device=device))[0],
        ContinuousFlow(exact, solver).to(device).log_prob(points)[0],
        ContinuousFlow(EstimatedTrace(exact.field, points), solver).to(device).log_prob(points)[0],
        ContinuousFlow(PlanarField(3), solver).to(device).log_prob(points[None])[0],
        PlanarLayers(3).to(device)(points[None])[1],
        poisson_path().to(device).log_likelihood([0.5, 1.0], 2.0)[0],
    ]
    times = torch.linspace(0, 5, 10, device=device).repeat(3, 1)
    seen = torch.randn(3, 10, 2, device=device)
    recurrent = RNN(gap=True).to(device)
    values += [
        LatentODE()
        .to(device)
        .loss(
            times,
            seen,
            ts=times[0],
            index=torch.arange(10, device=device).repeat(3, 1),
            noise=0.1,
            kl_weight=1.0,
            generator=torch.Generator().manual_seed(0),
        )[0],
        recurrent.loss(times, seen),
        recurrent.extrapolate(times, seen, torch.linspace(6, 8, 5, device=device), 0.5),
    ]
    for value in values:
        value.sum().backward()
        assert value.device.type == device.type and bool(value.isfinite().all())
