"""The paper's claims as this repository has them: complete, measured, older than the evidence."""

import pytest

from replication.runner.claims import beforehand, verdicts
from replication.runner.claims.rules import read
from replication.runner.profiles import Profile

PAPER = Profile("paper")
NUMBERS = {f"C{number}" for number in range(21)} | {"C3'"}


@pytest.fixture(scope="module")
def rows():
    return read(PAPER)


def test_each_claim_of_the_paper_has_a_row_and_what_the_rows_need_is_reported(rows):
    assert {row.number for row in rows} == NUMBERS


def test_without_a_record_nothing_was_run(rows, tmp_path):
    found = verdicts.counts(verdicts.judged(PAPER.root, tmp_path))
    assert found["not run"] == len(rows) == sum(found.values())


def test_each_interval_was_committed_before_the_published_record_that_it_judges():
    if not beforehand.has_history(PAPER.root):
        pytest.skip("no git history here (a download or a shallow clone) to compare with")
    assert beforehand.written_late(PAPER.root, PAPER.records) == []
