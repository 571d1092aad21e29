"""Two classifiers compared digit by digit: the interval and the test, against their definitions."""

import numpy as np
import pytest

from replication.chapters.mnist.paired import mcnemar, paired_gap
from replication.runner import report


def test_gap_is_the_difference_of_the_errors_in_points_over_the_seeds():
    gap = paired_gap([[0, 1, 2], [3]], [[1], []], 200)
    assert gap["mean"] == pytest.approx((3 - 1 + 1 - 0) / 2 / 2)
    assert gap["low"] < gap["mean"] < gap["high"]
    assert gap["n"] == 200 and gap["interval"] == "bootstrap over the test digits, 90%"
    report(paired_gap=gap)


def test_interval_is_that_of_a_bootstrap_that_draws_digit_by_digit():
    size = 300
    ours = [list(range(0, 30)), list(range(5, 25))]
    theirs = [list(range(20, 40)), list(range(24, 44))]
    gap = paired_gap(ours, theirs, size)
    rng = np.random.default_rng(1)
    wrong = np.zeros((2, 2, size))
    for side, seeds in enumerate((ours, theirs)):
        for seed, indices in enumerate(seeds):
            wrong[side, seed, indices] = 1
    drawn = wrong[:, :, rng.integers(size, size=(4000, size))].mean(-1)
    low, high = np.quantile(100 * (drawn[0] - drawn[1]).mean(0), [0.05, 0.95])
    assert (gap["low"], gap["high"]) == pytest.approx((low, high), abs=0.2)


def test_equal_answers_leave_no_doubt_and_more_of_the_same_seed_no_less():
    assert paired_gap([[1, 2]], [[2, 1]], 50)["high"] == 0.0
    one, three = (paired_gap([[1, 2, 3]] * n, [[3, 4]] * n, 500) for n in (1, 3))
    assert one == three  # seeds that err alike are no new digits


def test_mcnemar_counts_the_digits_that_one_alone_gets_wrong():
    assert mcnemar([1, 2, 3, 4, 5, 9], [9]) == (5, 0, pytest.approx(2 / 2**5))
    assert mcnemar([1, 2, 9], [3, 4, 9]) == (2, 2, 1.0)
    assert mcnemar([7], [7]) == (0, 0, 1.0)
