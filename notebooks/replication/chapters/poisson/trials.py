"""Figure 7: the rate of events, and its integral, learned along one latent path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, pi
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.poisson import LATENT, PoissonPath, poisson_path
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveStats
from replication.compiled_training import compiled_solves
from replication.training import Learner, Row, Schedule, column, save_atomically, train

DURATION = 10.0
BURSTS = ((2.0, 4.0), (6.0, 8.0))  # each of ten events, in the middles of ten equal parts
CLIP = 10.0
START = 1000  # seeds of the same events' starts lie this far apart
EPOCH = 50  # steps between two checkpoints
GRID = 401  # points of the curves that are returned
TIGHT = Solver("dopri5", Adaptive(1e-8, 1e-8))


@dataclass(frozen=True)
class Trial:
    """One path fitted to events: the twenty of the two bursts, or some drawn from a known rate."""

    events: str = "bursts"  # bursts | bumps, which are drawn anew for each seed
    sequences: int = 1  # independent records of [0, 10] that share the rate; bursts: 1
    seed: int = 0  # of the events drawn and, with start, of the weights and z(0)
    start: int = 0  # another beginning of the fit to the same events
    iterations: int = 1000  # gradient steps, rounded up to a multiple of 50
    rate: float = 2e-2  # Adam's learning rate, falling along a cosine to a hundredth
    tolerance: float = 1e-5  # of the training's solves
    compiled: bool = False  # the training's solves


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished fit, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. Log-likelihoods are
    in nats, rates in events per unit of time. ``integral``: of the rate, from a solve with the
    training's tolerance; ``quadrature``: by Simpson's rule over the rates of a path solved without
    it. ``curve``: ts, z and rate of that path, and the solve's integral up to ts. ``burst_share``:
    of the quadrature that lies in the bursts. ``rate_error`` and ``constant_error``, None where
    the true rate is not known: the integral of |rate - true| over that of the true rate, for the
    fit and for the best constant rate.
    """
    events = data(trial)
    model = _model(trial)
    schedule = Schedule(-(-trial.iterations // EPOCH), EPOCH, 1, CLIP)
    with compiled_solves(model, trial.compiled):
        history = train(
            _learner(trial, model, schedule),
            schedule,
            lambda members, step: _loss(trial, model, events),
            evaluate=dict,
            checkpoint=folder / "checkpoint.pt",
            title=f"{trial.events} seed {trial.seed}.{trial.start}",
        )
    save_atomically(model.state_dict(), folder / "weights.pt")
    return {**_scores(trial, model.eval(), events), **_costs(history)}


def data(trial: Trial) -> list[float]:
    """The events of all sequences together, ascending. Raises ValueError for an unknown kind."""
    if trial.events == "bursts":
        return bursts() * trial.sequences
    if trial.events in KNOWN:
        generator = torch.Generator().manual_seed(trial.seed)
        return simulate(KNOWN[trial.events], trial.sequences, generator)
    known = ", ".join(("bursts", *KNOWN))
    raise ValueError(f"unknown events {trial.events!r}; known: {known}")


def bursts() -> list[float]:
    """Twenty events: the middles of the ten equal parts of each burst."""
    return [low + (high - low) * (i + 0.5) / 10 for low, high in BURSTS for i in range(10)]


def bumps(ts: Tensor) -> Tensor:
    """A rate that is known: two bumps over a small base, 20 events to be expected in 10."""
    base, width = 0.2, 0.5
    peak = (20 - base * DURATION) / (2 * width * (2 * pi) ** 0.5)
    return base + peak * sum(torch.exp(-(((ts - at) / width) ** 2) / 2) for at in (3.0, 7.0))


KNOWN = MappingProxyType({"bumps": bumps})


def simulate(
    rate: Callable[[Tensor], Tensor], sequences: int, generator: torch.Generator
) -> list[float]:
    """The events of so many sequences over [0, 10] with a given rate, all together, ascending.

    Drawn by thinning: events of a constant rate above all of ``rate``, each kept with the
    probability rate / constant.
    """
    grid = torch.linspace(0, DURATION, 10_001, dtype=torch.float64)
    most = 1.01 * float(rate(grid).max())
    expected = torch.tensor(most * DURATION * sequences, dtype=torch.float64)
    count = int(torch.poisson(expected, generator=generator))
    at = DURATION * torch.rand(count, dtype=torch.float64, generator=generator)
    kept = torch.rand(count, dtype=torch.float64, generator=generator) * most < rate(at)
    return at[kept].sort().values.tolist()


def load(trial: Trial, folder: Path) -> PoissonPath:
    """The model that ``run`` fitted, in evaluation mode."""
    model = _model(trial)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model.eval()


def constant_nats(events: int, duration: float, sequences: int = 1) -> float:
    """The log-likelihood of the best constant rate, events / (sequences * duration), in nats."""
    return events * log(events / (sequences * duration)) - events


def simpson(values: Tensor, width: float) -> float:
    """The integral over an interval so wide of values at equal distances, an odd number of them."""
    if len(values) % 2 == 0:
        raise ValueError(f"Simpson's rule needs an odd number of values, got {len(values)}")
    weights = torch.ones(len(values), dtype=values.dtype)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return float((weights * values).sum() * width / (len(values) - 1) / 3)


def _model(trial: Trial) -> PoissonPath:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed + START * trial.start)
        model = poisson_path(LATENT)
    model.solver = Solver("dopri5", Adaptive(trial.tolerance, trial.tolerance), "backprop")
    return model


def _learner(trial: Trial, model: PoissonPath, schedule: Schedule) -> Learner:
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.rate)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1), eta_min=trial.rate / 100)
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def _loss(trial: Trial, model: PoissonPath, events: Sequence[float]) -> tuple[Tensor, SolveStats]:
    """Nats lost for each twenty events, so that one learning rate does for any number of them."""
    nats, path = model.log_likelihood(events, DURATION, sequences=trial.sequences)
    return -nats * 20 / len(events), path.stats


@torch.no_grad()
def _scores(trial: Trial, model: PoissonPath, events: Sequence[float]) -> dict[str, Any]:
    nats, path = model.log_likelihood(events, DURATION, sequences=trial.sequences)
    ts = torch.linspace(0, DURATION, GRID, dtype=torch.float64)
    constant = torch.full_like(ts, len(events) / (DURATION * trial.sequences))
    z = path_alone(model, ts.tolist())
    rate = model.both.log_rate(z)[:, 0].exp()
    inside = [simpson(rate[_between(ts, *burst)], burst[1] - burst[0]) for burst in BURSTS]
    quadrature = simpson(rate, DURATION)
    return {
        "events": len(events),
        "log_likelihood": float(nats),
        "constant_nats": constant_nats(len(events), DURATION, trial.sequences),
        "integral": float(path.integral[-1]),
        "quadrature": quadrature,
        "burst_share": sum(inside) / quadrature,
        "rate_error": _rate_error(trial, ts, rate),
        "constant_error": _rate_error(trial, ts, constant),
        "curve": {
            "ts": ts.tolist(),
            "rate": rate.tolist(),
            "z": z.tolist(),
            "integral": model(ts.tolist()).integral.tolist(),
        },
        "nfe": path.stats.forward.nfe,
    }


@torch.no_grad()
def path_alone(model: PoissonPath, ts: Sequence[float]) -> Tensor:
    """The latent states (times, latent), by a tight solve that knows nothing of the integral."""
    return solve(model.both.field, model.start, ts, TIGHT).ys


def _between(ts: Tensor, low: float, high: float) -> Tensor:
    half = (ts[1] - ts[0]) / 2  # the ends of the bursts lie on the grid, up to rounding
    return (ts > low - half) & (ts < high + half)


def _rate_error(trial: Trial, ts: Tensor, rate: Tensor) -> float | None:
    if trial.events not in KNOWN:
        return None
    true = KNOWN[trial.events](ts)
    return simpson((rate - true).abs(), DURATION) / simpson(true, DURATION)


def _costs(history: list[Row]) -> dict[str, Any]:
    seconds = [s for s in column(history, "seconds") if s is not None]
    per_step = column(history, "train_loss")
    return {
        "seconds": sum(seconds),
        "history": {"epoch": column(history, "epoch"), "loss": per_step},
    }
