"""Claims are checked rules, and a verdict is what the rule says about the record."""

import subprocess
from pathlib import Path

import nbformat
import pytest
import toy_clone
import yaml
from toy_clone import job, settle

from replication.runner import estimate
from replication.runner.claims import beforehand, page, rules, verdicts
from replication.runner.claims.offers import Offer, offers
from replication.runner.profiles import Profile

ROW = {
    "id": "gap-small",
    "number": "C1",
    "where": "Table 1",
    "claim": "The gap is small",
    "paper": {"gap": 0.1, "other": "about 2"},
    "metric": "01_good.gap",
    "accept": [-float("inf"), 2],
    "why": "Two is small.",
    "known": "Nothing.",
}
PLAIN = ROW | {"id": "plain", "number": "C2", "metric": "03_plain.x", "accept": [2, 3]}
LATER = ROW | {"id": "later", "number": "C2", "metric": "06_later.y"}
TOPICS = {"Toys": {"C1": "Gaps are small", "C2": "All is <plain>"}}
KNOWN = {
    "01_good": Offer(metrics=("gap", "n"), figures=("fig-gap",)),
    "03_plain": Offer(metrics=("x",)),
}
INTERVAL = {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 3}


def text(*rows, planned=(), topics=TOPICS):
    return yaml.safe_dump({"topics": topics, "planned": list(planned), "claims": list(rows)})


def load(tmp_path, *rows, **parts):
    path = tmp_path / "claims.yml"
    path.write_text(text(*rows, **parts))
    return rules.load(path, KNOWN)


def test_a_good_row_is_read(tmp_path):
    # In the order of the topics, whatever the order of the rows.
    first, second = load(tmp_path, PLAIN, ROW | {"printed": 0.1, "figure": "fig-gap"})
    assert first.accept == (-float("inf"), 2.0) and first.paper["gap"] == 0.1
    assert (first.topic, first.title, first.printed) == ("Toys", "Gaps are small", 0.1)
    assert second.number == "C2" and second.printed is None and not second.planned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acept": [0, 1]}, "unknown key 'acept'; did you mean 'accept'?"),
        ({"why": ""}, "why must be a str and not empty"),
        ({"why": None}, "why must be a str"),
        ({"known": 3}, "known must be a str"),
        ({"number": "C11"}, "unknown number 'C11'; did you mean 'C1'? (known: C1, C2)"),
        ({"number": 1}, "number must be a str"),
        ({"metric": "01_god.gap"}, "unknown notebook '01_god'; did you mean '01_good'?"),
        ({"metric": "01_good"}, "metric must be notebook.name"),
        (
            {"metric": "01_good.gapp"},
            "unknown metric of 01_good 'gapp'; did you mean 'gap'? (known: gap, n)",
        ),
        ({"metric": "03_plain.gap"}, "unknown metric of 03_plain 'gap' (known: x)"),
        ({"figure": "fig-gab"}, "unknown figure of 01_good 'fig-gab'; did you mean 'fig-gap'?"),
        ({"metric": "03_plain.x", "figure": "fig-gap"}, "unknown figure of 03_plain 'fig-gap'"),
        ({"printed": 0}, "printed must be a number above 0, not 0"),
        ({"printed": "2"}, "printed must be a number above 0"),
        ({"printed": None}, "printed must be a number above 0"),
        ({"accept": [2, 1]}, "low < high"),
        ({"accept": [1]}, "low < high"),
        ({"accept": ["low", 1]}, "low < high"),
        ({"accept": [-float("inf"), float("inf")]}, "one finite"),
        ({"accept": [float("nan"), 1]}, "low < high"),
        ({"accept": 1}, "accept must be a list"),
        ({"paper": 0.4}, "paper must be a dict"),
        ({"paper": {"rate": "two bumps", "near zero": None}}, "paper has no value for 'near zero'"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path, change, message):
    with pytest.raises(ValueError, match="row 2 .gap-small.: ") as caught:
        load(tmp_path, PLAIN, ROW | change)
    assert message in str(caught.value)


@pytest.mark.parametrize("key", rules.REQUIRED.keys() - {"id"})
def test_a_missing_key_is_refused(tmp_path, key):
    without = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(ValueError, match=rf"row 1 \(gap-small\): {key} must be"):
        load(tmp_path, without, PLAIN)


def test_a_repeated_id_and_a_number_without_a_row_are_refused(tmp_path):
    with pytest.raises(ValueError, match="more than one claim: gap-small"):
        load(tmp_path, ROW, ROW, PLAIN)
    with pytest.raises(ValueError, match=r"claims.yml: no row has the number C2$"):
        load(tmp_path, ROW)
    with pytest.raises(ValueError, match="in two topics: C1"):
        load(tmp_path, ROW, PLAIN, topics=TOPICS | {"More": {"C1": "Again"}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- id: x\n", "must have the parts topics, planned, claims"),
        ("{topics: {}, planned: [], claim: []}", "unknown part 'claim'; did you mean 'claims'?"),
        ("{topics: {}, planned: []}", "claims must be a list"),
        ("{topics: {Toys: C1}, planned: [], claims: []}", "'Toys' must map numbers to claims"),
        ("{topics: {}, planned: [], claims: [x]}", r"row 1 \(no id\): must have the keys id"),
    ],
)
def test_another_shape_is_refused(tmp_path, content, message):
    (tmp_path / "claims.yml").write_text(content)
    with pytest.raises(ValueError, match=message):
        rules.load(tmp_path / "claims.yml", KNOWN)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(text(ROW, PLAIN).replace("  why:", "  claim: Another\n  why:", 1))
    line = path.read_text().splitlines().index("  claim: Another") + 1
    with pytest.raises(ValueError, match=f"claims.yml: line {line}: 'claim' is given twice"):
        rules.load(path, KNOWN)
    path.write_text("claims: [")
    with pytest.raises(ValueError, match="claims.yml: while parsing"):
        rules.load(path, KNOWN)


def test_what_is_planned_needs_no_notebook(tmp_path):
    soon = ROW | {"id": "soon", "metric": "01_good.soon"}
    found = load(tmp_path, ROW, soon, LATER, planned=["06_later", "01_good.soon"])
    assert [claim.planned for claim in found] == [False, True, True]


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        (["06_later", "01_good"], "planned notebook 01_good exists: take it off the list"),
        (["06_later", "01_good.gap"], "planned metric 01_good.gap is reported: take it off"),
        (["06_later", "01_god.z"], "unknown notebook of a planned metric '01_god'"),
        (["06_later", "07_idle"], "planned, but no claim needs it: 07_idle"),
        (["06_later", "01_good.idle"], "planned, but no claim needs it: 01_good.idle"),
        (["06_late"], r"row 2 \(later\): unknown notebook '06_later'; did you mean '06_late'"),
    ],
)
def test_plans_that_are_done_idle_or_misspelt_are_refused(tmp_path, planned, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, ROW, LATER, planned=planned)


def test_offers_are_the_words_of_the_last_report_and_the_figures(tmp_path):
    toy_clone.notebook(
        tmp_path / "05_two.ipynb", "%pwd\nreport(old=1)", "rest = {}", "report(a=1, b=2, **rest)"
    )
    toy_clone.notebook(tmp_path / "06_none.ipynb", "print(1)")
    assert offers(tmp_path) == {"05_two": Offer(("a", "b")), "06_none": Offer(())}
    source = Profile("smoke").notebooks
    assert "fig-order" in offers(source)["01_resnets_to_odes"].figures


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
    assert verdicts.judge(INTERVAL, accept) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1, "supported"), (2.0, "supported"), (0.999, "not supported"), (2.001, "not supported")],
)
def test_a_plain_number_decides_alone(value, verdict):
    assert verdicts.judge(value, (1.0, 2.0)) == verdict


def test_a_single_seed_decides_nothing():
    assert verdicts.judge(estimate([1.5]), (1.0, 2.0)) == "inconclusive"


@pytest.fixture
def clone(tmp_path):
    root = toy_clone.make(tmp_path)
    (root / "book/claims.yml").write_text(text(ROW, PLAIN))
    return root


def judged(root):
    return verdicts.judged(root, Profile("quick", root).records)


def test_verdicts_come_from_the_records(clone):
    assert [row.verdict for row in judged(clone)] == ["not run", "not run"]
    settle(job(clone), gap=estimate([1, 1.1, 0.9]))
    settle(job(clone, "03_plain"), x=1)
    assert [row.verdict for row in judged(clone)] == ["supported", "not supported"]
    assert verdicts.sentence(judged(clone)) == "1 supported, 1 not supported"
    (clone / "toy.py").write_text("def gap(seed, scale): return 0\n")
    assert [row.verdict for row in judged(clone)] == ["stale", "not supported"]


def test_a_metric_that_is_not_reported_is_refused(clone):
    settle(job(clone), gaps=1)
    with pytest.raises(ValueError, match="unknown metric of 01_good 'gap'; did you mean 'gaps'"):
        judged(clone)


def test_what_is_planned_reads_not_run_whatever_its_notebook_did(clone):
    soon = ROW | {"id": "soon", "metric": "01_good.soon"}
    (clone / "book/claims.yml").write_text(text(ROW, soon, PLAIN, planned=["01_good.soon"]))
    settle(job(clone), gap=1)
    assert [row.verdict for row in judged(clone)] == ["supported", "not run", "not run"]
    (clone / "toy.py").write_text("def gap(seed, scale): return 0\n")
    assert [row.verdict for row in judged(clone)] == ["stale", "not run", "not run"]


def test_tables_show_each_test_and_its_claim(clone):
    row = ROW | {"id": "again", "claim": "A gap < 2", "figure": "fig-gap"}
    toy = nbformat.read(clone / "notebooks/01_good.ipynb", as_version=4)
    toy.cells[2].metadata["mystnb"] = {"figure": {"name": "fig-gap"}}
    nbformat.write(toy, clone / "notebooks/01_good.ipynb")
    (clone / "book/claims.yml").write_text(text(ROW, row, PLAIN))
    settle(job(clone), gap=estimate([1, 1.1, 0.9]))
    rows = judged(clone)
    table, summary = page.table(rows), page.summary(rows, "v.html")
    assert "3 tests of 2 claims: 2 supported, 1 not run" in table
    assert table.count('<th colspan="6">Toys</th>') == 1 and "A gap &lt; 2" in table
    assert "Table 1: gap 0.1, other about 2" in table and ">at most 2<" in table
    assert '<a href="01_good.html#fig-gap">1</a>' in table and "<td>3</td>" in table
    assert ">✓ supported</span>" in table and ">– not run</span>" in table
    assert summary.count("Gaps are small") == 1 and "1 [0.752," in summary
    assert 'title="A gap &lt; 2: supported" aria-label' in summary
    assert '<a href="v.html#why-c2">C2</a></th>' in summary and "plain" not in summary
    brief = page.brief(rows).splitlines()
    assert brief[2].startswith(
        "| C1 Gaps are small | gap 0.1, other about 2 | 1 [0.752, 1.25], n = 3 "
    )
    assert brief[3].startswith("| C2 All is &lt;plain&gt; |") and len(brief) == 4
    assert brief[3].endswith("| – | 2 to 3 | – not run |")
    tests = page.tests(rows, "01_good")
    assert tests.count("<tr>") == 3 and '<a href="10_verdicts.html#why-c1">C1</a>' in tests
    assert ">✓ supported</span>" in tests and "<td>gap 0.1, other about 2</td>" in tests
    details = page.details(rows)
    assert '<span id="why-c1"></span>**C1. Gaps are small**' in details
    assert "Two is small." in details
    assert [page.drawn(row)["value"] for row in rows] == [pytest.approx(1.0)] * 2 + [None]


def test_the_answer_counts_the_claims_by_their_first_test(clone):
    looser = ROW | {"id": "looser", "accept": [0, 100]}  # a second test, which always holds
    (clone / "book/claims.yml").write_text(text(ROW, looser, PLAIN))
    assert page.answer(judged(clone)).endswith(
        "2 claims, our main tests support 0, contradict 0 and leave 0 undecided; 2 wait for a run."
    )
    settle(job(clone), gap=9)
    settle(job(clone, "03_plain"), x=2)
    assert page.answer(judged(clone)).endswith("support 1, contradict 1 and leave 0 undecided.")


def test_records_are_offered_for_download():
    link = '<li><a href="../records/01_good.json" download>records/01_good.json</a></li>'
    assert page.downloads(["01_good"]) == f"<ul>{link}</ul>"


def test_claims_of_the_summary_stand_under_the_verdict_of_their_first_test(clone):
    settle(job(clone), gap=9)
    settle(job(clone, "03_plain"), x=2)
    text = page.summary(judged(clone))
    places = [text.index(word) for word in ("✓ supported", "plain&gt;", "✗ not supported", "Gaps")]
    assert places == sorted(places)


def git(root, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def history(clone):
    """A clone whose first commit holds the claims, and whose 01_good ran there."""
    git(clone, "init", "-q")
    git(clone, "add", ".")
    git(clone, "commit", "-qm", "first")
    settle(job(clone), gap=1)
    return clone


def late(root):
    return beforehand.written_late(root, Profile("quick", root).records)


def commit_claims(root, *rows):
    (root / "book/claims.yml").write_text(text(*rows))
    git(root, "commit", "-qam", "claims")


def test_an_interval_committed_before_its_record_is_in_order(history):
    assert beforehand.has_history(history) and late(history) == []
    commit_claims(history, ROW | {"why": "Better words."}, PLAIN | {"accept": [0, 9]})
    assert late(history) == []


def test_an_interval_changed_after_its_record_is_named(history):
    commit_claims(history, ROW | {"accept": [0, 2]}, PLAIN)
    (line,) = late(history)
    assert line.startswith("gap-small (01_good.gap): its record was made at commit ")
    assert line.endswith("where it had the accept [-inf, 2]; run 01_good again")
    settle(job(history), gap=1)
    assert late(history) == []


def test_a_claim_written_after_its_record_is_named_even_if_uncommitted(history):
    (history / "book/claims.yml").write_text(text(ROW, ROW | {"id": "new"}, PLAIN))
    (line,) = late(history)
    assert line.startswith("new (01_good.gap)") and "before the claim was written" in line


def test_a_record_from_outside_this_history_is_named(history):
    git(history, "commit", "--amend", "-qm", "first, differently")
    (line,) = late(history)
    assert "which is not in this history" in line


def test_claims_of_the_first_format_count(history):
    (history / "book/claims.yml").write_text(yaml.safe_dump([ROW, PLAIN]))
    git(history, "commit", "-qam", "as a list")
    (history / "book/claims.yml").write_text(text(ROW, PLAIN))
    settle(job(history), gap=1)
    assert late(history) == []


def test_a_shallow_clone_and_a_folder_without_git_have_no_history(history, tmp_path):
    commit_claims(history, ROW, PLAIN | {"why": "Other."})
    git(history, "clone", "-q", "--depth", "1", Path(history).as_uri(), tmp_path / "shallow")
    assert not beforehand.has_history(tmp_path / "shallow")
    assert not beforehand.has_history(Path("/"))
