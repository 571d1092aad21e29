"""Figure 5: flows trained by maximum likelihood on points of two circles and two moons."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odenet.models.flow import ContinuousFlow
from odenet.models.planar import PlanarLayers
from odenet.solvers import SolveStats
from replication.chapters.flows.training import (
    CHUNK,
    TIGHT,
    Flow,
    alone,
    at_tolerance,
    continuous,
    curve,
    fit,
    parameters,
    restored,
    seconds,
    summed,
)
from replication.data.densities import log_density, sample
from replication.training import Row

PROBE = 1_000  # points of each run that the learning curves rest on
HELD_OUT = 1_000_000  # the seed of the held-out points; those of batches are larger


@dataclass(frozen=True)
class Trial:
    """Flows side by side, one for each set of points and seed; every batch is drawn anew."""

    model: str = "continuous"  # continuous | planar
    sets: Sequence[str] = ("moons",)  # circles | moons
    size: int = 64  # units of the continuous flow, layers of the planar one
    seed: int = 0  # the first of the seeds: initial weights and points
    seeds: int = 1
    iterations: int = 3000
    rate: float = 5e-3
    penalty: float = 0.01  # times the effort of the continuous flow's paths
    batch: int = 256
    tolerance: float = 1e-3  # of the continuous flow's solves in training
    held_out: int = 10_000  # points of each set
    tolerances: Sequence[float] = (1e-3, 1e-5)  # of the way there and back; the last scores


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of each flow; the weights are left in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``flows``, in the
    order of ``members``, in nats over the same held-out points: ``nll``, the mean negative
    log-likelihood; ``nll_tight``, in double precision at tolerance 1e-7; ``true``, that under the
    density which the points are drawn from; ``curve_nll``, from fewer points at each step of
    ``curve``. Of a continuous flow also ``reversal``, for each tolerance. ``seconds`` of
    processor time per flow and step; ``parameters`` of one flow.
    """
    flow, runs = _flow(trial), len(members(trial))

    def loss(generator: torch.Generator, step: int) -> tuple[Tensor, SolveStats]:
        log_p, stats = _scored(flow, _batch(trial, generator), effort=trial.penalty > 0)
        if log_p.dim() == 3:
            log_p = log_p[..., 0] - trial.penalty * log_p[..., 1]
        return summed(-log_p.mean(1)), stats

    held_out, final = held_out_points(trial), trial.tolerances[-1]
    history = fit(
        flow,
        loss,
        lambda: _probed(flow, held_out[:, :PROBE], final),
        iterations=trial.iterations,
        rate=trial.rate,
        seed=trial.seed,
        folder=folder,
        title=f"{trial.model} {trial.size} {' '.join(trial.sets)}",
    )
    columns = curve(history, trial.iterations)
    nll = _likelihood(flow, held_out, final)[0]
    tight = _likelihood(flow.double(), held_out.double(), TIGHT)[0]
    flow.float()
    rows = zip(members(trial), nll, tight, zip(*columns.pop("nll"), strict=True), strict=True)
    found: list[dict[str, Any]] = [
        {"set": name, "seed": seed, "nll": one, "nll_tight": other, "curve_nll": list(steps)}
        for (name, seed), one, other, steps in rows
    ]
    for i, row in enumerate(found):
        row["true"] = -float(log_density(row["set"], held_out[i]).mean())
        if isinstance(flow, ContinuousFlow):
            lone = alone(flow, i)
            row["reversal"] = [reversal(lone, held_out[i : i + 1], at) for at in trial.tolerances]
    return {
        "flows": found,
        "curve": columns,
        "seconds": seconds(history, trial.iterations, runs),
        "parameters": parameters(flow),
    }


def members(trial: Trial) -> list[tuple[str, int]]:
    """Points and seed of each flow of a trial, in the order of its runs."""
    return list(product(trial.sets, range(trial.seed, trial.seed + trial.seeds)))


def load(trial: Trial, folder: Path) -> Flow:
    """The flows that ``run`` trained."""
    return restored(_flow(trial), folder)


def held_out_points(trial: Trial) -> Tensor:
    """Points (runs, n, 2) that no training sees, the same for each seed."""
    each = [sample(name, trial.held_out, seed=HELD_OUT) for name in trial.sets]
    return torch.stack(each).repeat_interleave(trial.seeds, 0)


@torch.no_grad()
def reversal(flow: ContinuousFlow, x: Tensor, tolerance: float) -> dict[str, float]:
    """From points x at time 1 to time 0, and back again to time 1.

    The evaluations of either way, ``nfe_likelihood`` and ``nfe_sampling``, and the root mean square
    and the largest distance of a coordinate from where it was, ``rms`` and ``worst``.
    """
    solver = at_tolerance(flow, tolerance)
    start, _, there = flow.back(x, solver)
    again, _, back = flow(start, solver)
    missed = (again - x).double()
    return {
        "tolerance": tolerance,
        "nfe_likelihood": there.forward.nfe,
        "nfe_sampling": back.forward.nfe,
        "rms": float(missed.square().mean().sqrt()),
        "worst": float(missed.abs().max()),
    }


@torch.no_grad()
def pictures(
    flow: Flow, run: int, parts: Sequence[float], x: Tensor, z: Tensor
) -> list[dict[str, Tensor]]:
    """What one of the flows looks like at parts of the way from noise to data.

    Of the time, or of the layers, of which the last come first on that way. ``points`` (m, 2) that
    began as z (m, 2); ``centre`` (2,): their mean, for planar layers may shift them far before the
    end, or 0 at the end and for a continuous flow; ``density`` (n,) at points x (n, 2) + centre.
    """
    runs = len(next(flow.parameters()))
    x, z = (points.float().expand(runs, -1, -1) for points in (x, z))
    origin = torch.zeros(2)
    if isinstance(flow, ContinuousFlow):
        solver = at_tolerance(flow, 1e-4)
        paths = flow.path(z, (0.0, *parts), solver)[1:, run]
        densities = [flow.log_prob(x, solver, t=part)[0][run].exp() for part in parts]
        found = zip(paths, densities, strict=True)
        return [{"points": y, "centre": origin, "density": p} for y, p in found]
    states = flow.inverse(z)
    steps = []
    for n in (max(1, round(part * len(states))) for part in parts):
        y = states[n - 1][run]
        centre = y.mean(0) if n < len(states) else origin
        density = flow.only(slice(-n, None)).log_prob(x + centre)[run].exp()
        steps.append({"points": y, "centre": centre, "density": density})
    return steps


def _flow(trial: Trial) -> Flow:
    seeds = [seed for _, seed in members(trial)]
    if trial.model == "continuous":
        return continuous(trial.size, seeds, trial.tolerance)
    if trial.model == "planar":
        return PlanarLayers(trial.size, seeds)
    raise ValueError(f"unknown model {trial.model!r}; known: continuous, planar")


def _batch(trial: Trial, generator: torch.Generator) -> Tensor:
    """New points (runs, batch, 2), others for each run."""
    seed = int(torch.randint(HELD_OUT + 1, 2**31, (), generator=generator))
    size = trial.batch * trial.seeds
    drawn = [sample(name, size, seed=seed) for name in trial.sets]
    return torch.cat(drawn).view(len(members(trial)), trial.batch, 2)


def _scored(
    flow: Flow, x: Tensor, tolerance: float | None = None, *, effort: bool = False
) -> tuple[Tensor, SolveStats]:
    """The log-density of points x (and minus their path's effort), and the cost."""
    if isinstance(flow, ContinuousFlow):
        return flow.log_prob(x, at_tolerance(flow, tolerance) if tolerance else None, effort=effort)
    return flow.log_prob(x), SolveStats()


@torch.no_grad()
def _likelihood(flow: Flow, x: Tensor, tolerance: float) -> tuple[list[float], int]:
    """The mean negative log-likelihood of each run in nats, and the largest cost."""
    scored = [_scored(flow, chunk, tolerance) for chunk in x.split(CHUNK, 1)]
    log_p = torch.cat([part for part, _ in scored], 1).double()
    return (-log_p.mean(1)).tolist(), max(stats.forward.nfe for _, stats in scored)


def _probed(flow: Flow, x: Tensor, tolerance: float) -> Row:
    nll, nfe = _likelihood(flow, x, tolerance)
    return {"nll": nll, "nfe": nfe}
