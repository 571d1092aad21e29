"""The first edition is kept, shown and judged as it was made, until Release 1.0 replaces it."""

from dataclasses import replace

import pytest
import toy_clone
from toy_book import ROOT

from replication import __main__ as cli
from replication.runner import first_edition
from replication.runner.claims import verdicts
from replication.runner.claims.rules import Rules, read
from replication.runner.jobs import plan
from replication.runner.profiles import Profile

PAPER = Profile("paper")
KEPT = [job for job in plan(PAPER) if job.kept() and first_edition.made(job.kept())]

pytestmark = pytest.mark.skipif(not KEPT, reason="every chapter was made anew")


def test_a_record_of_today_is_none_of_the_first_edition(tmp_path):
    job = toy_clone.job(toy_clone.make(tmp_path))
    toy_clone.settle(job, gap=1.0)
    assert not first_edition.made(job.kept()) and job.standing() == ("fresh", [])


def test_check_calls_it_by_its_name_and_asks_for_nothing(capsys):
    state = cli.main(["check", "--profile", "paper"])
    lines = capsys.readouterr().out.splitlines()
    named = {line.split()[0] for line in lines if line.endswith("first edition")}
    assert named == {job.stem for job in KEPT}
    assert first_edition.NOTE in lines
    if len(KEPT) == len(plan(PAPER)):
        assert state == 0


def test_its_verdicts_stay():
    stems = {job.stem for job in KEPT}
    rows = verdicts.judged(ROOT, PAPER.records)
    found = {row.verdict for row in rows if row.claim.metric.split(".")[0] in stems}
    assert found & {"supported", "not supported"} and "stale" not in found


def test_a_claim_that_it_did_not_measure_is_not_run(monkeypatch):
    rows = [row for row in read(PAPER.claims).claims if row.stem == KEPT[0].stem]
    claim = next(row for row in rows if not row.predicted)
    later = replace(claim, id="later", metric=f"{KEPT[0].stem}.measured_later")
    monkeypatch.setattr(verdicts, "read", lambda path: Rules({}, [claim, later], [], []))
    kept, new = verdicts.judged(ROOT, PAPER.records)
    assert kept.measured is not None
    assert (new.verdict, new.measured) == ("not run", None)


def test_a_row_that_was_written_later_is_not_judged_by_it(monkeypatch):
    rows = [row for row in read(PAPER.claims).claims if row.stem == KEPT[0].stem]
    claim = next(row for row in rows if not row.predicted)
    later = replace(claim, id="later", predicted="supported")
    monkeypatch.setattr(verdicts, "read", lambda path: Rules({}, [claim, later], [], []))
    kept, new = verdicts.judged(ROOT, PAPER.records)
    assert kept.measured is not None
    assert (new.verdict, new.measured) == ("not run", None)


def test_the_book_says_so_in_a_line():
    records = [job.kept() for job in KEPT]
    assert "a second is being written" in first_edition.banner(records)
    assert first_edition.banner([]) is None
