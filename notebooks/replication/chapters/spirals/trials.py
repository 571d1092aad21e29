"""Table 2: one training of one model on spirals, and how well it goes on with others."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.latent import RNN, LatentODE
from odenet.solvers import SolveStats
from replication.compiled_training import compiled_solves
from replication.data import spirals
from replication.data.spirals import STEP, WINDOW, Spirals
from replication.training import Learner, Schedule, save_atomically, train

BATCH_SIZE = 50
NOISE = 0.1  # of the observations, in each coordinate
START = 1000  # seeds of the same spirals' starts lie this far apart
# The model, and the length to which its gradients are cut.
RECIPES: dict[str, tuple[Callable[[], LatentODE | RNN], float]] = {
    "latent_ode": (LatentODE, 10.0),  # gaps and times, as rnn_told
    "latent_ode_untimed": (partial(LatentODE, timed=False), 10.0),  # neither, as rnn
    "rnn": (partial(RNN, gap=False), 5.0),
    "rnn_gap": (partial(RNN, gap=True), 5.0),
    "rnn_told": (partial(RNN, gap=True, clock=True), 5.0),
}


@dataclass(frozen=True)
class Trial:
    """One training on spirals of which ``observed`` of 100 points are seen, with noise."""

    model: str = "latent_ode"  # a key of RECIPES
    observed: int = 100
    seed: int = 0  # of the spirals and, with start, of all else that is random
    start: int = 0  # other initial weights, batches and posterior samples for the same spirals
    iterations: int = 2200  # rounded up to whole passes over the training curves
    train_size: int = 1000
    test_size: int = 500
    validation_size: int = 200
    family: str = "log"  # log | archimedean
    compiled: bool = False  # the latent ODE's solves in training
    rate: float = 0.01  # Adam's, which falls along a cosine to a hundredth


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted.
    ``validation_loss``: the objective of the training on the validation spirals, of which, as in
    training, only the noisy observations are used. All errors are root mean squares per coordinate
    against the noise-free test curves. ``rmse_extrapolation``: over the 100 grid points after the
    window; for an RNN one for each stride of its roll-out, by name: "trained", the mean gap
    between observations, and "grid", the step of the grid. ``rmse_window``: of the latent ODE over
    the 100 grid points of the window, of an RNN over its one-step predictions of the observations
    1, 2, ... Of a training that breaks off: ``validation_loss`` alone, NaN.
    """
    if trial.model not in RECIPES:
        raise ValueError(f"unknown model {trial.model!r}; known: {', '.join(RECIPES)}")
    curves, test = data(trial)
    model = _model(trial).train()
    _, clip = RECIPES[trial.model]
    passes = -(-trial.iterations // -(-trial.train_size // BATCH_SIZE))
    schedule = Schedule(passes, trial.train_size, BATCH_SIZE, clip)
    # Fused: the same steps to rounding, and a seventh less of the training's time.
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.rate, fused=True)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1), eta_min=trial.rate / 100)
    generator = torch.Generator().manual_seed(trial.seed + START * trial.start)

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        # The latent ODE's divergence grows to full weight half-way.
        return _loss(model, curves[members], min(1.0, 2 * step / schedule.steps), generator)

    try:
        with compiled_solves(model, trial.compiled and isinstance(model, LatentODE)):
            train(
                Learner(model, optimizer, scheduler, generator),
                schedule,
                loss,
                evaluate=dict,
                checkpoint=folder / "checkpoint.pt",
                title=f"{trial.model} {trial.observed}/{WINDOW} seed {trial.seed}.{trial.start}",
            )
    except FloatingPointError:
        return {"validation_loss": math.nan}
    save_atomically(model.state_dict(), folder / "weights.pt")
    unseen = spirals.validation(trial.validation_size, **_kind(trial))
    with torch.no_grad():
        fresh = torch.Generator().manual_seed(trial.seed)
        validation, _ = _loss(model.eval(), unseen, 1.0, fresh)
    return {"validation_loss": float(validation), **_scores(model, test)}


def load(trial: Trial, folder: Path) -> LatentODE | RNN:
    """The model that ``run`` trained, in evaluation mode."""
    model = _model(trial)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model


def data(trial: Trial) -> tuple[Spirals, Spirals]:
    """The training and the test spirals of a trial."""
    return spirals.load(trial.train_size, trial.test_size, **_kind(trial))


def strides(observed: int) -> dict[str, float]:
    """The lengths of time that one step of an RNN's roll-out can be taken to go."""
    # Of so many points drawn from the window, sorted, two neighbours lie this far apart on average.
    return {"trained": STEP * ((WINDOW + 1) / (observed + 1)), "grid": STEP}


def chosen(results: Iterable[dict[str, Any]]) -> int:
    """The place of the training with the lowest validation loss, of which NaN is the highest."""
    losses = [result["validation_loss"] for result in results]
    return min(range(len(losses)), key=lambda i: (math.isnan(losses[i]), losses[i]))


def _kind(trial: Trial) -> dict[str, Any]:
    same = {"observed": trial.observed, "family": trial.family, "seed": trial.seed}
    return {**same, "noise": NOISE}


def _model(trial: Trial) -> LatentODE | RNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed + START * trial.start)
        return RECIPES[trial.model][0]().eval()


def _loss(
    model: LatentODE | RNN, curves: Spirals, kl_weight: float, generator: torch.Generator
) -> tuple[Tensor, SolveStats]:
    if isinstance(model, RNN):
        return model.loss(curves.times, curves.values), SolveStats()
    return model.loss(
        curves.times,
        curves.values,
        ts=curves.ts[:WINDOW],
        index=curves.index,
        noise=NOISE,
        kl_weight=kl_weight,
        generator=generator,
    )


@torch.no_grad()
def predict(model: LatentODE | RNN, curves: Spirals) -> dict[str, Tensor]:
    """The curves as the model continues them from what it saw, by the name of the roll-out.

    A latent ODE, "whole": (curves, 200, 2), the window included. An RNN, for each name of
    ``strides``: (curves, 100, 2), what comes after the window.
    """
    if isinstance(model, LatentODE):
        return {"whole": model(curves.times, curves.values, curves.ts)[0]}
    return {
        name: model.extrapolate(curves.times, curves.values, curves.ts[WINDOW:], stride)
        for name, stride in strides(curves.index.shape[1]).items()
    }


@torch.no_grad()
def _scores(model: LatentODE | RNN, test: Spirals) -> dict[str, Any]:
    seen, unseen = test.clean[:, :WINDOW], test.clean[:, WINDOW:]
    paths = predict(model, test)
    if isinstance(model, LatentODE):
        inside, outside = paths["whole"].split((WINDOW, len(unseen[0])), 1)
        return {"rmse_window": rmse(inside, seen), "rmse_extrapolation": rmse(outside, unseen)}
    predicted, _ = model(test.times, test.values)
    truth = seen[torch.arange(len(test))[:, None], test.index[:, 1:]]
    errors = {name: rmse(path, unseen) for name, path in paths.items()}
    return {"rmse_window": rmse(predicted, truth), "rmse_extrapolation": errors}


def rmse(predicted: Tensor, truth: Tensor) -> float:
    """The root mean square difference, over all curves, times and coordinates."""
    return float((predicted - truth).square().mean().sqrt())


def rmse_by_curve(predicted: Tensor, truth: Tensor) -> Tensor:
    """The root mean square difference of each curve, over its times and coordinates."""
    return (predicted - truth).square().mean((1, 2)).sqrt()
