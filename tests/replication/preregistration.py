"""Whether each accept interval was committed before the record, and the trials, that it judges."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from replication.runner import record
from replication.runner.claims.rules import Claim, committed, read
from replication.runner.machine import git
from replication.runner.profiles import EVIDENCE, Profile

Rows = Mapping[str, Mapping[str, Any]]  # by id


def written_late(root: Path, records: Path) -> list[str]:
    """A line for each claim whose metric, interval or scale was another when its record was made.

    Empty if all that a record in `records` measured was fixed beforehand: it stands so in the
    record itself and, where the history has their commits, in claims.yml at the record's and
    at those of its trials. The trials may be older than a row, but not all of them, unless the
    row is post hoc.
    """
    late = []
    claims = read(Profile(EVIDENCE, root).claims).claims
    for stem in sorted({row.stem for row in claims}):
        if kept := record.load(records / f"{stem}.json"):
            own, trials = _own(root, kept), _trials(root, kept)
            for row in claims:
                if row.stem == stem and row.name in kept["metrics"]:
                    wrong = [*_differs(row, own), *_differs_in_trials(row, trials)]
                    late += [f"{row.id}: {line}; run {stem} again" for line in wrong]
    return late


def _differs(row: Claim, places: Mapping[str, Rows]) -> Iterator[str]:
    for place, rows in places.items():
        then = rows.get(row.id, {})
        if not then or not then.items() <= committed(row).items():
            yield f"{place} has {' '.join(map(str, [*then.values()][1:])) or 'no such claim'}"


def _differs_in_trials(row: Claim, places: Mapping[str, Rows]) -> Iterator[str]:
    known = {place: rows for place, rows in places.items() if row.id in rows}
    yield from _differs(row, known)
    if places and not known and not row.post_hoc:
        yield "none of its trials began after it was written"


def _own(root: Path, kept: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows as they stand in a record and at its commit, by place."""
    places: dict[str, Rows] = {"its record": {row["id"]: row for row in kept["claims"]}}
    commit = kept["provenance"]["code_commit"]
    if (rows := _at(root, commit)) is not None:
        places[f"commit {commit[:8]}, at which its record was made,"] = rows
    return places


def _trials(root: Path, kept: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows as they stand at the commits of a record's trials, by place."""
    commits = {trial["code_commit"] for trial in kept.get("trials", ())} - {None}
    places = {f"commit {commit[:8]} of a trial": _at(root, commit) for commit in commits}
    return {place: rows for place, rows in places.items() if rows is not None}


def _at(root: Path, commit: str | None) -> Rows | None:
    """Id, metric and accept of each row at a commit, by id; None if the history lacks that."""
    if git(root, "merge-base", "--is-ancestor", commit or "none", "HEAD") is None:
        return None
    content = yaml.safe_load(git(root, "show", f"{commit}:book/claims.yml"))
    rows = [*content["claims"], *content.get("planned", [])]
    return {row["id"]: {key: row[key] for key in ("id", "metric", "accept")} for row in rows}
