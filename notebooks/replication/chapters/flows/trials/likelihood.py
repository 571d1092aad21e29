"""Figure 5: flows trained by maximum likelihood on points of two circles and two moons."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odenet.models.flow import ContinuousFlow
from odenet.solvers import SolveStats
from replication.chapters.flows import training
from replication.data.densities import log_density, sample

HELD_OUT = 1_000_000  # the seed of the held-out points; those of batches are larger
TOLERANCES = (training.TOLERANCE, training.FINAL)  # of the way there and back


@dataclass(frozen=True)
class Trial(training.Training):
    """Flows side by side, one for each set of points and seed; every batch is drawn anew."""

    rate: float = 5e-3
    penalty: float = 0.01
    sets: Sequence[str] = ("moons",)  # circles | moons
    held_out: int = 10_000  # points of each set


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of each flow; the weights are left in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``flows``, in the
    order of ``members``, in nats over the same held-out points: ``nll``, the mean negative
    log-likelihood; ``nll_tight``, in double precision at tolerance 1e-7; ``true``, that under the
    density which the points are drawn from; ``curve_nll``, from fewer points at each step of
    ``curve``. Of a continuous flow also ``reversal``, for each tolerance. With what ``fit`` says
    of the training.
    """
    flow = _flow(trial)

    def loss(generator: torch.Generator, step: int) -> training.Scored:
        log_p, stats = _scored(flow, _batch(trial, generator), effort=trial.penalty > 0)
        if log_p.dim() == 3:
            log_p = log_p[..., 0] - trial.penalty * log_p[..., 1]
        return training.summed(-log_p.mean(1)), stats

    def likelihood(x: Tensor, tolerance: float) -> tuple[Tensor, int]:
        """The mean negative log-likelihood of each run in nats, and the largest cost."""
        log_p, nfe = training.evaluated(lambda x: _scored(flow, x, tolerance), x)
        return -log_p.mean(1), nfe

    each = [sample(name, trial.held_out, seed=HELD_OUT) for name in trial.sets]
    x = torch.stack(each).repeat_interleave(trial.seeds, 0)
    curves, said = training.fit(
        flow, trial, loss, lambda: likelihood(x[:, : training.PROBE], training.FINAL), folder
    )
    nll, _ = likelihood(x, training.FINAL)
    flow.double()
    tight, _ = likelihood(x.double(), training.TIGHT)
    flow.float()
    found = zip(members(trial), nll.tolist(), tight.tolist(), curves, strict=True)
    names = ("set", "seed", "nll", "nll_tight", "curve_nll")
    flows = [dict(zip(names, (*run, *values), strict=True)) for run, *values in found]
    for i, row in enumerate(flows):
        row["true"] = -float(log_density(row["set"], x[i]).mean())
        if isinstance(flow, ContinuousFlow):
            lone = training.alone(flow, i)
            row["reversal"] = [reversal(lone, x[i : i + 1], at) for at in TOLERANCES]
    return {"flows": flows, **said}


def members(trial: Trial) -> list[tuple[str, int]]:
    """Points and seed of each flow of a trial, in the order of its runs."""
    return list(product(trial.sets, range(trial.seed, trial.seed + trial.seeds)))


def load(trial: Trial, folder: Path) -> training.Flow:
    """The flows that ``run`` trained."""
    return training.restored(_flow(trial), folder)


@torch.no_grad()
def reversal(flow: ContinuousFlow, x: Tensor, tolerance: float) -> dict[str, float]:
    """From points x at time 1 to time 0, and back again to time 1.

    The evaluations of either way, ``nfe_likelihood`` and ``nfe_sampling``, and the root mean square
    and the largest distance of a coordinate from where it was, ``rms`` and ``worst``.
    """
    solver = training.at_tolerance(flow, tolerance)
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
    flow: training.Flow, run: int, parts: Sequence[float], x: Tensor, z: Tensor
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
        solver = training.at_tolerance(flow, 1e-4)
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


def _flow(trial: Trial) -> training.Flow:
    return training.untrained(trial, [seed for _, seed in members(trial)])


def _batch(trial: Trial, generator: torch.Generator) -> Tensor:
    """New points (runs, batch, 2), others for each run."""
    seed = int(torch.randint(HELD_OUT + 1, 2**31, (), generator=generator))
    drawn = [sample(name, training.BATCH * trial.seeds, seed=seed) for name in trial.sets]
    return torch.cat(drawn).view(-1, training.BATCH, 2)


def _scored(
    flow: training.Flow, x: Tensor, tolerance: float = training.TOLERANCE, *, effort: bool = False
) -> training.Scored:
    """The log-density of points x (and their path's effort), and the cost."""
    if isinstance(flow, ContinuousFlow):
        return flow.log_prob(x, training.at_tolerance(flow, tolerance), effort=effort)
    return flow.log_prob(x), SolveStats()
