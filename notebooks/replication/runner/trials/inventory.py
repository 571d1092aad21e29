"""What lies in the cache: the entries as a person sees them, and their removal."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from uuid import uuid4

from replication.runner.files import locked_now
from replication.runner.profiles import Profile
from replication.runner.sources import modules
from replication.runner.trials.entries import FORMAT, Damaged, read, shelf, torch_version

STATES = ("finished", "unfinished", "damaged", "outdated", "running")


@dataclass(frozen=True)
class Item:
    """One entry, by its path below the folder of all entries: `spirals/rnn-seed0-1a2b3c4d5e6f7081`.

    `outdated`: no trial will ask for it again, because the code of its experiment, its torch or the
    form of the entries is another now.
    """

    name: str
    state: str
    size: int  # bytes
    age_s: float  # since anything in it was written

    @property
    def folder(self) -> Path:
        return shelf() / self.name


def items() -> list[Item]:
    """All entries, in the order of their names."""
    folders = sorted(path.parent for path in shelf().glob("*/*/lock"))
    return [_item(folder) for folder in folders if not folder.name.startswith(".")]


def _item(folder: Path) -> Item:
    stats = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the draft of a trial that runs
            stats.append(path.stat())
    newest = max((stat.st_mtime for stat in stats), default=time.time())
    name = f"{folder.parent.name}/{folder.name}"
    return Item(name, _state(folder), sum(s.st_size for s in stats), time.time() - newest)


def _state(folder: Path) -> str:
    with locked_now(folder / "lock") as free:
        if not free:
            return "running"
    if _is_outdated(folder / "trial.json"):
        return "outdated"
    try:
        return "finished" if read(folder) else "unfinished"
    except Damaged:
        return "damaged"


def _is_outdated(path: Path) -> bool:
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        now = _code(made["function"].partition(":")[0])
        same = now in (None, made["modules"]) and made["torch"] == torch_version()
        return not same or made.get("format") != FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@cache
def _code(module: str) -> dict[str, str] | None:
    """The code that a chapter's experiment depends on now; None for one of another package."""
    known = ("replication.", "odenet.")  # which held the experiments of the first edition
    return modules(Profile("smoke").code, [module]) if module.startswith(known) else None


def choose(found: Iterable[Item], patterns: Sequence[str], state: str | None) -> list[Item]:
    """Those whose name, or experiment, fits one of `patterns` (default: all), in that state.

    Raises ValueError if neither is given or nothing fits.
    """
    if not patterns and state is None:
        raise ValueError("say which entries: an experiment, a pattern such as 'spirals/*', a state")
    fitting = [
        item
        for item in found
        if state in (None, item.state)
        and (not patterns or any(_fits(item.name, pattern) for pattern in patterns))
    ]
    if not fitting:
        wanted = " or ".join(map(repr, patterns)) or "any name"
        known = ", ".join(sorted({item.name.partition("/")[0] for item in found})) or "none"
        raise ValueError(
            f"no entry fits {wanted}{f' in the state {state!r}' if state else ''} "
            f"(experiments: {known})"
        )
    return fitting


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or name.partition("/")[0] == pattern


def remove(chosen: Iterable[Item]) -> list[Item]:
    """Those of `chosen` that are gone now: all but the ones that a process works on."""
    gone = [item for item in chosen if _remove(item.folder)]
    for remains in shelf().glob("*/.*"):  # also of a removal that was interrupted
        shutil.rmtree(remains, ignore_errors=True)
    return gone


def _remove(folder: Path) -> bool:
    with locked_now(folder / "lock") as free:
        if free:  # at once, so that nobody finds half of an entry
            folder.rename(folder.with_name(f".{folder.name}.{uuid4().hex}"))
        return free


def table(shown: Sequence[Item]) -> str:
    """A line for each entry, and one for all."""
    rows = [("entry", "state", "size", "age")]
    rows += [(i.name, i.state, _megabytes(i.size), _age(i.age_s)) for i in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*(lines if shown else []), total(shown)])


def total(counted: Sequence[Item]) -> str:
    """`3 entries, 4.1 MB: 2 finished, 1 damaged`."""
    counts = Counter(item.state for item in counted)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    size = _megabytes(sum(item.size for item in counted))
    return f"{len(counted)} entries, {size}" + (f": {states}" if states else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _age(seconds: float) -> str:
    units = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
    name, unit = next((u for u in units if seconds >= 2 * u[1]), units[-1])
    return f"{seconds / unit:.0f} {name}"
