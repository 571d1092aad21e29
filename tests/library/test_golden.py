"""Golden values: solves, gradients, and three training steps of each model, as they once were.

Kept trials of the replication stand on these numbers. Where one changes on purpose, raise
``odenet.NUMERICS`` and write the values anew: ``python tests/library/test_golden.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from problems import TIMES, Field, differentiated, initial_state
from torch import Tensor, nn

import odenet
from odenet import (
    METHODS,
    Adaptive,
    Adjoint,
    FixedSteps,
    InterpolatedAdjoint,
    Solver,
    odeint,
    odeint_adjoint,
    odeint_event,
    solve,
    solve_event,
    steps,
)
from odenet.models import (
    RNN,
    Classifier,
    ContinuousFlow,
    ConvField,
    Downsample,
    EstimatedTrace,
    ExactTrace,
    LatentODE,
    MLPField,
    ODEBlock,
    PlanarField,
    PlanarLayers,
    classifier,
    poisson_path,
)
from odenet.models.classifier import MODELS
from odenet.models.planar import Foreseen
from odenet.solvers import Counts, SolveStats

FILE = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-6
ADVICE = (
    "If this change is on purpose, raise odenet.NUMERICS and write the values anew with "
    "`python tests/library/test_golden.py`: trials that are kept are then made again."
)

Found = tuple[list[int], list[Tensor]]  # counts, which are to be equal, and values
CASES: dict[str, Callable[[float], Found]] = {}  # each takes what its start is multiplied with
Case = Callable[[float], Found]


def case(function: Case) -> Case:
    CASES[function.__name__.replace("_", " ")] = function
    return function


def counted(*stats: SolveStats) -> list[int]:
    """Evaluations, accepted and rejected steps of each solve, forward and backward."""
    passes = [counts for s in stats for counts in (s.forward, s.backward)]
    return [n for counts in passes for n in (counts.nfe, counts.accepted, counts.rejected)]


# Solves and their gradients

TIGHT = Adaptive(1e-5, 1e-5)
SOLVES = {
    "dopri5, backprop": Solver("dopri5", TIGHT),
    "dopri5, first steps refused, checkpoint": Solver(
        "dopri5", Adaptive(1e-6, 1e-6, initial=2.0), "checkpoint"
    ),
    "tsit5, PI control and limits, checkpoint": Solver(
        "tsit5",
        Adaptive(1e-5, 1e-5, integral=0.3, proportional=0.4, max_step=0.3, initial=0.01),
        "checkpoint",
    ),
    "heun, largest norm, checkpoint": Solver(
        "heun", Adaptive(1e-4, 1e-4, norm=lambda x: x.abs().max(), initial=1.5), "checkpoint"
    ),
    "bosh3, factors, adjoint": Solver(
        "bosh3", Adaptive(1e-5, 1e-4, safety=0.8, shrink=0.5, growth=1.5), "adjoint"
    ),
    "bosh3, tolerances by entry, checkpoint": Solver(
        "bosh3", Adaptive(1e-5, torch.tensor([1e-3, 1e-5, 1e-7]).double()), "checkpoint"
    ),
    "dopri8, interpolated adjoint": Solver("dopri8", TIGHT, InterpolatedAdjoint()),
    "dopri5, adjoint in full and absolute norm": Solver(
        "dopri5", TIGHT, Adjoint(seminorm=False, scaled=False)
    ),
    "dopri5, adjoint by tsit5": Solver(
        "dopri5", TIGHT, Adjoint(Adaptive(1e-4, 1e-4), method=METHODS["tsit5"])
    ),
    "dopri5, interpolated adjoint": Solver("dopri5", TIGHT, InterpolatedAdjoint()),
    "tsit5, interpolated adjoint by bosh3": Solver(
        "tsit5",
        TIGHT,
        InterpolatedAdjoint(Adaptive(1e-4, 1e-4), method=METHODS["bosh3"], scaled=False),
    ),
    "euler, adjoint": Solver("euler", FixedSteps(12), "adjoint"),
    "midpoint, from output to output, backprop": Solver("midpoint", FixedSteps()),
    "rk4, adjoint": Solver("rk4", FixedSteps(size=0.3), "adjoint"),
    "rk4_38, on a grid, checkpoint": Solver(
        "rk4_38", FixedSteps(grid=(0.1, 0.7, 1.9)), "checkpoint"
    ),
    "explicit Adams, unequal steps, backprop": Solver("explicit_adams", FixedSteps(size=0.15)),
    "implicit Adams, checkpoint": Solver("implicit_adams", FixedSteps(size=0.15), "checkpoint"),
    "VODE, adjoint": Solver("scipy_vode", Adaptive(1e-6, 1e-6), "adjoint"),
    "LSODA, adjoint": Solver("scipy_lsoda", Adaptive(1e-6, 1e-6, max_step=0.5), "adjoint"),
}
# Every other solve goes backwards in time.
DIRECTIONS = {name: TIMES if i % 2 else TIMES.flip(0) for i, name in enumerate(SOLVES)}


def gradients(name: str, factor: float) -> Found:
    y0 = factor * initial_state()
    ys, found, stats = differentiated(SOLVES[name], ts=DIRECTIONS[name], y0=y0)
    return counted(stats), [ys, *found, torch.tensor(stats.drift or 0.0)]


CASES |= {name: lambda factor, name=name: gradients(name, factor) for name in SOLVES}


@case
def complex_and_single_parameters(factor: float) -> Found:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor([-0.1 + 2j, 0.2 - 1j, 0.3j]))
            self.scale = nn.Parameter(torch.tensor(0.5, dtype=torch.float32))

        def forward(self, t: float, y: Tensor) -> Tensor:
            return self.scale.double() * (self.rate * torch.complex(y, -y)).real

    solver = Solver("dopri5", TIGHT, "adjoint")
    ys, found, stats = differentiated(solver, y0=factor * initial_state(), field=Turns())
    return counted(stats), [ys, *found]


@case
def an_event_and_its_gradient(factor: float) -> Found:
    y0, field = (factor * initial_state()).requires_grad_(), Field()

    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[0, 0] + 5, y[0, 1] + y[1, 0] - 0.1 - 0.2 * t))

    solver = Solver("tsit5", TIGHT, "checkpoint")
    time, solution = solve_event(field, y0, 0.0, event, solver, end=9.0)
    (time + solution.y1.sin().sum()).backward()
    return counted(solution.stats), [time, solution.ys, y0.grad, field.weight.grad]


@case
def an_event_at_any_time_by_fixed_steps(factor: float) -> Found:
    y0 = factor * initial_state()
    solver = Solver("rk4", FixedSteps(size=0.3))
    with torch.no_grad():
        time, solution = solve_event(Field(), y0, 0.0, lambda t, y: y[0, 1] + y[1, 0] - 0.1, solver)
    return counted(solution.stats), [time, solution.ys]


@case
def dense_output_of_every_method(factor: float) -> Found:
    counts, values = [], []
    for method in METHODS.values():
        if not method.own_steps:
            # The error estimates of these two are rounding at this tolerance.
            adaptive = method.adaptive and method.name not in ("fehlberg2", "dopri8")
            control = Adaptive(1e-4, 1e-4) if adaptive else FixedSteps(6)
            stats, y0 = Counts(), factor * initial_state()
            path = list(steps(Field(), y0, (0.0, 2.0), method, control, stats))
            counts += [stats.nfe, stats.accepted, stats.rejected]
            values.append(
                torch.cat([s([s.t0, s.t0 + 0.3 * s.h, s.t0 + 0.8 * s.h, s.t1]) for s in path])
            )
    return counts, [torch.cat(values).detach()]


@case
def many_outputs_of_a_large_state(factor: float) -> Found:
    y0 = factor * torch.linspace(-1, 1, 3000).view(1000, 3)
    with torch.no_grad():
        solution = solve(
            Field(), y0, torch.linspace(0, 6, 90), Solver("dopri5", TIGHT, InterpolatedAdjoint())
        )
    return counted(solution.stats), [solution.ys, torch.tensor(solution.stats.forward.next_dt)]


@case
def a_gradient_of_zero(factor: float) -> Found:
    _, found, stats = differentiated(Solver("dopri5", TIGHT, "adjoint"), scale=0.0)
    return counted(stats), found[:1]


# torchdiffeq's functions, whose calls of the field are counted by the field


class Pair(nn.Module):
    """A real and a complex state."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([0.4, -0.7]))
        self.calls = 0

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        self.calls += 1
        x, z = state
        return torch.sin(x * self.rate) + t, 1j * z * self.rate.sum() - z * x[0] / 5


def states(factor: float) -> tuple[Tensor, Tensor]:
    return (
        (factor * torch.tensor([1.0, 0.5])).requires_grad_(),
        (factor * torch.tensor([1 + 0j, 0.5 - 0.5j, 0.2j])).requires_grad_(),
    )


def grid(func: nn.Module, y0: object, t: Tensor) -> Tensor:
    return torch.linspace(float(t[0]), float(t[-1]), 10) ** 2 / float(t[-1])


def interface(
    integrate: Callable[..., tuple[Tensor, Tensor]], factor: float, **settings: object
) -> Found:
    field, y0 = Pair(), states(factor)
    x, z = integrate(field, y0, TIMES, **settings)
    forward = field.calls
    # A small loss: its size counts in the absolute tolerance of the backward solve.
    (1e-3 * (x.sin().sum() + z.abs().square().sum())).backward()
    return [forward, field.calls - forward], [x, z, y0[0].grad, y0[1].grad, field.rate.grad]


by_state = {"rtol": (1e-4, 1e-6), "atol": (torch.tensor([1e-4, 1e-5]), 1e-6)}
CASES |= {
    "odeint": lambda factor: interface(odeint, factor, **by_state),
    "odeint, options": lambda factor: interface(
        odeint,
        factor,
        rtol=1e-4,
        atol=1e-5,
        method="bosh3",
        options={"first_step": 0.05, "ifactor": 2.0, "norm": lambda s: s[0].abs().max()},
    ),
    "odeint, grid": lambda factor: interface(
        odeint, factor, method="rk4", options={"grid_constructor": grid}
    ),
    "odeint_adjoint": lambda factor: interface(odeint_adjoint, factor, rtol=1e-5, atol=1e-5),
    "odeint_adjoint, seminorm by tsit5": lambda factor: interface(
        odeint_adjoint,
        factor,
        method="midpoint",
        options={"step_size": 0.05},
        adjoint_method="tsit5",
        adjoint_rtol=1e-4,
        adjoint_atol=1e-4,
        adjoint_options={"norm": "seminorm"},
    ),
}


@case
def odeint_event_back_in_time(factor: float) -> Found:
    field, y0 = Pair(), states(factor)
    time, found = odeint_event(
        field,
        y0,
        torch.tensor(0.5),
        event_fn=lambda t, state: state[0][:1] - 0.8,
        reverse_time=True,
        odeint_interface=odeint_adjoint,
        rtol=1e-5,
        atol=1e-5,
    )
    (time + found[0].sum()).backward()
    return [field.calls], [time, *found, y0[0].grad]


# Models, three training steps each


def trained(
    model: nn.Module, loss: Callable[[], tuple[Tensor, Sequence[SolveStats]]], rate: float = 0.05
) -> Found:
    """Three steps of gradient descent: the cost of each, its loss, and the weights at the end."""
    optimizer = torch.optim.SGD(model.parameters(), rate)
    counts, losses = [], []
    for _ in range(3):
        optimizer.zero_grad()
        value, stats = loss()
        value.backward()
        optimizer.step()
        counts += counted(*stats)
        losses.append(value.detach())
    return counts, [torch.stack(losses), torch.cat([p.reshape(-1) for p in model.parameters()])]


def images(count: int, factor: float) -> Tensor:
    return factor * torch.rand(count, 1, 28, 28)


def classified(model: nn.Module, x: Tensor) -> Found:
    def loss() -> tuple[Tensor, Sequence[SolveStats]]:
        logits, stats = model(x)
        return nn.functional.cross_entropy(logits, torch.arange(len(x))), [stats]

    return trained(model, loss)


CASES |= {
    f"classifier, {name}": lambda factor, name=name: classified(
        classifier(name, tolerance=1e-3), images(2, factor)
    )
    for name in MODELS
}


@case
def a_small_ode_net(factor: float) -> Found:
    solver = Solver("dopri5", Adaptive(1e-3, 1e-3), "adjoint")
    stem = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), Downsample(4))
    block, head = ODEBlock(ConvField(4), solver), nn.Sequential(nn.Flatten(), nn.Linear(196, 10))
    return classified(Classifier(stem, block, head), images(4, factor))


def fitted(flow: ContinuousFlow, points: Tensor, effort: bool = False) -> Found:
    """Densities of points and of samples; the third step's flow is looked at in the middle."""

    def loss() -> tuple[Tensor, Sequence[SolveStats]]:
        log_p, stats = flow.log_prob(points, effort=effort)
        x, log_q, back = flow(points.detach(), effort=effort)
        return log_q.mean() + x.square().mean() - log_p.mean(), [stats, back]

    counts, values = trained(flow, loss)
    return counts, [*values, flow.path(points, (0.0, 0.5, 1.0))]


FLOW = Solver("dopri5", Adaptive(1e-4, 1e-4), "checkpoint")


@case
def a_flow_with_exact_trace(factor: float) -> Found:
    return fitted(ContinuousFlow(ExactTrace(MLPField(2, 8, 2)), FLOW), factor * torch.randn(6, 2))


@case
def a_flow_with_estimated_trace(factor: float) -> Found:
    noise = torch.randn(6, 2).sign()
    flow = ContinuousFlow(EstimatedTrace(MLPField(2, 8, 2), noise), FLOW)
    return fitted(flow, factor * torch.randn(6, 2))


@case
def a_field_without_a_trace(factor: float) -> Found:
    class Wind(nn.Module):
        def forward(self, t: float, z: Tensor) -> Tensor:
            return torch.full_like(z, 2 * t, requires_grad=False).detach()

    log_p, stats = ContinuousFlow(ExactTrace(Wind()), FLOW).log_prob(factor * torch.randn(6, 2))
    return counted(stats), [log_p]


@case
def planar_flows_side_by_side(factor: float) -> Found:
    field, points = PlanarField(4, seeds=(0, 1)), factor * torch.randn(2, 6, 2)
    solver = Solver(Foreseen(METHODS["dopri5"], field), Adaptive(1e-4, 1e-4), "adjoint")
    return fitted(ContinuousFlow(field, solver), points)


@case
def planar_flow_with_effort(factor: float) -> Found:
    points = factor * torch.randn(1, 6, 2)
    return fitted(ContinuousFlow(PlanarField(4), FLOW), points, effort=True)


@case
def planar_layers(factor: float) -> Found:
    flow, x = PlanarLayers(3, seeds=(0, 1)), factor * torch.randn(2, 6, 2)
    counts, values = trained(flow, lambda: (-flow.log_prob(x).mean(), []))
    with torch.no_grad():
        return counts, [*values, *flow.inverse(x), flow.only(slice(1, None))(x)[0]]


def curves(factor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of three curves the index, times and values of five of twenty points."""
    index = torch.rand(3, 20).argsort(1)[:, :5].sort(1).values
    times = torch.linspace(0, 8, 20)[index]
    return index, times, factor * torch.randn(3, 5, 2)


def latent_ode(timed: bool, factor: float) -> Found:
    model, (index, times, values) = LatentODE(timed=timed), curves(factor)
    ts, generator = torch.linspace(0, 8, 20), torch.Generator().manual_seed(0)

    def loss() -> tuple[Tensor, Sequence[SolveStats]]:
        settings = {"ts": ts, "index": index, "noise": 0.5, "kl_weight": 0.7}
        value, stats = model.loss(times, values, **settings, generator=generator)
        return value, [stats]

    counts, found = trained(model, loss, rate=1e-3)
    return counts, [*found, model(times, values, ts)[0]]


def recurrent(gap: bool, factor: float) -> Found:
    model, (_, times, values) = RNN(gap), curves(factor)
    counts, found = trained(model, lambda: (model.loss(times, values), []), rate=1e-2)
    return counts, [*found, model.extrapolate(times, values, torch.linspace(8, 12, 7), 0.5)]


CASES |= {
    "latent ODE": lambda factor: latent_ode(True, factor),
    "latent ODE without times": lambda factor: latent_ode(False, factor),
    "RNN": lambda factor: recurrent(False, factor),
    "RNN with gaps": lambda factor: recurrent(True, factor),
}


@case
def a_poisson_process(factor: float) -> Found:
    model = poisson_path()
    events = [factor * t for t in (0.5, 1.25, 1.25, 3.0)]

    def loss() -> tuple[Tensor, Sequence[SolveStats]]:
        nats, path = model.log_likelihood(events, 4.0, sequences=2)
        return -nats, [path.stats]

    return trained(model, loss)


# Comparison


@contextmanager
def same_everywhere() -> Iterator[None]:
    """Double precision, one thread, one seed."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


def made(name: str, factor: float = 1.0) -> tuple[list[int], list[list[float]]]:
    """The counts, and of each value its norm and a sum with weights that no two entries share."""
    with same_everywhere():
        counts, values = CASES[name](factor)
        real = [torch.view_as_real(x) if x.is_complex() else x.double() for x in values]
        flat = [x.detach().reshape(-1) for x in real]
        return counts, [[float(x.norm()), float(x @ torch.arange(len(x)).cos())] for x in flat]


def differences(found: list[list[float]], stored: list[list[float]]) -> list[float]:
    """Of each value, in units of its norm."""
    return [
        max(abs(a - b) for a, b in zip(x, y, strict=True)) / max(y[0], 1e-12)
        for x, y in zip(found, stored, strict=True)
    ]


def stored() -> dict:
    return json.loads(FILE.read_text())


def test_the_golden_values_are_those_of_this_numerics():
    assert stored()["numerics"] == odenet.NUMERICS, ADVICE
    assert stored()["cases"].keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    counts, values = made(name)
    golden = stored()["cases"][name]
    assert counts == golden["counts"], ADVICE
    assert max(differences(values, golden["values"])) < TOLERANCE, ADVICE


def write() -> None:
    """Write the golden values, each of which must hold on other machines too.

    Exits where counts hang on rounding: where they change with the start by a 1e-10th. And where
    values have changed, but ``odenet.NUMERICS`` has not.
    """
    cases, old = {}, stored() if FILE.exists() else {"numerics": None, "cases": {}}
    for name in CASES:
        counts, values = made(name)
        for factor in (1 - 1e-10, 1 + 1e-10):
            others, near = made(name, factor)
            if others != counts or max(differences(near, values)) > TOLERANCE / 10:
                sys.exit(f"{name}: hangs on rounding: {counts} and {others}")
        before = old["cases"].get(name)
        if before and old["numerics"] == odenet.NUMERICS:
            changed = counts != before["counts"]
            if changed or max(differences(values, before["values"])) > TOLERANCE:
                sys.exit(f"{name}: the values have changed: raise odenet.NUMERICS first")
        cases[name] = {"counts": counts, "values": values}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(cases[name])}" for name in cases)
    FILE.write_text(f'{{"numerics": {odenet.NUMERICS}, "cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    write()
