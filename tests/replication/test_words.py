"""The words of a finding are those of its numbers."""

import pytest

from replication.words import changed, ranged


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
    ("values", "words"), [([5.2, 8.0, 6.3], "6.5 (5.2 to 8)"), ([284.0], "280"), ([3, 3], "3")]
)
def test_a_mean_stands_beside_the_least_and_the_largest(values, words):
    assert ranged(values) == words
