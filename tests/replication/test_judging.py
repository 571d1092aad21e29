"""What was measured is judged on the scale of its claim; what would decide it can be told."""

import math

import numpy as np
import pytest
from scipy.stats import binom, nct, t

from replication.runner import estimate
from replication.runner.claims import intervals, power

INF = math.inf
THREE = [1.0, 2.0, 3.0]  # s = 1
HALF = 2.919986 / math.sqrt(3)  # t(2, 0.95) s / sqrt(n)
OWN = {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 10_000, "interval": "bootstrap over digits"}


def estimated(values, scale="linear"):
    return intervals.estimated(estimate(values), scale)


# The interval


@pytest.mark.parametrize(
    ("there", "scale"), [(float, "linear"), (math.exp, "log"), (math.tanh, "correlation")]
)
def test_the_interval_is_the_90_per_cent_one_on_the_scale_of_the_claim(there, scale):
    found = estimated([there(value) for value in THREE], scale)
    assert found.mean == pytest.approx(there(2))
    assert found.ends == pytest.approx((there(2 - HALF), there(2 + HALF)), rel=1e-6)
    assert found.text().endswith("], n\u00a0=\u00a03")


def test_a_bound_to_one_side_holds_nineteen_times_in_twenty():
    draws = np.random.default_rng(0).normal(size=(4000, 4))
    low, high = np.array([estimated(list(draw)).ends for draw in draws]).T
    assert np.mean(low > 0) == pytest.approx(0.05, abs=0.012)  # 3.5 standard deviations
    assert np.mean(high < 0) == pytest.approx(0.05, abs=0.012)


def test_a_correlation_stays_within_one_even_where_a_seed_reached_it():
    low, high = estimated([1.0, 0.99, 0.9], "correlation").ends
    assert -1 < low < 0.99 < high < 1
    assert estimated([-1.0, -1.0], "correlation").ends == (-1, -1)


@pytest.mark.parametrize(
    ("values", "text", "ends"),
    [
        ([1.0] * 7 + [0.0] * 3, "7 of 10 seeds [0.393,\u00a00.913]", (0.3934, 0.9127)),
        ([0.0] * 5, "0 of 5 seeds [0,\u00a00.451]", (0, 1 - 0.05**0.2)),
        ([1.0] * 5, "5 of 5 seeds [0.549,\u00a01]", (0.05**0.2, 1)),
    ],
)
def test_a_share_has_the_interval_of_clopper_and_pearson(values, text, ends):
    found = estimated(values, "share")
    assert found.text() == text and found.ends == pytest.approx(ends, abs=1e-4)


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        ("9.39", "tolerances", "9.39\u00a0tolerances"),
        ("at least 1", "points", "at least 1\u00a0point"),
        ("0.4 to 0.6", "×", "0.4 to 0.6×"),
        ("0.62", "%", "0.62%"),
        ("1", "of the cells", "1\u00a0of the cells"),
        ("1.5", "", "1.5"),
    ],
)
def test_a_number_is_read_with_its_unit(number, unit, text):
    assert intervals.in_units(number, unit) == text
    assert intervals.Estimate(1.0, None, number, ", n").text(unit) == f"{text}, n"


def test_a_share_is_made_of_zeros_and_ones():
    with pytest.raises(ValueError, match="all values are 0 or 1, not .1.0, 0.5"):
        estimated([1.0, 0.5], "share")


@pytest.mark.parametrize("scale", ["linear", "log", "correlation"])
def test_what_is_the_same_in_all_seeds_decides_without_an_interval(scale):
    found = estimated([0.9, 0.9, 0.9 + 1e-12], scale)
    assert (found.ends, found.text()) == ((0.9, 0.9), "0.9, the same in all 3 seeds")
    assert estimated([0.0, 0.0]).ends == (0, 0)


def test_a_plain_number_decides_alone_and_an_interval_of_its_own_as_it_is():
    plain = intervals.estimated(1.5, "log")
    assert (plain.ends, plain.text()) == ((1.5, 1.5), "1.5")
    own = intervals.estimated(OWN, "log")
    assert (own.mean, own.ends) == (1.5, (1.0, 2.0))
    assert own.text() == "1.5 [1,\u00a02], bootstrap over digits"


@pytest.mark.parametrize(
    ("values", "scale", "missing"),
    [
        ([1.5], "linear", "a single seed"),
        ([1.0], "share", "a single seed"),
        ([2.0, -0.1, 1.0], "log", "no logarithm"),
    ],
)
def test_what_has_no_interval_decides_nothing_and_says_why(values, scale, missing):
    found = estimated(values, scale)
    assert found.ends is None and missing in found.missing
    assert intervals.judge(found.ends, (-INF, 100)) == "inconclusive"
    assert missing in power.outlook(estimate(values), scale, (-INF, 100))


@pytest.mark.parametrize(
    ("ends", "accept", "verdict"),
    [
        ((1.0, 2.0), (1.0, 2.0), "supported"),  # edges count as inside
        ((1.0, 2.0), (0.0, 1.999), "inconclusive"),
        ((1.0, 2.0), (1.4, 1.6), "inconclusive"),  # the mean inside is not enough
        ((1.0, 2.0), (2.0, 9.0), "inconclusive"),  # one point in common
        ((1.0, 2.0), (2.001, INF), "not supported"),
        ((1.0, 2.0), (-INF, 0.999), "not supported"),
        (None, (-INF, 9.0), "inconclusive"),
    ],
)
def test_the_whole_interval_decides(ends, accept, verdict):
    assert intervals.judge(ends, accept) == verdict


# What would decide


def test_the_probability_to_decide_is_that_of_the_noncentral_t():
    shift, critical = 0.5 * math.sqrt(8), t.ppf(0.95, 7)  # the mean is half a spread inside
    known = nct.sf(critical, 7, shift) + nct.cdf(-critical, 7, shift)
    assert power.decides(1.5, 1.0, (1.0, INF), 8) == pytest.approx(known, abs=1e-4)
    assert power.decides(-1.5, 1.0, (-INF, -1.0), 8) == pytest.approx(known, abs=1e-4)


def test_of_two_sides_it_is_how_often_drawn_seeds_decide():
    draws = np.random.default_rng(0).normal(1.0, 0.3, (4000, 4))
    verdicts = [intervals.judge(estimated(list(draw)).ends, (0.5, 1.4)) for draw in draws]
    decided = np.mean([verdict != "inconclusive" for verdict in verdicts])
    assert power.decides(1.0, 0.3, (0.5, 1.4), 4) == pytest.approx(decided, abs=0.028)


def test_a_share_is_decided_by_the_counts_that_decide():
    accept = (0.5, INF)  # of ten, 8 or more are above it for certain, and 1 or fewer below
    known = binom.sf(8, 10, 0.7) + binom.cdf(1, 10, 0.7)
    assert intervals.judge(intervals.share(9, 10), accept) == "supported"
    assert intervals.judge(intervals.share(8, 10), accept) == "inconclusive"
    assert power.share_decides(0.7, accept, 10) == pytest.approx(known)


def needed(values, scale, accept):
    return power.outlook(estimate(values), scale, accept)


def test_how_many_seeds_would_decide_is_said():
    text = needed(THREE, "linear", (1.0, INF))  # one spread inside
    chance = [power.decides(2.0, 1.0, (1.0, INF), n) for n in (3, 7, 8)]
    assert chance[1] < 0.8 <= chance[2]
    assert "takes 8 seeds" in text and text.endswith(f"with 3 the probability is {chance[0]:.0%}.")
    assert needed(np.exp(THREE), "log", (math.e, INF)) == text
    assert needed(np.tanh(THREE), "correlation", (math.tanh(1), 1.0)) == text
    assert "takes more than 100 seeds" in needed(THREE, "linear", (1.999, INF))
    assert "not one over seeds" in power.outlook(OWN, "linear", (1.2, INF))
