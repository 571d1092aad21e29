"""Table 2: one training of one model on spirals, and how well it goes on with others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.models.latent import RNN, LatentODE
from odenet.solvers import SolveStats
from replication.compiled_training import compiled_solves
from replication.data import spirals
from replication.data.spirals import STEP, WINDOW, Spirals
from replication.training import Learner, Loss, Row, Schedule, column, save_atomically, train

BATCH_SIZE = 50
START = 1000  # seeds of the same spirals' starts lie this far apart


@dataclass(frozen=True)
class Recipe:
    build: Callable[[], LatentODE | RNN]
    rate: float  # Adam's learning rate, falling along a cosine to a hundredth
    clip: float  # the length that its gradients are cut to


RECIPES = MappingProxyType(
    {
        "latent_ode": Recipe(LatentODE, 1e-2, 10),
        "latent_ode_untimed": Recipe(partial(LatentODE, timed=False), 1e-2, 10),
        "rnn": Recipe(partial(RNN, gap=False), 2e-2, 5),
        "rnn_gap": Recipe(partial(RNN, gap=True), 2e-2, 5),
    }
)


@dataclass(frozen=True)
class Trial:
    """One training on spirals of which ``observed`` of 100 points are seen, with noise."""

    model: str = "latent_ode"  # latent_ode | latent_ode_untimed | rnn | rnn_gap
    observed: int = 100
    seed: int = 0  # of the spirals and, with start, of all else that is random
    start: int = 0  # other initial weights, batches and posterior samples for the same spirals
    iterations: int = 2200  # rounded up to whole passes over the training curves
    train_size: int = 1000
    test_size: int = 500
    validation_size: int = 200
    family: str = "log"  # log | archimedean
    noise: float = 0.1
    compiled: bool = False  # the latent ODE's solves in training


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted.
    ``validation_loss``: the objective of the training on the validation spirals, of which, as in
    training, only the noisy observations are used. All errors are root mean squares per coordinate
    against the noise-free test curves. ``rmse_extrapolation``: over the 100 grid points after the
    window; for an RNN one for each stride of its roll-out, by name: "trained", the mean gap
    between observations, and "grid", the step of the grid. ``rmse_window``: of the latent ODE over
    the 100 grid points of the window, of an RNN over its one-step predictions of the observations
    1, 2, ...
    """
    train_curves, test_curves = data(trial)
    passes = -(-trial.iterations // -(-trial.train_size // BATCH_SIZE))
    schedule = Schedule(passes, trial.train_size, BATCH_SIZE, _recipe(trial.model).clip)
    model = _model(trial)
    learner = _learner(trial, model, schedule)
    with compiled_solves(model, trial.compiled and isinstance(model, LatentODE)):
        history = train(
            learner,
            schedule,
            _loss(trial, model, learner.generator, train_curves, schedule.steps),
            evaluate=dict,
            checkpoint=folder / "checkpoint.pt",
            title=f"{trial.model} {trial.observed}/{WINDOW} seed {trial.seed}.{trial.start}",
        )
    save_atomically(model.state_dict(), folder / "weights.pt")
    model.eval()
    return {
        "validation_loss": _validation_loss(trial, model),
        **_scores(model, test_curves),
        **_costs(model, history),
    }


def load(trial: Trial, folder: Path) -> LatentODE | RNN:
    """The model that ``run`` trained, in evaluation mode."""
    model = _model(trial)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model.eval()


def data(trial: Trial) -> tuple[Spirals, Spirals]:
    """The training and the test spirals of a trial."""
    return spirals.load(trial.train_size, trial.test_size, **_kind(trial))


def strides(observed: int) -> dict[str, float]:
    """The lengths of time that one step of an RNN's roll-out can be taken to go."""
    return {"trained": STEP * WINDOW / observed, "grid": STEP}


def chosen(results: Iterable[dict[str, Any]]) -> int:
    """The place of the training with the lowest validation loss."""
    losses = [result["validation_loss"] for result in results]
    return losses.index(min(losses))


def _kind(trial: Trial) -> dict[str, Any]:
    same = ("observed", "family", "noise", "seed")
    return {name: getattr(trial, name) for name in same}


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def _model(trial: Trial) -> LatentODE | RNN:
    recipe = _recipe(trial.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed + START * trial.start)
        return recipe.build()


def _learner(trial: Trial, model: nn.Module, schedule: Schedule) -> Learner:
    rate = _recipe(trial.model).rate
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1), eta_min=rate / 100)
    generator = torch.Generator().manual_seed(trial.seed + START * trial.start)
    return Learner(model, optimizer, scheduler, generator)


def _loss(
    trial: Trial, model: LatentODE | RNN, generator: torch.Generator, curves: Spirals, steps: int
) -> Loss:
    """The objective at each step; the latent ODE's divergence grows to full weight half-way."""
    times, values, index = curves.times, curves.values, curves.index

    def loss(members: Tensor, step: int) -> tuple[Tensor, SolveStats]:
        if isinstance(model, RNN):
            return model.loss(times[members], values[members]), SolveStats()
        return model.loss(
            times[members],
            values[members],
            ts=curves.ts[:WINDOW],
            index=index[members],
            noise=trial.noise,
            kl_weight=min(1.0, 2 * step / steps),
            generator=generator,
        )

    return loss


@torch.no_grad()
def _validation_loss(trial: Trial, model: LatentODE | RNN) -> float:
    curves = spirals.validation(trial.validation_size, **_kind(trial))
    whole = _loss(trial, model, torch.Generator().manual_seed(trial.seed), curves, steps=1)
    return float(whole(torch.arange(len(curves)), 1)[0])


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
    errors = {name: rmse(path[:, -len(unseen[0]) :], unseen) for name, path in paths.items()}
    if isinstance(model, LatentODE):
        return {
            "rmse_window": rmse(paths["whole"][:, :WINDOW], seen),
            "rmse_extrapolation": errors["whole"],
        }
    predicted, _ = model(test.times, test.values)
    truth = seen[torch.arange(len(test))[:, None], test.index[:, 1:]]
    return {"rmse_window": rmse(predicted, truth), "rmse_extrapolation": errors}


def rmse(predicted: Tensor, truth: Tensor) -> float:
    """The root mean square difference, over all curves, times and coordinates."""
    return float((predicted - truth).square().mean().sqrt())


def rmse_by_curve(predicted: Tensor, truth: Tensor) -> Tensor:
    """The root mean square difference of each curve, over its times and coordinates."""
    return (predicted - truth).square().mean((1, 2)).sqrt()


def _costs(model: nn.Module, history: list[Row]) -> dict[str, Any]:
    seconds = [s for s in column(history, "seconds") if s is not None]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": sum(seconds),
        "nfe_forward": history[-1].get("nfe_forward"),
        "history": {
            "epoch": column(history, "epoch"),
            "train_loss": column(history, "train_loss"),
        },
    }
