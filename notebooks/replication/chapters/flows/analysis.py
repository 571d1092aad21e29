"""The paper's Figures 4 and 5 by target, size and seed: which flow is closer, and at what cost.

A *result* is what a trial of this chapter returns. Its ``flows`` are rows that name their ``seed``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Any

import numpy as np

BUDGETS = (1, 10, 50)  # gradient steps of a planar flow for one of a continuous flow
EQUAL_TIME = "equal time"
Result = Mapping[str, Any]
Cell = tuple[str, int]  # a target and a size
Budget = int | str  # one of BUDGETS, or EQUAL_TIME


def check_settings(*, sizes: Sequence[int], fit_iterations: int, layer_iterations: int) -> None:
    """ValueError for parameters that do not go together."""
    if list(sizes) != sorted(set(sizes)):
        raise ValueError(
            f"sizes = {list(sizes)} must rise, each size given once: try {sorted(set(sizes))}"
        )
    if layer_iterations < fit_iterations:
        raise ValueError(
            f"layer_iterations = {layer_iterations} is less than fit_iterations = "
            f"{fit_iterations}, but planar flows are given at least as many steps as continuous "
            "ones: raise the first, or lower the second"
        )


def joined(results: Sequence[Result]) -> dict[str, Any]:
    """The results of ``training.parts`` as one; the curve's ``nfe`` has a list for each part."""
    first = results[0]
    counts = [result["curve"]["nfe"] for result in results]
    return {
        **first,
        "flows": [flow for result in results for flow in result["flows"]],
        "curve": {"step": first["curve"]["step"], "nfe": counts},
        "seconds": fmean(result["seconds"] for result in results),
    }


def by_seed(
    flows: Sequence[Result],
    entry: Callable[[Result], float],
    choose: Callable[[Sequence[float]], float],
) -> list[float]:
    """For each seed, rising, what ``choose`` makes of the entries of its flows."""
    seeds = sorted({flow["seed"] for flow in flows})
    return [choose([entry(flow) for flow in flows if flow["seed"] == seed]) for seed in seeds]


def known(flow: Result) -> float:
    """A divergence; one below its standard error is not known better than this error."""
    return max(flow["kl"], flow["error"])


def duration(result: Result) -> float:
    """The processor time of the training of one flow, in seconds."""
    return result["seconds"] * result["curve"]["step"][-1]


@dataclass(frozen=True)
class Contest:
    """The paper's Figure 4: flows by target and size, planar ones by their budget, too.

    Of each flow that was trained in several ways, the best counts, seed by seed.
    """

    continuous: Mapping[Cell, Result]
    planar: Mapping[tuple[str, int, int], Result]

    def exact(self) -> "Contest":
        """The same contest by the divergences that were solved for again, at a tight tolerance."""

        def again(result: Result) -> Result:
            return {**result, "flows": [{**row, "kl": row["kl_tight"]} for row in result["flows"]]}

        continuous = {cell: again(result) for cell, result in self.continuous.items()}
        return Contest(continuous, {key: again(result) for key, result in self.planar.items()})

    def ours(self, cell: Cell) -> list[float]:
        """The divergences of the continuous flow, by seed."""
        return self._best(self.continuous[cell])

    def theirs(self, cell: Cell, budget: Budget) -> list[float]:
        """Those of the planar flow.

        At equal time they lie between its budgets, on logarithmic axes; beyond them, the nearest
        one counts.
        """
        if budget != EQUAL_TIME:
            return self._best(self.planar[(*cell, int(budget))])
        when = np.log([duration(self.planar[(*cell, steps)]) for steps in BUDGETS])
        now = math.log(duration(self.continuous[cell]))
        values = np.log([self.theirs(cell, steps) for steps in BUDGETS])
        return [math.exp(np.interp(now, when, column)) for column in values.T]

    def ratios(self, budget: Budget) -> list[float]:
        """Planar over continuous by seed: the geometric mean over all cells."""
        by_cell = [self._quotients(cell, budget) for cell in self.continuous]
        return [geometric_mean(seed) for seed in zip(*by_cell, strict=True)]

    def leads(self, budget: Budget) -> dict[Cell, float]:
        """Planar over continuous by cell: the geometric mean over the seeds."""
        return {cell: geometric_mean(self._quotients(cell, budget)) for cell in self.continuous}

    def shares(self, budget: Budget) -> list[float]:
        """By seed, the share of the cells in which the continuous flow is the closer one."""
        by_cell = [self._quotients(cell, budget) for cell in self.continuous]
        return [fmean(lead > 1 for lead in seed) for seed in zip(*by_cell, strict=True)]

    def won(self, budget: Budget) -> list[Cell]:
        """The cells in which the continuous flow is the closer one, on average over the seeds."""
        return [cell for cell, lead in self.leads(budget).items() if lead > 1]

    def _quotients(self, cell: Cell, budget: Budget) -> list[float]:
        pairs = zip(self.theirs(cell, budget), self.ours(cell), strict=True)
        return [theirs / ours for theirs, ours in pairs]

    def _best(self, result: Result) -> list[float]:
        return by_seed(result["flows"], known, min)
