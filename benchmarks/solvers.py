"""`make bench`: time, gradient error and memory of a solve, beside torchdiffeq on the same work.

Every row of a table runs in turn, several rounds, in this process; times are medians, and ratios
are medians of the ratios within a round, so that a machine that slows down slows all rows down.
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
import torchdiffeq
from peers import diffrax_ways, torchdyn_ways, torchode_ways
from torch import Tensor, nn
from torch.nn import functional as F

from odenet import Adaptive, Solver, solve
from odenet.compiled import Compiled, compilations
from odenet.experiments.memory import kept_bytes
from odenet.models.classifier import Classifier, classifier
from odenet.models.fields import TimeConv
from odenet.solvers import METHODS, rk_step

Finish = Callable[[Tensor], list[Tensor]]  # what was solved for -> the result to compare


@dataclass
class Row:
    """One way to solve: its times, what it kept for the backward pass, its result."""

    name: str
    solve: Callable[[], Tensor | list[Tensor]]
    seconds: list[float]
    kept: int = 0
    result: Tensor | None = None


def measure(
    title: str,
    ways: dict[str, Callable[[], Tensor | list[Tensor]]],
    finish: Finish,
    exact: list[Tensor],
    rounds: int,
) -> None:
    """Print a table of the ways; the first one is what the others are compared with."""
    rows = [Row(name, way, []) for name, way in ways.items()]
    for row in rows:
        row.kept, solved = kept_bytes(row.solve)
        row.result = flat(finish(solved) if isinstance(solved, Tensor) else solved)
    for _ in range(rounds):
        for row in rows:
            started = time.perf_counter()
            solved = row.solve()
            if isinstance(solved, Tensor):  # a compiled library differentiates in one go
                finish(solved)
            row.seconds.append(time.perf_counter() - started)
    print(f"\n{title}\n{'':34}{'ms':>9}{'ratio':>8}{'error':>10}{'MB kept':>9}")
    reference = flat(exact)
    for row in rows:
        ratio = median(a / b for a, b in zip(row.seconds, rows[0].seconds, strict=True))
        error = float((row.result - reference).norm() / reference.norm())
        line = f"{row.name:34}{1e3 * median(row.seconds):9.2f}{ratio:8.2f}{error:10.1e}"
        print(f"{line}{row.kept / 1e6:9.2f}", flush=True)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([x.detach().double().reshape(-1) for x in tensors])


class SmallField(nn.Module):
    """2-50-2 on the cube of the state, as in torchdiffeq's demonstration."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        generator = torch.Generator().manual_seed(0)
        for p in self.net.parameters():
            nn.init.normal_(p, 0, 0.1, generator=generator)

    def forward(self, t: float | Tensor, y: Tensor) -> Tensor:
        return self.net(y**3)


def small_field(rounds: int, outputs: int) -> None:
    field = SmallField()
    y0 = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    ts = torch.linspace(0, 25 / 4, outputs)
    tight = Adaptive(1e-7, 1e-9)
    settings = {"rtol": 1e-7, "atol": 1e-9}

    def gradient(ys: Tensor) -> list[Tensor]:
        field.zero_grad()
        ys.abs().mean().backward()
        return [p.grad for p in field.parameters()]

    def ours(rule: str | Compiled) -> Callable[[], Tensor]:
        return lambda: solve(field, y0, ts, Solver("dopri5", tight, rule)).ys

    exact_field = SmallField().double()
    exact = solve(
        exact_field, y0.double(), ts.double(), Solver("dopri8", Adaptive(1e-12, 1e-12))
    ).ys
    exact.abs().mean().backward()
    title = f"Small field, {outputs} outputs, {tight.rtol:g}/{tight.atol:g}"
    theirs = {
        "torchdiffeq odeint": lambda: torchdiffeq.odeint(field, y0, ts, **settings),
        "torchdiffeq odeint_adjoint": lambda: torchdiffeq.odeint_adjoint(field, y0, ts, **settings),
    }
    others = (field, y0, ts, tight.rtol, tight.atol)
    ways = {"odenet": ours("backprop"), "odenet, compiled": ours(Compiled())}
    ways["torchdiffeq"] = theirs["torchdiffeq odeint"]
    ways |= torchode_ways(*others) | torchdyn_ways(*others)
    ways |= diffrax_ways(*others, gradient=False)
    with torch.no_grad():
        measure(f"{title}: forward", ways, lambda ys: [ys], [exact], rounds)
    if outputs > 2:
        overhead(field, y0, ours("backprop"), ours(Compiled()), rounds)
        parts_of_a_step(field, y0, tight, rounds)
    rules = {f"odenet {rule}": ours(rule) for rule in ("backprop", "checkpoint", "adjoint")}
    rules |= {f"{name}, compiled": ours(Compiled(name.split()[1])) for name in list(rules)[1:]}
    exact_gradient = [p.grad for p in exact_field.parameters()]
    theirs |= torchode_ways(*others) | torchdyn_ways(*others)
    theirs |= diffrax_ways(*others, gradient=True)
    title = f"{title}: forward and gradient"
    measure(title, rules | theirs, gradient, exact_gradient, max(rounds // 4, 2))


@torch.no_grad()
def overhead(
    field: nn.Module, y0: Tensor, eager: Callable[[], Tensor], compiled: Callable, rounds: int
) -> None:
    """The time of a solve over that of its evaluations alone, which both kinds make as many of."""
    calls: list[float] = []
    hook = field.register_forward_hook(lambda *_: calls.append(0.0))
    eager()
    hook.remove()
    compiled()
    ratios = []
    for _ in range(rounds):
        times = [time.perf_counter()]
        for part in (lambda: [field(0.0, y0) for _ in calls], eager, compiled):
            part()
            times.append(time.perf_counter())
        alone, *solves = (b - a for a, b in pairwise(times))
        ratios.append([solve / alone for solve in solves])
    first, second = (median(column) for column in zip(*ratios, strict=True))
    print(f"\na forward solve takes {first:.2f} times its {len(calls)} evaluations alone", end="")
    print(f", compiled {second:.2f} times")


@torch.no_grad()
def parts_of_a_step(field: nn.Module, y0: Tensor, control: Adaptive, rounds: int) -> None:
    """Print what one step costs besides its six evaluations: where an overhead comes from."""
    tableau = METHODS["dopri5"].tableau
    step = rk_step(tableau, field, 0.0, 0.1, y0, field(0.0, y0))
    parts = {
        "six evaluations": lambda: [field(0.0, y0) for _ in range(6)],
        "sums of slopes": lambda: rk_step(tableau, lambda t, y: y, 0.0, 0.1, y0, y0),
        "error and verdict": lambda: control.judge(step, None),
        "seven dense outputs": lambda: step([0.01 * i for i in range(1, 8)]),
    }
    print("\nparts of a step, in microseconds")
    for name, part in parts.items():
        seconds = timeit.repeat(part, number=100, repeat=2 * rounds)
        print(f"  {name:32}{1e4 * median(seconds):9.1f}")


class Concatenated(nn.Module):
    """The classifier's field as it is usually written: the time glued on as a channel."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        norms, convs = self.field.norms, self.field.convs
        for norm, conv in zip(norms, convs, strict=False):
            y = glued(conv, t, torch.relu(norm(y)))
        return norms[-1](y)


def glued(conv: TimeConv, t: Tensor, y: Tensor) -> Tensor:
    channel = torch.ones_like(y[:, :1]) * t
    return F.conv2d(torch.cat((channel, y), 1), conv.weight, conv.bias, padding=1)


def mnist_block(rounds: int, trained: bool) -> None:
    model = classifier("odenet", 1e-3, seed=0)
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(128, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 10, (128,), generator=generator)
    if trained:
        sharpen(model, images, labels)
    field, concatenated = model.block.field, Concatenated(model.block.field)
    with torch.no_grad():
        state = model.stem(images)
    ends = torch.tensor([0.0, 1.0])
    settings = {"rtol": 1e-3, "atol": 1e-3}

    start = state.clone().requires_grad_()

    def gradient(end: Tensor) -> list[Tensor]:
        model.zero_grad()
        start.grad = None
        F.cross_entropy(model.head(end), labels).backward()
        return [start.grad, *(p.grad for p in field.parameters())]

    def ours(solver: Solver) -> Callable[[], Tensor]:
        return lambda: solve(field, start, (0.0, 1.0), solver).ys[-1]

    adaptive = Adaptive(1e-3, 1e-3)
    ways = {
        "odenet backprop": ours(Solver("dopri5", adaptive, "backprop")),
        "odenet checkpoint": ours(Solver("dopri5", adaptive, "checkpoint")),
        "odenet adjoint": ours(Solver("dopri5", adaptive, "adjoint")),
        "odenet checkpoint, compiled": ours(Solver("dopri5", adaptive, Compiled("checkpoint"))),
        "odenet adjoint, compiled": ours(Solver("dopri5", adaptive, Compiled("adjoint"))),
        "odenet adjoint, as ODE-Net's": ours(model.block.solver),
        "torchdiffeq odeint": lambda: torchdiffeq.odeint(concatenated, start, ends, **settings)[-1],
        "torchdiffeq odeint_adjoint": lambda: torchdiffeq.odeint_adjoint(
            concatenated, start, ends, **settings
        )[-1],
    }
    tight = ours(Solver("dopri5", Adaptive(1e-6, 1e-6), "checkpoint"))
    exact = [x.clone() for x in gradient(tight())]
    with torch.no_grad():
        both = (ways["odenet backprop"], ways["odenet checkpoint, compiled"])
        overhead(field, state, *both, rounds)
    kind = "after 30 steps of training" if trained else "untrained"
    title = f"MNIST block, batch 128, 1e-3, forward and gradient, {kind}"
    measure(title, ways, gradient, exact, rounds)


def sharpen(model: Classifier, images: Tensor, labels: Tensor) -> None:
    """Thirty steps on one batch, after which the field is no longer that of its initialization."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        logits, _ = model(images, Solver("dopri5", Adaptive(1e-3, 1e-3), "checkpoint"))
        F.cross_entropy(logits, labels).backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {given.rounds} rounds, 1 thread for the small field")
    for outputs in (100, 2):
        small_field(4 * given.rounds, outputs)
    torch.set_num_threads(given.threads)
    print(f"\n{given.threads} threads for the MNIST block")
    mnist_block(given.rounds, trained=False)
    mnist_block(given.rounds, trained=True)
    print("\ncompilations, in seconds with the first run")
    for made in compilations():
        print(f"{made.seconds:9.1f}  {made.what}")


if __name__ == "__main__":
    main()
