"""What chapter 04 says of its trials: courses, words and refusals."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from replication.chapters.nfe import analysis
from replication.chapters.nfe.requirements import require_fit, require_held
from replication.chapters.nfe.trials.growth import Trial

TRIAL = Trial(seed=3, epochs=2, train_size=300, probes=(1e-3, 1e-5), early=(1, 2))


def probed(loose, tight, state, slope):
    sizes = {"rms_state": state, "rms_slope": slope}
    return {"nfe": [loose, tight], "there_and_back": [0.1, 0.01], **sizes}


def result():
    rows = [probed(26, 68, 0.5, 1.0), probed(20, 44, 1.0, 1.0), probed(26, 50, 1.0, 1.2)]
    history = {"epoch": [0, 1, 2], "nfe_forward": [None, 20.0, 22.5]}
    history |= {name: [row[name] for row in rows] for name in rows[0]}
    early = [probed(20, 38, 2.0, 1.0), probed(20, 32, 2.5, 1.0)]
    return {"history": history, "early": [{"step": i, **row} for i, row in enumerate(early, 1)]}


def test_a_course_has_the_early_steps_as_parts_of_the_first_epoch():
    course = analysis.course(result(), TRIAL)
    assert list(course.index) == pytest.approx([0, 1 / 3, 2 / 3, 1, 2])
    assert course["nfe", 1e-5].tolist() == [68, 38, 32, 44, 50]
    assert course["there_and_back", 1e-3].tolist() == [0.1] * 5
    assert course["rms", "quotient"].tolist() == pytest.approx([2, 0.5, 0.4, 1, 1.2])
    assert course["batches", "nfe"].dropna().tolist() == [20.0, 22.5]


def test_a_course_without_early_steps_is_that_of_its_epochs():
    course = analysis.course({**result(), "early": []}, TRIAL)
    assert course["nfe", 1e-3].tolist() == [26, 20, 26]


def test_rank_correlation_is_one_where_both_rise_and_fall_together():
    course = analysis.course(result(), TRIAL)
    assert analysis.rank_correlation(course, 1e-5) == pytest.approx(1.0)
    course["nfe", 1e-5] = -course["nfe", 1e-5]
    assert analysis.rank_correlation(course, 1e-5) == pytest.approx(-1.0)


def test_published_courses_are_those_of_longer_trainings_by_the_recipe(tmp_path):
    for name in ("growth-recipe-seed3", "growth-adam-seed3"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "trial.json").write_text(json.dumps({"trial": asdict(TRIAL)}))
        (folder / "result.json").write_text(json.dumps({"result": result()}))
    (course,) = analysis.published(tmp_path, 1)
    assert course.equals(analysis.course(result(), TRIAL))
    assert analysis.published(tmp_path, 2) == []
    assert analysis.published(tmp_path / "none", 1) == []


def test_what_was_predicted_stands_beside_what_came_under_its_claim():
    row = SimpleNamespace(number="C1", title="A claim", claim="It holds", accept=(0, 1))
    row.predicted, row.post_hoc = "up", False
    late = SimpleNamespace(**{**vars(row), "post_hoc": True})
    silent = SimpleNamespace(**{**vars(row), "predicted": ""})
    rows = {"a": row, "b": silent, "c": late}
    assert analysis.expected(rows, {"a": 0.5, "c": None}).splitlines() == [
        "- **A claim** (C1)",
        "  - It holds. *Predicted:* up. *Came:* 0.50, within 0 to 1.",
        "  - It holds. *Predicted after a look at such numbers:* up. "
        "*Came:* not measured in this run.",
    ]


@pytest.mark.parametrize(
    ("values", "accept", "words"),
    [
        ([1.1, 1.15], (1.2, float("inf")), "below 1.2 in both seeds"),
        ([1.1, 1.3], (1.2, float("inf")), "at least 1.2 in 1 of 2 seeds"),
        ([0.5], (float("-inf"), 1), "at most 1"),
        ([1.5], (float("-inf"), 1), "above 1"),
        ([1.0, 1.05], (0.9, 1.1), "within 0.9 to 1.1 in both seeds"),
        ([0.5], (0.9, 1.1), "outside 0.9 to 1.1"),
    ],
)
def test_what_came_says_where_it_lies(values, accept, words):
    found = f"{values[0]:.2f} to {values[1]:.2f}" if len(values) > 1 else f"{values[0]:.2f}"
    assert analysis.came({"values": values}, accept) == f"{found}, {words}"


def test_what_came_of_one_number_and_of_none():
    assert analysis.came(2.0, (1.2, float("inf"))) == "2.00, at least 1.2"
    assert analysis.came(None, (1.2, float("inf"))) == "not measured in this run"


def test_parameters_that_do_not_fit_are_refused():
    require_held("probes", [1e-3, 1e-5], [1e-5], "why")
    with pytest.raises(ValueError, match="probes must hold 1e-05, at which .*; it holds 0.001$"):
        require_held("probes", [1e-3], [1e-3, 1e-5], "at which the claims count")
    require_fit(2, 5, 10)
    with pytest.raises(ValueError, match="4 batches of 3 do not fit 10 test images: ask for fewer"):
        require_fit(4, 3, 10)


def test_a_control_that_is_longer_than_the_recipes_training_is_refused():
    analysis.require_control(4, 4)
    with pytest.raises(ValueError, match="control_epochs = 5 is more than growth_epochs = 4"):
        analysis.require_control(5, 4)
