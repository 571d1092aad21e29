"""The paper's claims as this repository has them: complete, measured, older than the evidence."""

import shutil

import preregistration
import pytest
from chapters import chapters

from replication.runner.claims import agreement, verdicts
from replication.runner.claims.rules import HEADLINES, MACHINE, read
from replication.runner.profiles import Profile

PAPER = Profile("paper")
NUMBERS = {f"C{number}" for number in range(21)} | {"C3'"}


@pytest.fixture(scope="module")
def rows():
    return read(PAPER.claims).claims


def test_each_claim_of_the_paper_has_a_row(rows):
    assert {row.number for row in rows if not row.beyond} == NUMBERS >= set(HEADLINES)
    assert {row.number for row in rows if row.given_up} == {"C3'", "C7"}


def test_what_the_rows_name_is_reported_drawn_and_declared(rows):
    known = chapters(PAPER.notebooks)
    for row in rows:
        chapter = known[row.stem]
        assert row.name in chapter.metrics, row.id
        assert row.figure is None or row.figure in chapter.figures, row.id
        assert set(row.needs) <= {*chapter.parameters, MACHINE}, row.id


def test_each_row_says_what_a_rerun_must_share(rows):
    assert [row.id for row in rows if not row.needs] == []


def test_without_a_record_nothing_was_run(rows, tmp_path):
    found = verdicts.judged(PAPER.root, tmp_path)
    assert [row.verdict for row in found] == ["not run"] * len(rows)


def test_a_rerun_that_found_the_published_numbers_agrees_with_all_of_them(tmp_path):
    shutil.copytree(PAPER.records, tmp_path, dirs_exist_ok=True)
    found = agreement.agreement(PAPER.root, tmp_path)
    measured = [row for row in found if row.published is not None and row.reason != "stale"]
    assert measured and {row.word for row in measured} == {"agrees"}


def test_each_interval_was_committed_before_the_published_record_that_it_judges():
    assert preregistration.written_late(PAPER.root, PAPER.records) == []
