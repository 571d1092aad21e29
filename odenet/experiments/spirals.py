"""Table 2 and Figure 8: spirals reconstructed and extrapolated."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from odenet.data import spirals
from odenet.data.spirals import STEP, WINDOW, Spirals
from odenet.models.latent import RNN, LatentODE
from odenet.solvers import Work
from odenet.training import Learner, Loss, Row, Schedule, column, save_atomically, train

BATCH_SIZE = 50
DRAWN = 4  # test curves returned for the figure, two of each direction


@dataclass(frozen=True)
class Recipe:
    lr: float
    clip: float


# model -> how it is trained: Adam, its learning rate falling along a cosine to a hundredth
RECIPES = MappingProxyType(
    {"latent_ode": Recipe(2e-2, 10), "rnn": Recipe(1e-2, 5), "rnn_gap": Recipe(1e-2, 5)}
)


@dataclass(frozen=True)
class Trial:
    """One training on spirals of which ``observed`` of 100 points are seen, with noise."""

    model: str = "latent_ode"  # latent_ode | rnn | rnn_gap
    observed: int = 100
    seed: int = 0  # of the data, the initial weights, the batches and the posterior samples
    iterations: int = 2200  # rounded up to whole passes over the training curves
    train_size: int = 1000
    test_size: int = 500
    family: str = "log"  # log | archimedean
    noise: float = 0.1


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """The numbers of a finished training, which leaves its weights in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. All errors are
    root mean squares per coordinate against the noise-free test curves. ``rmse_extrapolation``:
    over the 100 grid points after the window; for an RNN one for each stride of its roll-out, by
    name: "trained", the mean gap between observations, and "grid", the step of the grid.
    ``rmse_window``: of the latent ODE over the 100 grid points of the window, of an RNN over its
    one-step predictions of the observations 1, 2, ... ``curves``: four test curves to draw.
    """
    train_curves, test_curves = _data(trial)
    passes = -(-trial.iterations // -(-trial.train_size // BATCH_SIZE))
    schedule = Schedule(passes, trial.train_size, BATCH_SIZE, _recipe(trial.model).clip)
    model = _model(trial)
    learner = _learner(trial, model, schedule)
    history = train(
        learner,
        schedule,
        _loss(trial, model, learner.generator, train_curves, schedule.steps),
        evaluate=dict,
        checkpoint=folder / "checkpoint.pt",
        title=f"{trial.model} {trial.observed}/{WINDOW} seed {trial.seed}",
    )
    save_atomically(model.state_dict(), folder / "weights.pt")
    return {**_scores(model.eval(), test_curves), **_costs(model, history)}


def load(trial: Trial, folder: Path) -> LatentODE | RNN:
    """The model that ``run`` trained, in evaluation mode."""
    model = _model(trial)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model.eval()


def strides(observed: int) -> dict[str, float]:
    """The lengths of time that one step of an RNN's roll-out can be taken to go."""
    return {"trained": STEP * WINDOW / observed, "grid": STEP}


def _data(trial: Trial) -> tuple[Spirals, Spirals]:
    return spirals.load(
        trial.train_size,
        trial.test_size,
        observed=trial.observed,
        family=trial.family,
        noise=trial.noise,
        seed=trial.seed,
    )


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def _model(trial: Trial) -> LatentODE | RNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        return LatentODE() if trial.model == "latent_ode" else RNN(gap=trial.model == "rnn_gap")


def _learner(trial: Trial, model: nn.Module, schedule: Schedule) -> Learner:
    lr = _recipe(trial.model).lr
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = CosineAnnealingLR(optimizer, max(schedule.steps, 1), eta_min=lr / 100)
    return Learner(model, optimizer, scheduler, torch.Generator().manual_seed(trial.seed))


def _loss(
    trial: Trial, model: LatentODE | RNN, generator: torch.Generator, curves: Spirals, steps: int
) -> Loss:
    """The objective at each step; the latent ODE's divergence grows to full weight half-way."""
    times, values, index = curves.times, curves.values, curves.index

    def loss(members: Tensor, step: int) -> tuple[Tensor, Work]:
        if isinstance(model, RNN):
            return model.loss(times[members], values[members]), Work()
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
def _scores(model: LatentODE | RNN, test: Spirals) -> dict[str, Any]:
    seen, unseen = test.clean[:, :WINDOW], test.clean[:, WINDOW:]
    if isinstance(model, LatentODE):
        curves, _ = model(test.times, test.values, test.ts)
        window, extrapolation = rmse(curves[:, :WINDOW], seen), rmse(curves[:, WINDOW:], unseen)
        return {
            "rmse_window": window,
            "rmse_extrapolation": extrapolation,
            "curves": _drawn(test, {"latent_ode": curves}),
        }
    predicted, _ = model(test.times, test.values)
    truth = seen[torch.arange(len(test))[:, None], test.index[:, 1:]]
    rolled = {
        name: model.extrapolate(test.times, test.values, test.ts[WINDOW:], stride)
        for name, stride in strides(test.index.shape[1]).items()
    }
    return {
        "rmse_window": rmse(predicted, truth),
        "rmse_extrapolation": {name: rmse(curve, unseen) for name, curve in rolled.items()},
        "curves": _drawn(test, rolled),
    }


def rmse(predicted: Tensor, truth: Tensor) -> float:
    """The root mean square difference, over all curves, times and coordinates."""
    return float((predicted - truth).square().mean().sqrt())


def _drawn(test: Spirals, predicted: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The first test curves; a prediction shorter than the curve belongs to its end."""
    return [
        {
            "direction": int(test.direction[i]),
            "times": test.ts.tolist(),
            "clean": test.clean[i].tolist(),
            "observed_times": test.times[i].tolist(),
            "observed": test.values[i].tolist(),
            "predicted": {name: curves[i].tolist() for name, curves in predicted.items()},
        }
        for i in range(min(DRAWN, len(test)))
    ]


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
