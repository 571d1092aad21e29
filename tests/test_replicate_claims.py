"""Claims are checked rules, and a verdict is what the rule says about the record."""

import pytest
import toy_clone
import yaml
from toy_clone import job, settle

from odenet.replicate import claims, estimate
from odenet.replicate.profiles import Profile

ROW = {
    "id": "gap-small",
    "where": "Table 1",
    "claim": "The gap is small",
    "paper": {"gap": 0.1, "other": "about 2"},
    "metric": "01_good.gap",
    "accept": [-float("inf"), 2],
    "why": "Two is small.",
    "known": "Nothing.",
}
STEMS = ["01_good", "03_plain"]
INTERVAL = {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 3}


def load(tmp_path, *rows):
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(list(rows)))
    return claims.load(path, STEMS)


def test_a_good_row_is_read(tmp_path):
    (claim,) = load(tmp_path, ROW)
    assert claim.accept == (-float("inf"), 2.0) and claim.paper["gap"] == 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acept": [0, 1]}, "unknown key 'acept'; did you mean 'accept'?"),
        ({"why": ""}, "why must be a str and not empty"),
        ({"why": None}, "why must be a str"),
        ({"known": 3}, "known must be a str"),
        ({"metric": "01_god.gap"}, "unknown notebook '01_god'; did you mean '01_good'?"),
        ({"metric": "01_good"}, "metric must be notebook.name"),
        ({"accept": [2, 1]}, "low < high"),
        ({"accept": [1]}, "low < high"),
        ({"accept": ["low", 1]}, "low < high"),
        ({"accept": 1}, "accept must be a list"),
        ({"paper": 0.4}, "paper must be a dict"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path, change, message):
    with pytest.raises(ValueError, match="row 2 .gap-small.: ") as caught:
        load(tmp_path, ROW | {"id": "first"}, ROW | change)
    assert message in str(caught.value)


def test_a_missing_key_a_repeated_id_and_another_shape_are_refused(tmp_path):
    without = {key: value for key, value in ROW.items() if key != "why"}
    with pytest.raises(ValueError, match="why must be"):
        load(tmp_path, without)
    with pytest.raises(ValueError, match="more than one claim: gap-small"):
        load(tmp_path, ROW, ROW)
    (tmp_path / "claims.yml").write_text("id: x\n")
    with pytest.raises(ValueError, match="list of claims"):
        claims.load(tmp_path / "claims.yml", STEMS)


@pytest.mark.parametrize(
    ("accept", "verdict"),
    [
        ((1.0, 2.0), "supported"),  # edges count as inside
        ((0.0, 1.999), "inconclusive"),
        ((1.001, 9.0), "inconclusive"),
        ((1.4, 1.6), "inconclusive"),  # the mean inside is not enough
        ((2.0, 9.0), "inconclusive"),  # one point in common
        ((2.001, 9.0), "not supported"),
        ((-9.0, 0.999), "not supported"),
        ((-float("inf"), float("inf")), "supported"),
    ],
)
def test_the_whole_interval_decides(accept, verdict):
    assert claims.judge(INTERVAL, accept) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1, "supported"), (2.0, "supported"), (0.999, "not supported"), (2.001, "not supported")],
)
def test_a_plain_number_decides_alone(value, verdict):
    assert claims.judge(value, (1.0, 2.0)) == verdict


def test_a_single_seed_decides_nothing():
    assert claims.judge(estimate([1.5]), (1.0, 2.0)) == "inconclusive"


@pytest.fixture
def clone(tmp_path):
    root = toy_clone.make(tmp_path)
    rows = [ROW, ROW | {"id": "plain", "metric": "03_plain.x", "accept": [2, 3]}]
    (root / "book/claims.yml").write_text(yaml.safe_dump(rows))
    return root


def judged(root):
    return claims.judged(root, Profile("quick", root).records)


def test_verdicts_come_from_the_records(clone):
    assert [row.verdict for row in judged(clone)] == ["not run", "not run"]
    settle(job(clone), gap=estimate([1, 1.1, 0.9]))
    settle(job(clone, "03_plain"), x=1)
    assert [row.verdict for row in judged(clone)] == ["supported", "not supported"]
    assert claims.sentence(judged(clone)) == "1 supported, 1 not supported"
    (clone / "toy.py").write_text("def gap(seed, scale): return 0\n")
    assert [row.verdict for row in judged(clone)] == ["stale", "not supported"]


def test_a_metric_that_is_not_reported_is_refused(clone):
    settle(job(clone), gaps=1)
    with pytest.raises(ValueError, match="unknown metric of 01_good 'gap'; did you mean 'gaps'"):
        judged(clone)


def test_tables_show_each_claim(clone):
    settle(job(clone), gap=estimate([1, 1.1, 0.9]))
    rows = judged(clone)
    head, _, first, second = claims.table(rows).splitlines()
    assert head == "| claim | where | paper | expected | here | verdict |"
    assert "| gap 0.1, other about 2 | at most 2 | 1 [0.752," in first and "not run" in second
    assert ">supported</td>" in claims.summary(rows)
    assert "Two is small." in claims.details(rows)
    assert claims.drawn(rows[0])["value"] == pytest.approx(1.0)
    assert claims.drawn(rows[1])["value"] is None


def test_the_papers_claims_are_sound_and_need_no_record(tmp_path):
    rows = claims.judged(Profile("paper").root, tmp_path)
    assert claims.counts(rows)["not run"] == len(rows) > 0
