"""One-dimensional ODE nets: how many evaluations each input takes when it is solved alone."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from odenet.models.fields import MLPField
from odenet.ode import Solver, solve
from odenet.solvers import Adaptive, FixedSteps
from replication.probe import dopri5

END = 1.5  # the inputs lie between minus this and this
HIDDEN = 32
TRAINED_ON = 128
INPUTS, DRAWN = 30, 7  # inputs solved alone, evenly spaced, and those whose way is returned
TOLERANCE = 1e-7  # of these solves, in double precision
FIRST_STEP = 0.1  # given, because the usual choice of one depends on how near to zero an input lies

# Rising, as every map of a one-dimensional flow: flat in the middle, and flat at the sides.
MAPS = {"cube": lambda x: x**3, "step": lambda x: torch.tanh(3 * x)}


@dataclass(frozen=True)
class Trial:
    """One training on a map from x to y, by all inputs at once."""

    map: str = "cube"  # cube | step
    seed: int = 0  # of the weights
    iterations: int = 400


def run(trial: Trial, folder: Path) -> dict[str, Any]:
    """What the trained net costs by input, and the ways of a few of them.

    ``error``: root mean square of the learned map's; ``inputs`` and their ``nfe``;
    ``middle_over_sides``: the mean of the middle third's over that of the others; ``ways``: for
    each input drawn, ``evaluated``, the (time, state) pairs at which the field was called, in time
    order. Raises ValueError for an unknown map.
    """
    if trial.map not in MAPS:
        raise ValueError(f"unknown map {trial.map!r}; known: {', '.join(MAPS)}")
    field, error = _trained(trial)
    inputs, drawn = (torch.linspace(-END, END, n, dtype=torch.float64) for n in (INPUTS, DRAWN))
    nfe = [len(_evaluated(field, x)) for x in inputs]
    return {
        "error": error,
        "inputs": inputs.tolist(),
        "nfe": nfe,
        "middle_over_sides": middle_over_sides(nfe),
        "ways": [_evaluated(field, x) for x in drawn],
    }


def middle_over_sides(nfe: list[int]) -> float:
    """The mean of the middle third over the mean of the two others."""
    third = len(nfe) // 3
    return mean(nfe[third:-third]) / mean(nfe[:third] + nfe[-third:])


def _trained(trial: Trial) -> tuple[MLPField, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        field = MLPField(1, HIDDEN, HIDDEN, 1)
    x = torch.linspace(-END, END, TRAINED_ON)[:, None]
    wanted = MAPS[trial.map](x)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.iterations)
    solver = Solver("rk4", FixedSteps(8))
    for _ in range(trial.iterations):
        loss = (solve(field, x, (0.0, 1.0), solver).ys[-1] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        learned = solve(field, x, (0.0, 1.0), dopri5(1e-5)).ys[-1]
    return field.double(), float((learned - wanted).square().mean().sqrt())


@torch.no_grad()
def _evaluated(field: MLPField, x: Tensor) -> list[tuple[float, float]]:
    """The (time, state) pairs at which the field is called on the way of one input."""
    seen: list[tuple[float, float]] = []

    def recorded(t: float, y: Tensor) -> Tensor:
        seen.append((t, float(y)))
        return field(t, y)

    control = Adaptive(TOLERANCE, TOLERANCE, initial=FIRST_STEP)
    solve(recorded, x[None], (0.0, 1.0), Solver("dopri5", control))
    return sorted(seen)
