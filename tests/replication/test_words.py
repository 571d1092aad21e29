"""The words of a finding are those of its numbers."""

import pytest

from replication.words import changed, ends, how_many, ranging


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
