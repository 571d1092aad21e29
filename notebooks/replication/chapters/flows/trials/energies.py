"""Figure 4: flows trained to match densities that are known up to a factor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odenet.models.flow import ContinuousFlow, log_normal
from odenet.models.planar import PlanarLayers
from odenet.solvers import SolveStats
from replication.chapters.flows.training import (
    CHUNK,
    TIGHT,
    Flow,
    at_tolerance,
    continuous,
    curve,
    fit,
    parameters,
    restored,
    seconds,
    summed,
)
from replication.data.densities import energy, log_normalizer
from replication.training import Row

PROBE = 1_000  # points of each run that the learning curves rest on


@dataclass(frozen=True)
class Trial:
    """Flows of one size side by side: one for each target, way of training and seed.

    Annealed means that the energy's weight grows from 0.01 to 1 over the first 40% of the steps.
    """

    model: str = "continuous"  # continuous | planar
    targets: Sequence[str] = ("U1",)  # U1 | U3 | U4
    size: int = 8  # units of the continuous flow, layers of the planar one
    seed: int = 0  # the first of the seeds: initial weights and noise
    seeds: int = 1
    annealed: Sequence[bool] = (False,)
    iterations: int = 2000
    rate: float = 2e-3
    decay: bool = True
    penalty: float = 0.0  # times the effort of the continuous flow's paths
    batch: int = 256
    tolerance: float = 1e-3  # of the continuous flow's solves in training
    samples: int = 20_000  # of each flow, for its divergence
    final: float = 1e-5  # tolerance of that


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What came of each flow; the weights are left in ``folder``/weights.pt.

    Goes on from ``folder``/checkpoint.pt where an earlier call was interrupted. ``flows``, in the
    order of ``members``: ``kl``, the divergence to the target in nats, from ``samples`` points;
    its standard error ``error``; ``kl_tight``, from the same points in double precision at
    tolerance 1e-7; ``curve_kl``, from fewer points at each step of ``curve``. ``seconds`` of
    processor time per flow and step, ``parameters`` of one flow, ``nfe`` of a solve at ``final``.
    """
    flow, weights = _flow(trial), _Weights(trial)

    def loss(generator: torch.Generator, step: int) -> tuple[Tensor, SolveStats]:
        z = torch.randn(weights.runs, trial.batch, 2, generator=generator)
        x, log_q, stats = _pushed(flow, z, effort=trial.penalty > 0)
        if log_q.dim() == 3:
            log_q = log_q[..., 0] + trial.penalty * log_q[..., 1]
        values = log_q.mean(1) + weights.at(step) * weights.energies(x).mean(1)
        return summed(values), stats

    probe = _noise(trial, weights.runs, PROBE, trial.seed + 1)
    history = fit(
        flow,
        loss,
        lambda: _probed(flow, weights, probe, trial.final),
        iterations=trial.iterations,
        rate=trial.rate,
        decay=trial.decay,
        seed=trial.seed,
        folder=folder,
        title=f"{trial.model} {trial.size} {' '.join(trial.targets)}",
    )
    z = _noise(trial, weights.runs, trial.samples, trial.seed)
    kl, error, nfe = _divergence(flow, weights, z, trial.final)
    tight, _, _ = _divergence(flow.double(), weights, z.double(), TIGHT)
    flow.float()
    columns = curve(history, trial.iterations)
    by_run = list(zip(*columns.pop("kl"), strict=True))
    return {
        "flows": [
            {
                "target": target,
                "annealed": annealed,
                "seed": seed,
                "kl": kl[i],
                "error": error[i],
                "kl_tight": tight[i],
                "curve_kl": list(by_run[i]),
            }
            for i, (target, annealed, seed) in enumerate(members(trial))
        ],
        "curve": columns,
        "seconds": seconds(history, trial.iterations, weights.runs),
        "parameters": parameters(flow),
        "nfe": nfe,
    }


def members(trial: Trial) -> list[tuple[str, bool, int]]:
    """Target, whether annealed, and seed of each flow of a trial, in the order of its runs."""
    seeds = range(trial.seed, trial.seed + trial.seeds)
    return list(product(trial.targets, trial.annealed, seeds))


def load(trial: Trial, folder: Path) -> Flow:
    """The flows that ``run`` trained."""
    return restored(_flow(trial), folder)


@torch.no_grad()
def density(flow: Flow, x: Tensor, tolerance: float = 1e-4) -> Tensor:
    """The density (runs, n) that each flow gives to points x (n, 2)."""
    points = x.float().expand(_runs(flow), -1, -1)
    if isinstance(flow, ContinuousFlow):
        return flow.log_prob(points, at_tolerance(flow, tolerance))[0].exp()
    z = flow.inverse(points)[-1]
    return (log_normal(z) - flow(z)[1]).exp()


def _flow(trial: Trial) -> Flow:
    seeds = [seed for _, _, seed in members(trial)]
    if trial.model == "continuous":
        return continuous(trial.size, seeds, trial.tolerance)
    if trial.model == "planar":
        return PlanarLayers(trial.size, seeds)
    raise ValueError(f"unknown model {trial.model!r}; known: continuous, planar")


def _runs(flow: Flow) -> int:
    return len(next(flow.parameters()))


class _Weights:
    """The energies of a trial's runs, each by its target, and their weight at each step."""

    def __init__(self, trial: Trial) -> None:
        self.runs = len(members(trial))
        self.each = self.runs // len(trial.targets)
        self.functions = [energy(name) for name in trial.targets]
        floors = [log_normalizer(name) for name, _, _ in members(trial)]
        self.log_z = torch.tensor(floors, dtype=torch.float64)
        self.annealed = torch.tensor([annealed for _, annealed, _ in members(trial)])
        self.rise = max(1.0, 0.4 * trial.iterations)

    def energies(self, x: Tensor) -> Tensor:
        """The energies (runs, n) of points (runs, n, 2)."""
        parts = zip(self.functions, x.split(self.each), strict=True)
        return torch.cat([function(part) for function, part in parts])

    def at(self, step: int) -> Tensor:
        grown = min(1.0, 0.01 + 0.99 * step / self.rise)
        return torch.where(self.annealed, grown, 1.0)


def _pushed(
    flow: Flow, z: Tensor, tolerance: float | None = None, *, effort: bool = False
) -> tuple[Tensor, Tensor, SolveStats]:
    """The points that z is carried to, their log-density (and effort), and the cost."""
    if isinstance(flow, ContinuousFlow):
        return flow(z, at_tolerance(flow, tolerance) if tolerance else None, effort=effort)
    x, log_det = flow(z)
    return x, log_normal(z) - log_det, SolveStats()


def _noise(trial: Trial, runs: int, points: int, seed: int) -> Tensor:
    """Normal points (runs, points, 2) that no training has seen, the same for every flow."""
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    return torch.randn(points, 2, generator=generator).expand(runs, -1, -1)


@torch.no_grad()
def _divergence(
    flow: Flow, weights: _Weights, z: Tensor, tolerance: float
) -> tuple[list[float], list[float], int]:
    """The divergence of each run from its target, its standard error, and the largest cost."""
    parts, nfe = [], 0
    for chunk in z.split(CHUNK, 1):
        x, log_q, stats = _pushed(flow, chunk, tolerance)
        parts.append((log_q + weights.energies(x)).double())
        nfe = max(nfe, stats.forward.nfe)
    values = torch.cat(parts, 1)
    error = values.std(1) / math.sqrt(values.shape[1])
    return (values.mean(1) + weights.log_z).tolist(), error.tolist(), nfe


def _probed(flow: Flow, weights: _Weights, probe: Tensor, tolerance: float) -> Row:
    kl, _, nfe = _divergence(flow, weights, probe, tolerance)
    return {"kl": kl, "nfe": nfe}
