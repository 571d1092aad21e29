"""Claims are checked rules; a verdict is what the rule says, an agreement what the seeds say."""

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import preregistration
import pytest
import toy_clone
import yaml
from toy_clone import job, settle

from replication.runner import estimate, start
from replication.runner.claims import agreement, cards, page, rules, verdicts
from replication.runner.machine import code_commit
from replication.runner.profiles import Profile

INF = math.inf
ROW = {
    "id": "gap-small",
    "number": "C1",
    "where": "Table 1",
    "claim": "The gap is < 2",
    "paper": {"gap": 0.1, "other": "about 2"},
    "metric": "01_good.gap",
    "accept": [-INF, 2],
    "why": "Two is small.",
    "known": "Nothing.",
}
PLAIN = ROW | {"id": "plain", "number": "C2", "metric": "03_plain.x", "accept": [2, 3]}
TOPICS = {"Toys": {"C1": "Gaps are small", "C2": "All is <plain>"}}
CLAIM = rules.Claim(**ROW | {"accept": (0.0, 1.0)}, topic="", title="")
BEYOND = {"Ours": {"P1": "More"}}
EXTRA = ROW | {"id": "extra", "number": "P1"}
OLD = {"id": "old", "number": "C1", "claim": "The gap is < 9", "metric": "01_good.wide"}
OLD |= {"accept": [-INF, 9], "verdict": "supported", "measured": "3", "reason": "Too wide."}
OLD |= {"by": ["gap-small"]}


def text(*rows, **parts):
    return yaml.safe_dump({"topics": TOPICS, "beyond": BEYOND, "claims": list(rows), **parts})


def load(folder, content):
    (folder / "claims.yml").write_text(content)
    return rules.read(folder / "claims.yml")


# The rules


def test_rows_are_read_in_the_order_of_the_topics(tmp_path):
    more = {
        "unit": "points",
        "printed": 0.1,
        "figure": "fig-gap",
        "needs": ["epochs", "machine"],
        "scale": "log",
    }
    first, second, beyond = load(tmp_path, text(EXTRA, PLAIN, ROW | more)).claims
    assert (first.accept, first.stem, first.name) == ((-INF, 2.0), "01_good", "gap")
    assert (first.topic, first.title, first.printed) == ("Toys", "Gaps are small", 0.1)
    assert (first.needs, first.scale) == (["epochs", "machine"], "log")
    assert (first.unit, second.unit) == ("points", "")
    assert (second.number, second.printed, second.scale) == ("C2", None, "linear")
    assert (beyond.number, beyond.topic) == ("P1", "Ours")
    assert [row.beyond for row in (first, second, beyond)] == [False, False, True]


def test_what_is_planned_superseded_or_given_up_is_told_from_the_claims(tmp_path):
    rules = load(tmp_path, text(ROW, planned=[PLAIN], superseded=[OLD], given_up=["C2"]))
    assert [row.id for row in rules.claims] == ["gap-small"] and not rules.claims[0].given_up
    assert [row.id for row in rules.planned] == ["plain"] and rules.planned[0].given_up
    assert (rules.superseded[0].accept, rules.superseded[0].by) == ((-INF, 9), ["gap-small"])
    assert rules.titles == {"C1": "Gaps are small", "C2": "All is <plain>", "P1": "More"}


@pytest.mark.parametrize(
    ("change", "given", "allowed"),
    [
        ({"acept": [0, 1]}, "'acept' was unexpected", "number, where, claim, paper, metric, acc"),
        ({"why": ""}, "why: '' should be non-empty", "words"),
        ({"known": 3}, "known: 3 is not of type 'string'", "words"),
        ({"paper": 0.4}, "paper: 0.4 is not of type 'object'", "name: number or words"),
        ({"paper": {"rate": None}}, "paper: rate: None is not", "those with a comma in quotes"),
        ({"accept": [1]}, "accept: [1] is too short", "[low, high], low < high"),
        ({"accept": ["low", 1]}, "'low' is not of type 'number'", ""),
        ({"accept": [2, 1]}, "not [2, 1]", "[low, high], low < high, one finite"),
        ({"accept": [-INF, INF]}, "not [-inf, inf]", "one finite"),
        ({"accept": [math.nan, 1]}, "not [nan, 1]", "low < high"),
        ({"printed": 0}, "printed: 0 is less than or equal to the minimum of 0", "above 0"),
        ({"scale": "lin"}, "scale: 'lin' is not one of", "linear, log, share or corr"),
        ({"number": "C11"}, "unknown number 'C11'; did you mean 'C1'?", "C1, C2"),
        ({"metric": "01_good"}, "metric: '01_good' does not match", "notebook.metric"),
        ({"id": "plain"}, "another row has the same id", ""),
    ],
)
def test_a_bad_row_is_refused_with_its_place_and_what_is_allowed(tmp_path, change, given, allowed):
    with pytest.raises(ValueError) as caught:
        load(tmp_path, text(PLAIN, ROW | change))
    message = str(caught.value)
    assert message.startswith("claims.yml") and f"row 2 ({change.get('id', ROW['id'])})" in message
    assert given in message and allowed in message


@pytest.mark.parametrize("key", ROW.keys() - {"id"})
def test_a_missing_key_is_refused(tmp_path, key):
    without = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(ValueError, match=rf"row 1 \(gap-small\): '{key}' is a required property"):
        load(tmp_path, text(without, PLAIN))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- id: x\n", "is not of type 'object' .allowed: topics, beyond, claims, given_up, pl"),
        ("{topics: {}, claim: []}", "'claims' is a required property|'claim' was unexpected"),
        ("{topics: {Toys: C1}, claims: []}", "topics: Toys: 'C1' is not of type 'object'"),
        ("{topics: {}, claims: [x]}", r"row 1 \(no id\): 'x' is not of type 'object'"),
        ("{topics: {},\n claims: [{id: a,\n id: b}]}", "a key is given twice in .* line 2"),
        ("claims: [", "while parsing"),
        (text(ROW, planned=[ROW]), r"planned, row 1 \(gap-small\): another row has the same id"),
        (text(planned=[ROW | {"number": "C9"}]), r"planned, row 1 .*: unknown number 'C9'"),
        (text(ROW, superseded=[OLD | {"number": "C9"}]), "superseded, row 1 .*unknown number 'C9'"),
        (text(ROW, superseded=[OLD | {"id": "gap-small"}]), "another row has the same id"),
        (text(superseded=[OLD]), "superseded, row 1 .old.: unknown id in by 'gap-small'"),
        (text(superseded=[OLD | {"by": ["old"]}]), "unknown id in by 'old'"),
        (
            text(superseded=[OLD | {"by": []}]),
            r"row 1 \(old\): by: \[\] .*at least one",
        ),
        (text(superseded=[OLD | {"verdict": "mixed"}]), "'mixed' is not one of"),
        (text(given_up=["P1"]), "unknown number in given_up 'P1'"),
        (text(beyond={"Ours": {"C1": "More"}}), "beyond: Ours: C1 is listed twice"),
    ],
)
def test_another_shape_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"claims.yml: .*{message}"):
        load(tmp_path, content)


# The verdicts


@pytest.fixture
def clone(tmp_path):
    root = toy_clone.make(tmp_path)
    (root / "book/claims.yml").write_text(text(ROW | {"needs": ["scale", "seeds"]}, PLAIN))
    return root


def judged(root, profile="quick"):
    return verdicts.judged(root, Profile(profile, root).records)


def test_verdicts_come_from_the_records(clone):
    assert [row.verdict for row in judged(clone)] == ["not run", "not run"]
    settle(job(clone), gap=estimate([1, 1.1, 0.9]))
    settle(job(clone, "03_plain"), x=1)
    assert [row.verdict for row in judged(clone)] == ["supported", "not supported"]
    assert verdicts.totals(judged(clone)) == "2 tests of 2 claims: 1 supported, 1 not supported"
    (clone / "toy.py").write_text("def gap(seed, scale): return 0\n")
    assert [row.verdict for row in judged(clone)] == ["stale", "not supported"]


def test_a_claim_that_is_newer_than_its_record_was_not_run(clone):
    settle(job(clone), n=2)
    assert judged(clone)[0].verdict == "not run"


def test_a_metric_is_judged_on_the_scale_of_its_row(clone):
    settle(job(clone), gap=estimate([1.0, 1.0, 0.0]))
    found = []
    for scale in ("linear", "share"):
        (clone / "book/claims.yml").write_text(text(ROW | {"accept": [-0.3, 1], "scale": scale}))
        found += [(row.verdict, row.estimate.text()) for row in judged(clone)]
    assert found == [
        ("inconclusive", "0.667 [-0.307,\u00a01.64], n\u00a0=\u00a03"),
        ("supported", "2 of 3 seeds [0.135,\u00a00.983]"),
    ]


def verdict(word, **more):
    return verdicts.Verdict(replace(CLAIM, id=word, **more), word, None)


@pytest.mark.parametrize(
    ("tests", "word"),
    [
        ([verdict("supported"), verdict("not supported")], "supported"),  # the first
        ([verdict("supported"), verdict("not supported", main=True)], "not supported"),
        ([verdict("supported", main=True)] * 2 + [verdict("not supported")], "supported"),
        ([verdict("supported", main=True), verdict("not supported", main=True)], "mixed"),
        ([verdict("supported", main=True), verdict("inconclusive", main=True)], "mixed"),
        ([verdict("supported", main=True), verdict("not run", main=True)], "not run"),
        ([verdict("supported", main=True), verdict("stale", main=True)], "stale"),
    ],
)
def test_the_verdict_of_a_claim_is_that_of_its_main_tests(tests, word):
    assert verdicts.headline(tests) == word


def test_tests_after_a_look_and_beyond_the_paper_are_counted_apart():
    late, beyond = verdict("supported", post_hoc=True), verdict("stale", beyond=True, number="P1")
    rows = [verdict("supported"), late, verdict("not supported"), beyond]
    assert verdicts.parted(rows) == {
        "paper": [rows[0], rows[2]],
        "late": [late],
        "beyond": [beyond],
    }
    words = "2 tests of 1 claim: 1 supported, 1 not supported"
    assert verdicts.totals(rows) == f"{words}; written after a look, 1 test of 1 claim: 1 supported"


# A rerun


def share(k):
    return estimate([1.0] * k + [0.0] * (10 - k))


def compared(published, mine, **more):
    return agreement.compare(published, mine, replace(CLAIM, **more))


THREE = estimate([1.0, 2.0, 3.0])  # s = 1, and t(2, 0.975) = 4.302653
OWN = {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 10_000, "interval": "bootstrap"}
ALONE, FOUR = 4.302653 * math.sqrt(1 + 1 / 3), 4.302653 * math.sqrt(1 / 4 + 1 / 3)


@pytest.mark.parametrize(
    ("mine", "word"),
    [
        ([2 + 0.999 * ALONE], "agrees"),
        ([2 - 1.001 * ALONE], "differs"),
        ([2 + 0.999 * FOUR] * 4, "agrees"),
        ([2 + 1.001 * FOUR] * 4, "differs"),
    ],
)
def test_a_run_agrees_that_lies_in_the_prediction_interval_of_one_new_run(mine, word):
    assert compared(THREE, estimate(mine)) == (word, "")
    for there, scale in ((np.exp, "log"), (lambda x: np.tanh(x / 10), "correlation")):
        moved = (estimate(there(np.array(run))) for run in (THREE["values"], mine))
        assert compared(*moved, scale=scale) == (word, "")


def test_of_equal_runs_nineteen_in_twenty_agree():
    draw = np.random.default_rng(0).normal
    pairs = [(estimate(draw(size=4)), estimate(draw(size=2))) for _ in range(1000)]
    agree = [compared(*pair)[0] == "agrees" for pair in pairs]
    assert np.mean(agree) == pytest.approx(0.95, abs=0.024)  # 3.5 standard deviations


@pytest.mark.parametrize(
    ("published", "mine", "more", "word", "reason"),
    [
        (2.0, 2.019, {}, "agrees", ""),  # plain numbers: no seed moves them
        (2.0, 2.05, {}, "differs", ""),
        (2.0, 2.05, {"needs": ["machine"]}, "not comparable", "without a spread"),  # a timing
        (estimate([2.0]), estimate([2.5]), {}, "not comparable", "without a spread"),
        (estimate([2.0] * 3), estimate([2.5]), {}, "not comparable", "without a spread"),
        (estimate([2.0] * 3), estimate([2.01]), {}, "agrees", ""),
        (THREE, estimate([-1.0]), {"scale": "log"}, "not comparable", "no logarithm"),
        (OWN, OWN | {"mean": 2.0}, {}, "not comparable", "no values by seed"),
        (OWN, OWN | {"mean": 1.501}, {}, "agrees", ""),
        (share(9), share(4), {"scale": "share"}, "agrees", ""),  # p = 0.057
        (share(10), share(4), {"scale": "share"}, "differs", ""),  # p = 0.011
    ],
)
def test_without_a_spread_only_what_is_equal_to_a_per_cent_agrees(
    published, mine, more, word, reason
):
    found, why = compared(published, mine, **more)
    assert found == word and reason in why and bool(reason) == bool(why)


def rerun(root, profile="quick"):
    return agreement.agreement(root, Profile(profile, root).records)


def words(root):
    return [(row.word, row.reason) for row in rerun(root)]


def test_a_rerun_is_compared_where_what_its_claim_needs_is_equal(clone):
    settle(job(clone, profile="paper"), gap=THREE)
    settle(job(clone, "03_plain"), x=1)
    assert words(clone) == [("not comparable", "not run"), ("not comparable", "not published")]
    settle(job(clone), gap=estimate([2.5]))
    assert words(clone)[0] == ("not comparable", "scale 3, published 1.0")
    settle(job(clone, profile="custom", seeds=9, scale=2.0), gap=estimate([2.5]))
    assert rerun(clone, "custom")[0].reason == "scale 2.0, published 1.0; also seeds"
    settle(job(clone, profile="smoke"), gap=estimate([2.5]))
    (row, other) = rerun(clone, "smoke")
    assert (row.word, row.published, row.mine) == ("agrees", THREE, estimate([2.5]))
    assert "1 of the 1 results" in agreement.agreeing([row, other])
    assert rerun(clone, "paper") == []


def test_a_rerun_of_other_code_is_not_compared(clone):
    for profile in ("paper", "smoke"):
        settle(job(clone, profile=profile), gap=THREE)
    (clone / "toy.py").write_text("def gap(seed, scale): return 0\n")
    rows = rerun(clone, "smoke")
    assert rows[0].reason == "stale" and agreement.agreeing(rows).startswith("No result")


def test_a_timing_is_compared_on_one_machine(clone):
    (clone / "book/claims.yml").write_text(text(ROW | {"needs": ["machine"]}, PLAIN))
    for profile in ("paper", "smoke"):
        settle(job(clone, profile=profile), gap=THREE)
    assert rerun(clone, "smoke")[0].word == "agrees"
    path = job(clone, profile="smoke").record
    kept = json.loads(path.read_text())
    kept["provenance"]["processor"] = "Abacus"
    path.write_text(json.dumps(kept))
    assert rerun(clone, "smoke")[0].reason.startswith("machine Abacus, ")


def test_the_terminal_shows_all_or_the_main_test_of_some_claims(clone):
    (clone / "book/claims.yml").write_text(text(ROW, ROW | {"id": "again"}, PLAIN))
    settle(job(clone, profile="paper"), gap=THREE)
    settle(job(clone), gap=estimate([2.5]))
    assert len(agreement.text(rerun(clone)).splitlines()) == 4
    head, first, second = agreement.text(rerun(clone), ["C2", "C9", "C1"]).splitlines()
    assert first.split() == ["C2", "plain", "–", "–", "not", "comparable:", "not", "run"]
    assert second.startswith("C1     gap-small  2 [") and second.endswith("1  agrees")
    assert head.index("mine") == second.index("2.5,")


# The page


def cells(html):
    rows = html.replace("</th>", "</td>").replace("<th", "<td").split("<tr")
    return [[cell.split(">", 1)[1] for cell in row.split("<td")[1:]] for row in rows[1:]]


@pytest.fixture
def shown(clone):
    """A clone whose first two tests were published, and its verdicts."""
    again = ROW | {"id": "again", "figure": "fig-gap", "unit": "points"}
    figure = {"mystnb": {"figure": {"name": "fig-gap"}}}
    path = clone / "notebooks/01_good.ipynb"
    source = json.loads(path.read_text())
    source["cells"][2]["metadata"] |= figure
    path.write_text(json.dumps(source))
    (clone / "book/claims.yml").write_text(text(ROW, again, PLAIN))
    settle(job(clone, profile="paper"), gap=estimate([1, 1.1, 0.9]))
    return clone, judged(clone, "paper")


def test_the_table_has_each_test_with_links_to_reasons_and_figures(shown):
    html = page.table(shown[1])
    assert "3 tests of 2 claims: 2 supported, 1 not run." in html
    heads, topic, first, again, plain = cells(html)
    assert len(heads) == 5 and topic[0].startswith("Toys<")
    assert '<a href="#why-c1">C1</a> The gap is &lt; 2' in first[0]
    assert "✓ supported" in first[1] and "at most 2<" in first[3]
    assert '<span class="number">1</span><span class="spread"> [0.831,' in first[2]
    assert first[4].startswith("Table 1:<br>gap: 0.1; other: about 2")
    assert '(<a href="01_good.html">chapter\u00a01</a>)' in first[0]
    assert '(<a href="01_good.html#fig-gap">chapter\u00a01</a>)' in again[0]
    assert "1\u00a0point<" in again[2] and "at most 2\u00a0points<" in again[3]
    assert "– not run" in plain[1] and "(chapter\u00a03)" in plain[0]


def test_a_rerun_stands_beside_the_published_verdicts(shown):
    root, published = shown
    settle(job(root, "03_plain"), x=2.5)
    html = page.table(published, rerun(root))
    heads, _, first, _, plain = cells(html)
    assert [head.split("<")[0] for head in heads][2:5] == ["published", "this run", "agreement"]
    assert "✓ supported" in first[1] and " [0.831," in first[2] and "–" in first[3]
    assert first[4].startswith("not comparable: not run") and "at most 2" in first[5]
    assert "(chapter\u00a01)" in first[0]  # this run has no such chapter
    assert "– not run" in plain[1] and "2.5" in plain[3]
    assert plain[4].startswith("not comparable: not pub") and '"03_plain.html">chap' in plain[0]
    for part in (
        page.tests(published, "01_good", rerun(root)),
        page.summary(published, rerun(root)),
    ):
        assert "not comparable: not run" in part and ">published</th>" in part


def test_the_tests_of_a_chapter_lead_to_the_page_of_the_verdicts(shown):
    heads, *rows = cells(page.tests(shown[1], "01_good"))
    assert len(rows) == 2 and len(heads) == 5
    assert '<a href="10_verdicts.html#why-c1">C1</a>' in rows[0][0]


def test_the_summary_has_a_row_for_each_claim_and_words_for_its_further_tests(shown):
    html = page.summary(shown[1], page="v.html")
    heads, topic, first, plain = cells(html)
    assert topic[0].startswith("Toys<") and len(heads) == len(first) == len(plain) == 4
    assert "✓ supported" in first[1] and "– not run" in plain[1]
    assert '<a href="v.html#why-c1">C1</a> Gaps are small' in first[0]
    assert 'href="v.html#why-c1">1 further test: supported</a>' in first[0]
    assert "All is &lt;plain&gt;" in plain[0] and "further" not in plain[0]


def main(root, **more):
    """The verdicts where a claim has two main tests, of which one was written after a look."""
    late = ROW | {"id": "late", "claim": "The gap is > 2", "accept": [2, INF], "post_hoc": True}
    rows = [ROW | {"main": True}, late | {"main": True}, ROW | {"id": "again"}, PLAIN, EXTRA]
    (root / "book/claims.yml").write_text(text(*rows, **more))
    return judged(root, "paper")


def test_a_claim_whose_main_tests_disagree_is_mixed_and_shows_them_all(shown):
    html = page.summary(main(shown[0], given_up=["C2"]))
    heads, topic, mixed, first, second, given_up, plain = cells(html)
    assert "C1</a> Gaps are small" in mixed[0] and "1 further test: supported" in mixed[0]
    assert "◐ mixed" in mixed[1] and "✓ supported" in first[1] and "✗ not supported" in second[1]
    assert first[0].startswith("The gap is &lt; 2<") and second[0].startswith("The gap is &gt; 2†")
    assert "at most 2" in first[3] and "at least 2" in second[3]
    assert given_up[0].startswith("Withdrawn by the authors, or reported") and "C2" in plain[0]


def test_a_test_written_after_a_look_has_a_mark_with_a_note(shown):
    verdicts = main(shown[0])
    for html in (page.tests(verdicts, "01_good"), page.summary(verdicts), page.table(verdicts)):
        assert html.count("†") == 2 and html.endswith("written after a look at such numbers.</p>")
    assert page.brief(verdicts).count(" † |") == 1
    assert "†" not in page.table(shown[1]) and page.table([]) == "<p>There is none.</p>"


def test_the_answer_tells_what_was_given_up_and_what_was_seen_before(shown):
    words = page.answer(main(shown[0], given_up=["C2"]))
    assert words == (
        "Of the paper's 2 claims, by our main tests: 1 mixed. Apart from these, 1 that the authors "
        "withdrew or are reported to have given up: 1 not run. Tests written after numbers like "
        "theirs were seen (†) decide 1 of the 2."
    )


def test_what_chance_may_do_counts_the_tests_with_an_interval(shown):
    settle(job(shown[0], "03_plain", "paper"), x=2.5)
    words = page.chance(main(shown[0]))
    assert words.startswith("Of these 5 tests 4 are judged by an interval.")
    assert "at most 5%, so on average 0.2 or fewer of the 4" in words


def test_a_card_says_in_words_what_was_found_and_whether_anything_was(shown, monkeypatch):
    root, published = shown
    monkeypatch.setitem(cards.SAID, "gap-small", lambda x: f"The gap is {x:.1f}")
    assert page.card(published, "C1") == (
        '<p class="finding">The gap is 1.0; the claim needs at most 2. '
        '<span class="verdict supported">✓ supported</span></p>'
    )
    waiting = page.card(published, "C2")
    assert "Claimed, but not measured yet: " in waiting and "– not run" in waiting
    settle(job(root, "03_plain"), x=1)
    assert "Not measured in this run: The gap" in page.card(published, "C1", rerun(root))
    settle(job(root), gap=estimate([2.5]))
    found = page.card(published, "C1", rerun(root))
    assert "The gap is 2.5. With the published run: differs." in found


def test_what_the_start_page_says_has_words_for_each_of_its_tests():
    kept = rules.read(Profile("paper").claims)
    tests = [verdicts.Verdict(row, "not run", None) for row in (*kept.claims, *kept.planned)]
    main = {group[0].claim.number: rules.main_tests(group) for group in rules.by_claim(tests)}
    assert {row.claim.id for number in rules.HEADLINES for row in main[number]} <= set(cards.SAID)
    assert [number for number, _, _ in start.CARDS.values()] == list(rules.HEADLINES)
    for stem, figure in (start.HERO, *(place for _, *place in start.CARDS.values())):
        notebook = nbformat.read(Profile("paper").notebooks / f"{stem}.ipynb", as_version=4)
        assert start.drawn(notebook, figure)
    parity = cards.SAID["mnist-parity-paired"]
    assert "0.12 points less often" in parity(-0.12) and "0.12 points more often" in parity(0.12)
    assert "errs as often as the ResNet" in parity(-0.004)
    assert "is just the latent ODE's" in cards.SAID["latent-ode-30-told"](1.004)


def test_the_details_have_what_was_expected_what_was_before_and_what_is_planned(shown):
    more = {"predicted": "one", "post_hoc": True, "accept": [1.1, INF]}
    content = text(ROW | more, superseded=[OLD], planned=[EXTRA | {"predicted": "two"}])
    (shown[0] / "book/claims.yml").write_text(content)
    verdicts = judged(shown[0], "paper")
    details = page.details(verdicts, rules.read(shown[0] / "book/claims.yml"))
    first, extra = details.split('<span id="why-p1"></span>')
    measured = "here 1 [0.831,\u00a01.17], n\u00a0=\u00a03: **inconclusive**."
    assert f"Needed: `01_good.gap` at least 1.1; {measured}\n" in first
    assert "\n    - *Expected beforehand:* one\n    - *†* This test was written after" in first
    assert "\n    - *What would decide it:* At the mean and spread seen, it takes " in first
    assert first.rstrip().endswith(
        "- `old`, judged no longer: The gap is < 9. Needed: `01_good.wide` at most 9; "
        "measured 3: supported. Too wide. In its place: `gap-small`."
    )
    folded = extra[extra.index("<details") :]
    assert folded.startswith(
        '<details class="planned"><summary>Planned: 1 more</summary>\n\n- `extra`, Table 1: '
    )
    assert "*Expected beforehand:* two\n\n</details>" in folded and "C2" not in details


def test_what_decides_by_its_value_alone_is_drawn_without_an_interval(shown):
    settle(job(shown[0], profile="paper"), gap=estimate([1.0, 1.0]))
    row = page.drawn(judged(shown[0], "paper")[0])
    assert (row["value"], row["low"], row["high"]) == (1, None, None)


def test_the_answer_counts_the_main_tests_or_the_agreements(shown):
    root, published = shown
    words = "Of the paper's 2 claims, by our main tests: 1 supported, 1 not run."
    assert page.answer(published) == words
    settle(job(root), gap=estimate([1.05]))
    assert page.answer(published, rerun(root)).startswith("2 of the 2 results")


def test_reasons_and_the_table_of_the_readme_are_markdown(shown):
    details = page.details(shown[1], rules.read(shown[0] / "book/claims.yml"))
    assert details.startswith('<span id="why-c1"></span>**C1. Gaps are small**\n\n- `gap-small`, ')
    assert "\n    - *Why this interval:* Two is small.\n    - *Known:* Nothing.\n" in details
    assert '\n\n<span id="why-c2"></span>**C2. All is <plain>**' in details
    lines = page.brief(shown[1][1:]).splitlines()
    assert lines[2] == (
        "| C1 Gaps are small | gap: 0.1; other: about 2 | 1 point [0.831, 1.17], n = 3 "
        "| at most 2 points | ✓ supported |"
    )
    assert lines[3].endswith("| – | 2 to 3 | – not run |") and len(lines) == 4
    assert [page.drawn(row)["value"] for row in shown[1]] == [pytest.approx(1.0)] * 2 + [None]


# Committed beforehand


def git(root, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def commit_claims(root, *rows, **parts):
    (root / "book/claims.yml").write_text(text(*rows, **parts))
    git(root, "commit", "-qam", "claims")


def run(root):
    """01_good looks run, by the claims of now."""
    settle(job(root), gap=1)
    path = job(root).record
    kept = json.loads(path.read_text()) | {"claims": rules.rows_of(root, "01_good")}
    path.write_text(json.dumps(kept))


@pytest.fixture
def history(clone):
    """A clone whose first commit holds the claims, and whose 01_good ran there."""
    (clone / ".gitignore").write_text("_build/\n")
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    run(clone)
    return clone


def late(root):
    return preregistration.written_late(root, Profile("quick", root).records)


def test_a_record_keeps_the_rows_of_its_notebook_and_those_planned(clone):
    (clone / "book/claims.yml").write_text(text(ROW, planned=[ROW | {"id": "new", "scale": "log"}]))
    row = {"id": "gap-small", "metric": "01_good.gap", "accept": [-INF, 2], "scale": "linear"}
    assert rules.rows_of(clone, "01_good") == [row, row | {"id": "new", "scale": "log"}]
    assert rules.rows_of(clone, "02_fails") == []


def test_other_words_and_other_notebooks_may_change(history):
    commit_claims(history, ROW | {"why": "Better words."}, PLAIN | {"accept": [0, 9]})
    assert late(history) == []


def test_an_interval_changed_after_its_record_is_named_until_it_is_run_again(history):
    commit_claims(history, ROW | {"accept": [0, 2]}, PLAIN)
    lines = late(history)
    assert len(lines) == 2
    assert all(line.startswith("gap-small: ") for line in lines)
    assert all("has 01_good.gap [-inf, 2" in line for line in lines)
    assert all(line.endswith("; run 01_good again") for line in lines)
    run(history)
    assert late(history) == []


def test_a_claim_written_after_its_record_is_named_even_if_uncommitted(history):
    (history / "book/claims.yml").write_text(text(ROW, ROW | {"id": "new"}, PLAIN))
    assert late(history) and all(
        "new: " in line and "no such claim" in line for line in late(history)
    )


def test_a_row_that_was_planned_when_its_record_was_made_may_judge_it(history):
    commit_claims(history, ROW, PLAIN, planned=[ROW | {"id": "new"}])
    run(history)
    commit_claims(history, ROW, ROW | {"id": "new"}, PLAIN)
    assert late(history) == []


def test_another_scale_than_its_record_keeps_is_named(history):
    commit_claims(history, ROW | {"scale": "log"}, PLAIN)
    assert [line.split(";")[0] for line in late(history)] == [
        "gap-small: its record has 01_good.gap [-inf, 2.0] linear"
    ]


def test_an_interval_that_was_never_committed_is_named(history):
    (history / "book/claims.yml").write_text(text(ROW | {"accept": [0, 2]}, PLAIN))
    run(history)
    (line,) = late(history)
    assert line.startswith("gap-small: commit ")


def run_with_trials_of(root, commit):
    run(root)
    path = job(root).record
    kept = json.loads(path.read_text()) | {"trials": [{"code_commit": commit}]}
    path.write_text(json.dumps(kept))


def test_an_interval_changed_between_its_trials_and_their_record_is_named(history):
    first = code_commit(history)
    commit_claims(history, ROW | {"accept": [0, 2]}, PLAIN)
    run_with_trials_of(history, first)
    (line,) = late(history)
    assert line.startswith(f"gap-small: commit {first[:8]} of a trial has 01_good.gap [-inf, 2")
    run_with_trials_of(history, code_commit(history))
    assert late(history) == []


def test_a_row_written_after_all_trials_is_named_unless_it_says_so(history):
    first, new = code_commit(history), ROW | {"id": "new"}
    commit_claims(history, ROW, new, PLAIN)
    run_with_trials_of(history, first)
    (line,) = late(history)
    assert line == "new: none of its trials began after it was written; run 01_good again"
    commit_claims(history, ROW, new | {"post_hoc": True}, PLAIN)
    assert late(history) == []


def test_a_squash_merge_leaves_the_rows_of_the_record(history):
    git(history, "commit", "--amend", "-qm", "first, differently")
    assert late(history) == []
    commit_claims(history, ROW | {"accept": [0, 2]}, PLAIN)
    assert late(history)


def test_so_does_a_shallow_clone(history, tmp_path):
    commit_claims(history, ROW | {"accept": [0, 2]}, PLAIN)
    git(history, "clone", "-q", "--depth", "1", Path(history).as_uri(), tmp_path / "shallow")
    lines = preregistration.written_late(tmp_path / "shallow", Profile("quick", history).records)
    assert len(lines) == 1
