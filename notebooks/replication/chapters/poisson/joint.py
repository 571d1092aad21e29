"""Section 5 in full: a path observed with noise sets the rate of events; both are fitted at once.

The truth is known. A path winds inwards and comes twice by a place where events are frequent, so
that a rate which depends on nothing but the path has two bumps, as that of Figure 7.
"""

from dataclasses import dataclass
from math import inf, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import simpson
from torch import Tensor
from torch.distributions import Normal
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.poisson import PoissonPath, poisson_path
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, SolveError, SolveStats
from replication.chapters.poisson.trials import CLIP, DURATION, EPOCH, GRID, RATE, START, TIGHT
from replication.compiled_training import compiled_solves
from replication.training import Learner, Row, Schedule, column, save_atomically, train

# Two dimensions are the place. Chosen, as were 100 observations, after pilots (seeds 900 to 903),
# in which some fits ended far from the truth.
LATENT = 4
NOISE = 0.1  # standard deviation of each coordinate of an observation
EXPECTED = 20  # events in a record
TURN = 5.0  # units of time
# What a fit sees: the weights of its two log-likelihoods.
WEIGHTS = {"both": (1.0, 1.0), "observations": (1.0, 0.0), "events": (0.0, 1.0)}


@dataclass(frozen=True)
class Trial:
    """One path and its rate, fitted to observations and events that are drawn for each seed."""

    sees: str = "both"  # both | observations | events
    observations: int = 5  # of the path in each record, at random times
    sequences: int = 20  # independent records of the same path
    seed: int = 0  # of observations and events and, with start, of the weights and z(0)
    start: int = 0  # another beginning of the fit to the same data
    iterations: int = 1000  # gradient steps, rounded up to a multiple of 50
    tolerance: float = 1e-5  # of the training's solves
    compiled: bool = False  # the training's solves


@dataclass(frozen=True)
class Data:
    """Ascending times, the places (times, 2) observed there, and the events of all records."""

    times: list[float]
    places: Tensor
    events: list[float]


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished fit, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. Two coordinates of
    the latent path are the place. ``log_likelihood``: in nats, of what the fit sees.
    ``path_error``: the root mean square over time of the error of a coordinate. ``rate_error`` and
    ``constant_error``: the integral of |rate - true| over that of the true rate, for the fit and
    for the best constant rate. ``curve``: ts, z (the place) and rate of the fit. ``data``: what
    was drawn, as in ``Data``. Of a fit that breaks off, ``log_likelihood`` alone: minus infinity.

    Raises ValueError for a fit that sees something unknown.
    """
    if trial.sees not in WEIGHTS:
        raise ValueError(f"a fit cannot see {trial.sees!r}; known: {', '.join(WEIGHTS)}")
    data = draw(trial)
    try:
        model, history = fit(trial, data, folder / "checkpoint.pt")
    except (FloatingPointError, SolveError):
        return {"log_likelihood": -inf}
    save_atomically(model.state_dict(), folder / "weights.pt")
    losses = {"loss": column(history, "train_loss")}
    return {**_scores(trial, model.eval(), data), "history": losses}


def fit(trial: Trial, data: Data, checkpoint: Path) -> tuple[PoissonPath, list[Row]]:
    """A path and its rate that have climbed the likelihood of ``data``, and how they did."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed + START * trial.start)
        model = poisson_path(LATENT)
    tolerances = Adaptive(trial.tolerance, trial.tolerance)
    model.solver = Solver("dopri5", tolerances, "backprop")
    schedule = Schedule(-(-trial.iterations // EPOCH), EPOCH, 1, CLIP)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = max(schedule.steps, 1)
    scheduler = CosineAnnealingLR(optimizer, steps, eta_min=RATE / 100)
    size = len(data.times) + len(data.events)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        # For each twenty of what is observed, as in the fits to events alone.
        nats, stats = log_likelihood(model, data, trial)
        return -nats * 20 / size, stats

    with compiled_solves(model, trial.compiled):
        history = train(
            Learner(model, optimizer, scheduler, torch.Generator()),
            schedule,
            loss,
            evaluate=dict,
            checkpoint=checkpoint,
            title=f"{trial.sees} seed {trial.seed}.{trial.start}",
        )
    return model, history


def true_path(ts: Tensor) -> Tensor:
    """The place (..., 2) at ``ts``: two turns around zero, from a radius of 1.2 to 0.73."""
    angle, radius = 2 * pi * ts / TURN, 1.2 * torch.exp(-0.05 * ts)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), -1)


def true_rate(places: Tensor) -> Tensor:
    """Events per unit of time: a base of 0.2 and, around one place, a bell of width 0.5.

    The place lies between the two turns, where the path is at times 3 and 8.
    """
    centre = true_path(torch.tensor([3.0, 8.0], dtype=torch.float64)).mean(0)

    def bell(at: Tensor) -> Tensor:
        return torch.exp(-(at - centre).square().sum(-1) / (2 * 0.5**2))

    base = 0.2
    return base + (EXPECTED - base * DURATION) / integral(bell(true_path(GRID))) * bell(places)


def draw(trial: Trial) -> Data:
    """Times are uniform, the noise is normal, the events are a Poisson process."""
    generator = torch.Generator().manual_seed(trial.seed)
    exact: Any = {"dtype": torch.float64, "generator": generator}
    seen = trial.observations * trial.sequences
    times = DURATION * torch.rand(seen, **exact).sort().values
    noise = NOISE * torch.randn(seen, 2, **exact)
    grid = torch.linspace(0, DURATION, 10_001, dtype=torch.float64)
    expected = torch.cumulative_trapezoid(true_rate(true_path(grid)), grid)
    count = int(torch.poisson(trial.sequences * expected[-1], generator=generator))
    # Uniform in expected events, an event's time is where so many are to be expected before it.
    before = (expected[-1] * torch.rand(count, **exact)).sort().values
    events = np.interp(before.numpy(), [0.0, *expected.tolist()], grid.numpy())
    return Data(times.tolist(), true_path(times) + noise, events.tolist())


def log_likelihood(
    model: PoissonPath,
    data: Data,
    trial: Trial,
) -> tuple[Tensor, SolveStats]:
    """Of what the fit sees, in nats, by one solve; and its cost."""
    stops = sorted({*data.times, *data.events})
    path = model((0.0, *stops, DURATION))  # the one solve
    place = {t: i for i, t in enumerate(stops, 1)}
    z = path.z[[place[t] for t in data.times]]
    log_rates = path.log_rate[[place[t] for t in data.events]]
    seen = Normal(z[:, :2], NOISE).log_prob(data.places).sum()
    happened = log_rates.sum() - trial.sequences * path.integral[-1]
    of_places, of_events = WEIGHTS[trial.sees]
    return of_places * seen + of_events * happened, path.stats


@torch.no_grad()
def _scores(trial: Trial, model: PoissonPath, data: Data) -> dict[str, Any]:
    nats, _ = log_likelihood(model, data, trial)
    z = solve(model.both.field, model.start, GRID.tolist(), TIGHT).ys
    rate = model.both.log_rate(z)[:, 0].exp()
    true = true_rate(true_path(GRID))
    constant = len(data.events) / (DURATION * trial.sequences)
    off = integral((z[:, :2] - true_path(GRID)).square().mean(-1)) / DURATION
    return {
        "log_likelihood": float(nats),
        "path_error": off**0.5,
        "rate_error": integral((rate - true).abs()) / integral(true),
        "constant_error": integral((constant - true).abs()) / integral(true),
        "curve": {"ts": GRID.tolist(), "z": z[:, :2].tolist(), "rate": rate.tolist()},
        "data": {**vars(data), "places": data.places.tolist()},
    }


def integral(values: Tensor) -> float:
    """Over the whole time, by Simpson's rule, of values on the grid."""
    return float(simpson(values.numpy(), x=GRID.numpy()))
