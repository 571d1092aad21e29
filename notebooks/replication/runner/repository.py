"""What a clone says of itself: where it is published, its version and its commit."""

import os
import re
import tomllib
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
    version: str | None


def repository(root: Path) -> Repository:
    """The clone at `root`. A workflow's environment knows its address, else the git remote does."""
    commit = git(root, "rev-parse", "HEAD")
    project = root / "pyproject.toml"
    known = tomllib.loads(project.read_text())["project"] if project.is_file() else {}
    return Repository(
        address=_workflow() or _page(git(root, "remote", "get-url", "origin")),
        branch=os.environ.get("GITHUB_REF_NAME") or _default(root),
        commit=commit,
        changed=bool(commit and git(root, "status", "--porcelain")),
        date=git(root, "show", "-s", "--format=%cs"),
        version=known.get("version"),
    )


def _workflow() -> str | None:
    """The page of the repository whose GitHub workflow this is."""
    server, name = (os.environ.get(f"GITHUB_{part}") for part in ("SERVER_URL", "REPOSITORY"))
    return _page(f"{server}/{name}") if server and name else None


def _page(remote: str | None) -> str | None:
    """The web page of a git remote on github.com; for another place no button works."""
    found = re.search(r"\bgithub\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", remote or "")
    return f"https://github.com/{found[1]}" if found else None


def _default(root: Path) -> str:
    """The remote's main branch, as far as the clone knows."""
    head = git(root, "rev-parse", "--abbrev-ref", "origin/HEAD")
    return head.removeprefix("origin/") if head and head != "origin/HEAD" else "main"
