"""What the chapter reads out of its trials: errors by solver, and a race of two trainings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


def by_solver(error_pct: Mapping[str, Any], steps: Sequence[int]) -> Iterator[tuple[str, float]]:
    """The solver of each test of a network on digits, and its error in per cent, exact one last."""
    yield from zip([f"Euler, {n}" for n in steps], error_pct["by_steps"], strict=True)
    yield "exact", error_pct["exact"]


@dataclass(frozen=True)
class Race:
    """Flows that learn by likelihood beside those of the same seeds that learn by flow matching.

    The first as ``chapters.flows.analysis.joined`` gives them, the second as ``matching.run`` does;
    ``true`` is the negative log-likelihood under the true density, ``true_of_curves`` that over the
    fewer points that the learning curves rest on.
    """

    likelihood: Mapping[str, Any]
    matching: Mapping[str, Any]
    true: float
    true_of_curves: float

    def curves(self) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
        """Name -> of each seed, seconds in training and nats above the true density."""
        return {
            name: [(seconds, np.array(nll) - self.true_of_curves) for nll in curves]
            for name, (seconds, curves) in self._sides().items()
        }

    def excess(self) -> tuple[list[float], list[float]]:
        """Of each seed, the nats at the end: by likelihood, and by flow matching."""
        ends = ([flow["nll"] for flow in self.likelihood["flows"]], self.matching["nll"])
        return tuple([nll - self.true for nll in side] for side in ends)  # type: ignore[return-value]

    def time_ratios(self) -> list[float]:
        """Of each seed, the time by likelihood over that by flow matching, to where both come.

        That is the higher of the two last values of their curves.
        """
        (first, ours), (second, theirs) = self._sides().values()
        ratios = []
        for a, b in zip(ours, theirs, strict=True):
            target = max(a[-1], b[-1])
            ratios.append(reached(first, a, target) / reached(second, b, target))
        return ratios

    def step_ratio(self) -> float:
        """The time of a step of flow matching over that of one by likelihood."""
        return self.matching["seconds"] / self.likelihood["seconds"]

    def sampling_ratios(self) -> list[float]:
        """Of each seed, the evaluations from noise to data after flow matching over the others'."""
        theirs = [flow["reversal"][-1]["nfe_sampling"] for flow in self.likelihood["flows"]]
        return [a / b for a, b in zip(self.matching["nfe_sampling"], theirs, strict=True)]

    def _sides(self) -> dict[str, tuple[np.ndarray, list[list[float]]]]:
        one, other = self.likelihood, self.matching
        return {
            "by likelihood": (
                one["seconds"] * np.array(one["curve"]["step"]),
                [flow["curve_nll"] for flow in one["flows"]],
            ),
            "by flow matching": (
                other["seconds"] * np.array(other["curve_step"]),
                other["curve_nll"],
            ),
        }


def reached(seconds: np.ndarray, curve: Sequence[float], target: float) -> float:
    """When a curve is first as low as the target; never before the first part of a training."""
    return float(seconds[1:][np.array(curve[1:]) <= target][0])
