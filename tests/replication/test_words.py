"""The words of a finding are those of its numbers."""

import math

import pytest

from replication.words import changed, placed, ranged


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([44, 44, 50], [50, 50, 56], "grew from 46 to 52 in all 3 seeds"),
        ([62], [38], "fell from 62 to 38 in the one seed"),
        ([20, 20], [20, 20], "stayed at 20 in all 2 seeds"),
        ([20, 20, 26], [26, 20, 20], "grew in 1, fell in 1, stayed in 1 of 3 seeds, on average "),
    ],
)
def test_the_data_choose_the_words(before, after, words):
    assert changed(before, after).startswith(words)


@pytest.mark.parametrize(
    ("values", "words"), [([5, 6, 10], "7 (5 to 10)"), ([3.14], "3.1"), ([2.0, 2.0], "2")]
)
def test_a_range_is_told_where_there_is_one(values, words):
    assert ranged(values) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.3, 0.5], "at most 0.5 in all 2 seeds"),
        ([0.3, 0.6, 0.7], "at most 0.5 in 1 of 3 seeds"),
        ([0.6, 0.7], "above 0.5 in all 2 seeds"),
        ([0.6], "above 0.5"),
    ],
)
def test_a_value_is_placed_beside_its_bound(values, words):
    assert placed(values, [-math.inf, 0.5]) == words
