"""Whether each accept interval was committed before the record that it judges was made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from replication.runner import record
from replication.runner.claims.rules import committed, read
from replication.runner.machine import git
from replication.runner.profiles import EVIDENCE, Profile

Rows = dict[str, dict[str, Any]]  # by id


def written_late(root: Path, records: Path) -> list[str]:
    """A line for each claim whose metric, interval or scale was another when its record was made.

    Empty if all that a record in `records` measured was fixed beforehand: it stands so in the
    record itself, and in claims.yml at the record's commit where the history has that.
    """
    late = []
    for row in read(Profile(EVIDENCE, root).claims).claims:
        kept = record.load(records / f"{row.stem}.json")
        if kept and row.name in kept["metrics"]:
            for place, rows in _earlier(root, kept):
                then = rows.get(row.id, {})
                if not then or not then.items() <= committed(row).items():
                    was = " ".join(map(str, [*then.values()][1:])) or "no such claim"
                    late.append(f"{row.id}: {place} has {was}; run {row.stem} again")
    return late


def _earlier(root: Path, kept: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Where the claims stand as they were when a record was made, and their rows there."""
    yield "its record", {row["id"]: row for row in kept["claims"]}
    commit = kept["provenance"].get("code_commit") or "none"
    if git(root, "merge-base", "--is-ancestor", commit, "HEAD") is not None:
        written = yaml.safe_load(git(root, "show", f"{commit}:book/claims.yml"))
        yield f"commit {commit[:8]}, at which its record was made,", _written(written)


def _written(content: Mapping[str, Any]) -> Rows:
    """Id, metric and accept of each row, by id."""
    rows = [*content["claims"], *content.get("planned", [])]
    return {row["id"]: {key: row[key] for key in ("id", "metric", "accept")} for row in rows}
