"""What the times of chapter 09 say: how many times as long, when compiling pays, a goal met or not.

A ``result`` is what ``speed.run`` returned; a way is read at one tolerance.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Result = Mapping[str, Any]


def times(result: Result, way: str, tolerance: float) -> np.ndarray | None:
    """The seconds of each round; None for a way that was not measured."""
    rows = [r for r in result["rows"] if r["way"] == way and r["tolerance"] == tolerance]
    return np.array(rows[0]["seconds"]) if rows else None


def ratio(result: Result, way: str, other: str, tolerance: float) -> np.ndarray | None:
    """The quartiles of one way's time over another's, round by round; None if one is missing.

    Two times of one round were taken one after the other, so a slow moment cancels out.
    """
    first, second = times(result, way, tolerance), times(result, other, tolerance)
    if first is None or second is None:
        return None
    both = min(len(first), len(second))
    return np.quantile(first[:both] / second[:both], (0.25, 0.5, 0.75))


def payback(result: Result, compiled: str, eager: str, tolerance: float) -> float | None:
    """The solves after which the first call of a compiled way has paid for itself.

    Infinite where the eager way is faster, None where one of them was not measured.
    """
    fast, slow = times(result, compiled, tolerance), times(result, eager, tolerance)
    if fast is None or slow is None:
        return None
    gain = float(np.median(slow) - np.median(fast))
    return result["first"][compiled] / gain if gain > 0 else float("inf")


def judged(quartiles: Sequence[float] | np.ndarray, bound: float) -> str:
    """Whether a ratio is at most ``bound``: "yes" or "no" where both its quartiles agree."""
    low, _, high = quartiles
    return "yes" if high <= bound else "no" if low > bound else "on the edge"
