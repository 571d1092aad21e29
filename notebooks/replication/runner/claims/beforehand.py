"""Whether each accept interval was committed before the record that it judges was made."""

from pathlib import Path
from typing import Any

import yaml

from replication.runner import record
from replication.runner.claims.rules import Claim, read
from replication.runner.machine import git
from replication.runner.profiles import Profile


def has_history(root: Path) -> bool:
    """Whether `root` is a git clone with all its commits, as the question needs."""
    return git(root, "rev-parse", "--is-shallow-repository") == "false"


def written_late(root: Path, records: Path) -> list[str]:
    """A line for each claim whose interval is not, as it is now, in the commit its record ran at.

    Empty if every claim that a record in `records` measured was fixed beforehand. The file
    claims.yml is read as it was at the commit in the record's provenance.
    """
    found: dict[str, dict | None] = {}
    late = []
    for claim in read(Profile("smoke", root)):
        stem, _, name = claim.metric.partition(".")
        if stem not in found:
            found[stem] = record.load(records / f"{stem}.json")
        kept = found[stem]
        if kept and name in kept["metrics"]:
            reason = _reason(root, claim, kept["provenance"]["commit"])
            late += [f"{claim.id} ({claim.metric}): {reason}; run {stem} again"] if reason else []
    return late


def _reason(root: Path, claim: Claim, commit: str | None) -> str | None:
    if commit is None:
        return "its record was made outside of git"
    if git(root, "merge-base", "--is-ancestor", commit, "HEAD") is None:
        return f"its record was made at commit {commit[:8]}, which is not in this history"
    then = _rows(git(root, "show", f"{commit}:book/claims.yml")).get(claim.id)
    if then is None:
        return f"its record was made at commit {commit[:8]}, before the claim was written"
    now = {"metric": claim.metric, "accept": list(claim.accept)}
    if changed := [key for key in now if then.get(key) != now[key]]:
        was = ", ".join(f"{key} {then.get(key)}" for key in changed)
        return f"its record was made at commit {commit[:8]}, where it had the {was}"
    return None


def _rows(text: str | None) -> dict[str, dict[str, Any]]:
    """The claims of an older claims.yml by id; its first versions were a bare list."""
    content = yaml.safe_load(text or "[]")
    rows = content["claims"] if isinstance(content, dict) else content
    return {row["id"]: row for row in rows}
