"""Two classifiers compared digit by digit, from the indices of the digits that each gets wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

DRAWS = 10_000
LEVEL = 0.9  # so that each end is a one-sided bound of 95%

Wrong = Sequence[int]  # indices of the digits that a network misclassifies


def paired_gap(ours: Sequence[Wrong], theirs: Sequence[Wrong], size: int) -> dict[str, Any]:
    """The difference of the test errors in points, mean over the seeds, with its interval.

    Of each seed, the wrong digits of a test set of ``size``. Each draw of the bootstrap
    takes as many digits with replacement; a digit keeps its answers in all seeds. Only how often
    each difference occurs matters to a draw, and that is multinomial.
    """
    per_digit = np.zeros(size)
    for our, their in zip(ours, theirs, strict=True):
        per_digit[our] += 1 / len(ours)
        per_digit[their] -= 1 / len(ours)
    values, counts = np.unique(per_digit.round(9), return_counts=True)
    draws = np.random.default_rng(0).multinomial(size, counts / size, DRAWS) @ values
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "mean": 100 * float(per_digit.mean()),
        "low": 100 * float(low) / size,
        "high": 100 * float(high) / size,
        "n": size,
        "interval": f"bootstrap over the test digits, {LEVEL:.0%}",
    }


def mcnemar(our: Wrong, their: Wrong) -> tuple[int, int, float]:
    """Digits that only we get wrong, that only they do, and the p of an even chance for each."""
    only_our, only_their = len(set(our) - set(their)), len(set(their) - set(our))
    both = only_our + only_their
    p = binomtest(only_our, both).pvalue if both else 1.0
    return only_our, only_their, float(p)
