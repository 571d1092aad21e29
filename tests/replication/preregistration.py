"""Whether each accept interval was committed before the record that it judges was made."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from replication.runner import record
from replication.runner.claims.rules import committed, read
from replication.runner.first_edition import precedes
from replication.runner.machine import git
from replication.runner.profiles import EVIDENCE, Profile

Rows = dict[str, dict[str, Any]]  # by id


def has_history(root: Path) -> bool:
    """Whether `root` is a git clone with all its commits."""
    return git(root, "rev-parse", "--is-shallow-repository") == "false"


def written_late(root: Path, records: Path) -> list[str]:
    """A line for each claim whose metric, interval or scale was another when its record was made.

    Empty if all that a record in `records` measured was fixed beforehand: it stands so in the
    record itself, and in claims.yml at the record's commit where the history has that. A record of
    the first edition keeps no claims, so that only the history can tell; nor is its scale compared,
    by which nothing was judged then.
    """
    late = []
    for row in read(Profile(EVIDENCE, root).claims).claims:
        kept = record.load(records / f"{row.stem}.json")
        if kept and row.name in kept["metrics"] and not precedes(kept, row.predicted):
            for place, rows in _earlier(root, kept):
                then = rows.get(row.id, {})
                if not then or not then.items() <= committed(row).items():
                    was = " ".join(map(str, [*then.values()][1:])) or "no such claim"
                    late.append(f"{row.id}: {place} has {was}; run {row.stem} again")
    return late


def _earlier(root: Path, kept: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Where the claims stand as they were when a record was made, and their rows there."""
    if "claims" in kept:
        yield "its record", {row["id"]: row for row in kept["claims"]}
    origin = kept["provenance"]
    commit = origin.get("code_commit") or origin.get("commit") or "none"
    place = f"commit {commit[:8]}, at which its record was made,"
    if git(root, "merge-base", "--is-ancestor", commit, "HEAD") is not None:
        written = git(root, "show", f"{commit}:book/claims.yml") or "[]"
        yield place, _written(yaml.safe_load(written))
    elif "claims" not in kept and has_history(root):
        yield f"{place} which is not in this history,", {}


def _written(content: Any) -> Rows:
    """Id, metric and accept of each row, by id; the first versions of claims.yml were a list."""
    if isinstance(content, dict):
        content = [*content["claims"], *content.get("planned", [])]
    return {row["id"]: {key: row[key] for key in ("id", "metric", "accept")} for row in content}
