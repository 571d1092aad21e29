"""The search for learning rates, and what is refused before any training."""

from dataclasses import replace

import pytest

from replication.chapters.spirals import requirements, tuning
from replication.chapters.spirals.trials import RECIPES

TINY = replace(tuning.SETTING, observed=10, iterations=2, train_size=60, compiled=False)


def test_every_model_is_searched_alike_and_the_better_start_counts():
    one, two = (tuning.search(TINY, (0.005, 0.01), starts) for starts in (1, 2))
    assert one.keys() == RECIPES.keys()
    for model, row in one.items():
        assert row.keys() == {0.005, 0.01} and row[0.005] != row[0.01]
        assert all(two[model][rate] <= loss for rate, loss in row.items())


def test_the_rate_with_the_lowest_loss_is_used(tmp_path):
    losses = {"rnn": {0.01: 3.0, 0.02: -1.5}, "rnn_gap": {0.01: -2.0, 0.02: 0.0}}
    tuning.write(losses, tmp_path / "kept.json")
    assert tuning.read(tmp_path / "kept.json") == losses
    assert tuning.best(losses) == {"rnn": 0.02, "rnn_gap": 0.01}


def test_the_search_that_is_kept_covers_every_model_and_rate():
    kept = tuning.read()
    assert list(kept) == list(RECIPES)
    assert all(tuple(row) == tuning.GRID for row in kept.values())


def test_a_best_rate_that_ends_the_grid_is_named():
    losses = {
        "rnn": {0.01: 3.0, 0.02: 1.0, 0.04: 2.0},
        "rnn_gap": {0.01: 1.0, 0.02: 2.0, 0.04: 3.0},
        "rnn_told": {0.01: 3.0, 0.02: 2.0, 0.04: 1.0},
    }
    assert tuning.at_edge(losses) == {"rnn_gap": "lower", "rnn_told": "upper"}


def test_a_plan_that_makes_sense_passes():
    requirements.check(range(100, 110), [30, 50, 100], ["log", "archimedean"])
    requirements.check(range(1), [30], ["log"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": range(895, 905)}, "seed 900, which cannot be among the seeds 895 to 904"),
        ({"observed": [50, 30]}, r"observed must rise, each number once, got \[50, 30\]"),
        ({"observed": [30, 30]}, "each number once"),
        ({"families": ["archimedean"]}, "log among them, got"),
        ({"families": ["log", "log"]}, "different ones of log, archimedean"),
        ({"families": ["log", "helix"]}, "different ones of log, archimedean"),
    ],
)
def test_seeds_that_are_not_fresh_and_impossible_data_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        requirements.check(**{"seeds": range(1), "observed": [30], "families": ["log"], **wrong})
