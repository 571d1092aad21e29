"""Figure 7: the rate of events, and its integral, learned along one latent path."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, pi
from pathlib import Path
from typing import Any

import torch
from scipy.integrate import simpson
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.poisson import LATENT, PoissonPath, poisson_path
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveError, SolveStats
from replication.compiled_training import compiled_solves
from replication.training import Learner, Schedule, column, save_atomically, train

DURATION = 10.0
BURSTS = ((2.0, 4.0), (6.0, 8.0))  # each of ten events, in the middles of ten equal parts
RATE, CLIP = 2e-2, 10.0  # Adam's learning rate, falling along a cosine to a hundredth
START = 1000  # seeds of the same events' starts lie this far apart
EPOCH = 50  # steps between two checkpoints
GRID = torch.linspace(0, DURATION, 401, dtype=torch.float64)  # of the curves that are returned
TIGHT = Solver("dopri5", Adaptive(1e-8, 1e-8))


@dataclass(frozen=True)
class Trial:
    """One path fitted to events: the twenty of the two bursts, or some drawn from a known rate."""

    events: str = "bursts"  # bursts | bumps, which are drawn anew for each seed
    sequences: int = 1  # independent records of [0, 10] that share the rate; bursts: 1
    seed: int = 0  # of the events drawn and, with start, of the weights and z(0)
    start: int = 0  # another beginning of the fit to the same events
    iterations: int = 1000  # gradient steps, rounded up to a multiple of 50
    tolerance: float = 1e-5  # of the training's solves
    compiled: bool = False  # the training's solves


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished fit, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. Log-likelihoods are
    in nats, rates in events per unit of time. ``integral``: of the rate, from a solve with the
    training's tolerance; ``quadrature``: by Simpson's rule over the rates of a path solved without
    it. ``curve``: ts, z and rate of that path, and the solve's integral up to ts. ``burst_share``:
    of the quadrature that lies in the bursts. Where the true rate is known, ``rate_error`` and
    ``constant_error``: the integral of |rate - true| over that of the true rate, for the fit and
    for the best constant rate. Of a fit that breaks off, ``log_likelihood`` alone: minus infinity.
    """
    events = data(trial)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed + START * trial.start)
        model = poisson_path(LATENT)
    model.solver = Solver("dopri5", Adaptive(trial.tolerance, trial.tolerance), "backprop")
    schedule = Schedule(-(-trial.iterations // EPOCH), EPOCH, 1, CLIP)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1), eta_min=RATE / 100)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        # For each twenty events, so that one learning rate does for any number of them.
        nats, path = model.log_likelihood(events, DURATION, sequences=trial.sequences)
        return -nats * 20 / len(events), path.stats

    try:
        with compiled_solves(model, trial.compiled):
            history = train(
                Learner(model, optimizer, scheduler, torch.Generator()),
                schedule,
                loss,
                evaluate=dict,
                checkpoint=folder / "checkpoint.pt",
                title=f"{trial.events} seed {trial.seed}.{trial.start}",
            )
    except (FloatingPointError, SolveError):
        return {"log_likelihood": -inf}
    save_atomically(model.state_dict(), folder / "weights.pt")
    losses = {"loss": column(history, "train_loss")}
    return {**_scores(trial, model.eval(), events), "history": losses}


def data(trial: Trial) -> list[float]:
    """The events of all sequences together, ascending. Raises ValueError for an unknown kind."""
    if trial.events == "bursts":
        return bursts() * trial.sequences
    if trial.events == "bumps":
        return simulate(trial.sequences, torch.Generator().manual_seed(trial.seed))
    raise ValueError(f"unknown events {trial.events!r}; known: bursts, bumps")


def bursts() -> list[float]:
    """Twenty events: the middles of the ten equal parts of each burst."""
    return [low + (high - low) * (i + 0.5) / 10 for low, high in BURSTS for i in range(10)]


def bumps(ts: Tensor) -> Tensor:
    """A rate that is known: two bumps over a small base, 20 events to be expected in 10."""
    base, width = 0.2, 0.5
    peak = (20 - base * DURATION) / (2 * width * (2 * pi) ** 0.5)
    return base + peak * sum(torch.exp(-(((ts - at) / width) ** 2) / 2) for at in (3.0, 7.0))


def simulate(sequences: int, generator: torch.Generator) -> list[float]:
    """The events of so many sequences over [0, 10] with the rate ``bumps``, ascending.

    Drawn by thinning: events of a constant rate above all of it, each kept with the probability
    rate / constant.
    """
    grid = torch.linspace(0, DURATION, 10_001, dtype=torch.float64)
    most = 1.01 * float(bumps(grid).max())
    expected = torch.tensor(most * DURATION * sequences, dtype=torch.float64)
    count = int(torch.poisson(expected, generator=generator))
    at = DURATION * torch.rand(count, dtype=torch.float64, generator=generator)
    kept = torch.rand(count, dtype=torch.float64, generator=generator) * most < bumps(at)
    return at[kept].sort().values.tolist()


def constant_nats(events: int, duration: float, sequences: int = 1) -> float:
    """The log-likelihood of the best constant rate, events / (sequences * duration), in nats."""
    return events * log(events / (sequences * duration)) - events


@torch.no_grad()
def _scores(trial: Trial, model: PoissonPath, events: Sequence[float]) -> dict[str, Any]:
    nats, path = model.log_likelihood(events, DURATION, sequences=trial.sequences)
    z = solve(model.both.field, model.start, GRID.tolist(), TIGHT).ys
    rate = model.both.log_rate(z)[:, 0].exp()
    quadrature = _integral(rate)
    scores = {
        "events": len(events),
        "log_likelihood": float(nats),
        "constant_nats": constant_nats(len(events), DURATION, trial.sequences),
        "integral": float(path.integral[-1]),
        "quadrature": quadrature,
        "burst_share": sum(_integral(rate, *burst) for burst in BURSTS) / quadrature,
        "curve": {
            "ts": GRID.tolist(),
            "rate": rate.tolist(),
            "z": z.tolist(),
            "integral": model(GRID.tolist()).integral.tolist(),
        },
    }
    if trial.events == "bumps":
        true = bumps(GRID)
        constant = len(events) / (DURATION * trial.sequences)
        scores["rate_error"] = _integral((rate - true).abs()) / _integral(true)
        scores["constant_error"] = _integral((constant - true).abs()) / _integral(true)
    return scores


def _integral(values: Tensor, low: float = 0.0, high: float = DURATION) -> float:
    """By Simpson's rule, from values on the grid, of which the ends are points up to rounding."""
    inside = (GRID > low - 1e-9) & (GRID < high + 1e-9)
    return float(simpson(values[inside].numpy(), x=GRID[inside].numpy()))
