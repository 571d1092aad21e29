"""The words of a finding are those of its numbers."""

import math

import pytest

from replication.words import (
    behind,
    changed,
    closer,
    counted,
    ends,
    errors,
    how_many,
    lies,
    listed,
    more,
    placed,
    ranged,
    ranging,
    sided,
    whether,
)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([44, 44, 44], [50, 50, 50], "grew from 44 to 50 in all 3 seeds"),
        ([44, 44, 50], [50, 50, 56], "grew in all 3 seeds, on average from 46 to 52"),
        ([20, 26], [20, 26], "stayed in both seeds, on average at 23"),
        ([62], [38], "fell from 62 to 38 in the one seed"),
        ([20, 20], [20, 20], "stayed at 20 in both seeds"),
        ([20, 20, 26], [26, 26, 20], "grew in 2, fell in 1 of 3 seeds, on average from 22 to 24"),
        ([20, 26], [26, 20], "grew in 1, fell in 1 of 2 seeds, on average 23 before and after"),
    ],
)
def test_the_data_choose_the_words(before, after, words):
    assert changed(before, after).startswith(words)


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([2.0, 8.0], "ours, by a factor of 4 on average, ahead in both seeds"),
        ([0.25], "theirs, by a factor of 4 in the one seed"),
        ([8.0, 0.5, 2.0], "ours, by a factor of 2 on average, ahead in 2 of 3 seeds"),
        ([1.0, 1.002], "neither ours nor theirs, to within a percent"),
    ],
)
def test_the_closer_one_is_named(ratios, words):
    assert closer(ratios, "ours", "theirs") == words


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        ([0.1, 0.3], "0.2 nats behind it on average, behind in both seeds"),
        ([-0.012], "0.012 nats ahead of it in the one seed"),
        ([0.1, -0.4], "0.15 nats ahead of it on average, ahead in 1 of 2 seeds"),
        ([0.0], "level with it"),
    ],
)
def test_a_gap_below_zero_is_a_lead(gaps, words):
    assert behind(gaps, "nats", "it") == words


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([0.75, 0.75], "25% fewer steps than it on average, fewer in both seeds"),
        ([1.5], "50% more steps than it in the one seed"),
        ([2.0, 0.72], "20% more steps than it on average, more in 1 of 2 seeds"),
        ([1.0], "as many steps as it, to within a percent on average"),
    ],
)
def test_more_or_fewer_is_chosen_by_the_ratio(ratios, words):
    assert more(ratios, "steps", "it") == words


@pytest.mark.parametrize(
    ("values", "words"), [([5, 6, 10], "7 (5 to 10)"), ([3.14], "3.1"), ([2.0, 2.0], "2")]
)
def test_a_range_is_told_where_there_is_one(values, words):
    assert ranged(values) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.3, 0.5], "at most 0.5 in both seeds"),
        ([0.3, 0.6, 0.7], "at most 0.5 in 1 of 3 seeds"),
        ([0.6, 0.7], "above 0.5 in both seeds"),
        ([0.6], "above 0.5"),
    ],
)
def test_a_value_is_placed_beside_its_bound(values, words):
    assert placed(values, [-math.inf, 0.5]) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5], "0.50 (one seed)"),
        ([1.14, 1.141], "1.14 (the same in all 2 seeds)"),
        ([1.26, 1.1, 1.02], "1.02 to 1.26 (3 seeds)"),
    ],
)
def test_a_number_of_each_seed_is_said_as_its_ends(values, words):
    assert ranging(values) == words
    assert words.startswith(ends(values) + " (")


def test_all_some_and_none_are_said_apart():
    assert [how_many(met, 6) for met in (6, 2, 0)] == ["all 6", "2 of 6", "none of 6"]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([0.1, 0.3], "0.20 points more errors than it on average, more in both seeds"),
        ([-0.05], "0.05 points fewer errors than it in the one seed"),
        (
            [0.03, -0.01, -0.07],
            "0.02 points fewer errors than it on average, fewer in 2 of 3 seeds",
        ),
        ([0.0, 0.0], "as many errors as it, to 0.01 points, on average, as many in both seeds"),
    ],
)
def test_more_or_fewer_errors_is_chosen_by_the_mean(points, words):
    assert errors(points, "it") == words


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((-0.2, 0.1), "inside"),
        ((0.3, 0.4), "outside"),
        ((0.1, 0.3), "across an edge of"),
        ((-1, 1), "across an edge of"),
    ],
)
def test_an_interval_lies_inside_outside_or_across(ends, words):
    assert lies(ends, (-0.2, 0.2)) == words


def test_what_follows_is_said_of_all_seeds_or_of_how_many():
    accept = (0.2, math.inf)
    said = [whether(v, accept, "blocks matter", "not") for v in ([0.3, 0.2], [0.1], [0.1, 0.3])]
    assert said == ["blocks matter", "not", "blocks matter in 1 of 2 seeds only"]
    assert placed([0.1, 0.3], accept) == "at least 0.2 in 1 of 2 seeds"


@pytest.mark.parametrize(
    ("values", "words"), [([5.2, 8.0, 6.3], "6.5 (5.2 to 8)"), ([284.0], "280"), ([3, 3], "3")]
)
def test_a_mean_stands_beside_the_least_and_the_largest(values, words):
    assert ranged(values) == words


def test_ratios_have_geometric_means():
    words = changed([1.0, 4.0], [2.0, 8.0], ratios=True, digits=3)
    assert words == "grew in both seeds, on average from 2 to 4"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([True, True, True], "in all 3 seeds"),
        ([True, False, True], "in 2 of 3 seeds"),
        ([1.0, 0.0, 1.0], "in 2 of 3 seeds"),
        ([False, False], "in no seed"),
        ([True], "in the one seed"),
        ([False], "in no seed"),
    ],
)
def test_seeds_are_counted_as_one_says_it(flags, words):
    assert counted(flags) == words


@pytest.mark.parametrize(
    ("mean", "low", "high", "word"),
    [
        (1.4, 1.1, 1.8, "more"),
        (0.7, 0.5, 0.9, "less"),
        (1.4, 0.9, 2.2, "neither"),
        (1.4, None, None, "more"),
        (0.7, None, None, "less"),
        (1.0, None, None, "neither"),
    ],
)
def test_a_side_is_taken_where_the_whole_interval_lies_on_it(mean, low, high, word):
    assert sided({"mean": mean, "low": low, "high": high}, "more", "less", "neither") == word


def test_a_list_ends_with_and():
    assert [listed("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
