"""What a clone says of itself: where it is published, its version and its commit."""

import importlib.metadata
import os
import re
from dataclasses import dataclass
from pathlib import Path

from replication.runner.machine import git


@dataclass(frozen=True)
class Repository:
    """A clone as the pages made from it name it; None for what is not known."""

    address: str | None  # its page on GitHub
    branch: str  # what is linked to there
    commit: str | None
    changed: bool  # files differ from the commit
    date: str | None  # of the commit
    version: str


def repository(root: Path) -> Repository:
    """The clone at `root`. A workflow's environment knows its address, else the git remote does."""
    server, name, branch = (
        os.environ.get(f"GITHUB_{part}", "") for part in ("SERVER_URL", "REPOSITORY", "REF_NAME")
    )
    head = git(root, "rev-parse", "--abbrev-ref", "origin/HEAD") or ""
    commit = git(root, "rev-parse", "HEAD")
    return Repository(
        address=_page(f"{server}/{name}") or _page(git(root, "remote", "get-url", "origin") or ""),
        branch=branch or head.removeprefix("origin/").replace("HEAD", "") or "main",
        commit=commit,
        changed=bool(commit and git(root, "status", "--porcelain")),
        date=git(root, "show", "-s", "--format=%cs"),
        version=importlib.metadata.version("odenet"),
    )


def _page(remote: str) -> str | None:
    """The web page of a git remote on github.com; for another place no button works."""
    found = re.search(r"\bgithub\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", remote)
    return f"https://github.com/{found[1]}" if found else None
