"""The words of a finding are those of its numbers."""

import math

import pytest

from replication.words import changed, errors, lies, placed, whether


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
    ("points", "words"),
    [
        ([0.1, 0.3], "0.20 points more errors than it in all 2 seeds"),
        ([-0.05], "0.05 points fewer errors than it in the one seed"),
        ([0.03, -0.01, -0.07], "0.02 points fewer errors than it on average, and in 2 of 3 seeds"),
        ([0.0, 0.0], "as many errors as it, to 0.01 points, in all 2 seeds"),
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
