"""Entries of the cache: a folder for each trial, named by all that its result depends on."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from replication.runner.files import digest, locked, say, write
from replication.runner.sources import modules
from replication.runner.trials.evidence import evidence, metered

FORMAT = 2  # of result.json
RESULT = "result.json"
_OWN = ("lock", "trial.json", "spent.json", RESULT)

Function = Callable[[Any, Path], dict[str, Any]]
Code = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a trial left: its numbers, the folder with its weights, and what it cost where."""

    result: dict[str, Any]
    folder: Path
    evidence: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Entry:
    """Where one trial of one function is kept; `name` is for people."""

    name: str
    folder: Path
    identity: dict[str, Any]


class Damaged(ValueError):
    """A file of a finished entry is missing, or not as it was written."""

    def __init__(self, file: str):
        super().__init__(f"{file} is damaged")
        self.file = file


def cache() -> Path:
    """Root of everything that is kept between runs: ODENET_CACHE, or ~/.cache/odenet."""
    return Path(os.environ.get("ODENET_CACHE") or "~/.cache/odenet").expanduser().resolve()


def shelf() -> Path:
    """The folder of the cache with the entries, by experiment."""
    return cache() / "trials"


def code(function: Function) -> dict[str, Any]:
    """What a result depends on besides the trial: the function, its code as it is on disk, torch.

    Raises TypeError for a function that another process could not import.
    """
    module = function.__module__
    file = getattr(sys.modules[module], "__file__", None)
    if module == "__main__" or file is None:
        raise TypeError(f"{function.__qualname__} must live in a module that can be imported")
    folder = Path(file).resolve().parents[module.count(".") + (Path(file).name == "__init__.py")]
    return {
        "function": f"{module}:{function.__qualname__}",
        "torch": torch_version(),
        "modules": modules((folder, folder.parent), [module]),  # notebooks/, the clone with odenet
    }


def torch_version() -> str:
    """Without the label of the build (+cpu, +cu128): a result is looked for on any machine."""
    return version("torch").partition("+")[0]


def entry(trial: Any, code: Code) -> Entry:
    """The place of `trial`, every field of which counts, under the function with that `code`."""
    identity = {"format": FORMAT, **code, "trial": asdict(trial)}
    chapter, *experiment = _experiment(code["function"].partition(":")[0])
    readable = _readable(experiment, trial)
    folder = shelf() / chapter / f"{readable}-{digest(identity)}"
    return Entry(f"{chapter}/{readable}", folder, identity)


def _experiment(module: str) -> list[str]:
    """`mnist` of chapters.mnist.trials; `nfe`, `inputs` of chapters.nfe.trials.inputs."""
    above, _, below = module.partition(".trials")
    return [above.rpartition(".")[2], *below.split(".")[1:]]


def _readable(experiment: list[str], trial: Any) -> str:
    """The first field, the seed and what differs from the defaults: `odenet-seed0-epochs4`."""
    parts = list(experiment)
    for position, item in enumerate(fields(trial)):
        value = getattr(trial, item.name)
        if position == 0:
            parts.append(f"{value}")
        elif item.name == "seed" or item.default is MISSING or value != item.default:
            parts.append(f"{item.name}{value}")
    return re.sub(r"[^\w.+-]", "_", "-".join(parts))[:80]


def read(folder: Path) -> dict[str, Any] | None:
    """`result`, `evidence` and `files` of a finished entry; None for one that is not finished.

    Raises Damaged unless result.json and each file that it lists are exactly as they were written.
    """
    try:
        kept = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        expected = kept.pop("digest")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(RESULT) from None
    if digest(kept) != expected:
        raise Damaged(RESULT)
    for name, checksum in kept["files"].items():
        if not (folder / name).is_file() or _checksum(folder / name) != checksum:
            raise Damaged(name)
    return kept


def find(entry: Entry) -> Outcome | None:
    """The outcome of an entry that is finished and sound, without waiting for any lock."""
    try:
        kept = read(entry.folder)
    except Damaged:
        return None
    return _outcome(entry, kept, found=True) if kept else None


def finish(entry: Entry, function: Function, trial: Any) -> Outcome:
    """The entry's outcome, computed by `function(trial, folder)` unless it is there.

    A folder without a sound result is handed to `function` as it is, to go on from what it left.
    """
    with locked(entry.folder / "lock"):
        kept = _sound(entry)
        found = kept is not None
        return _outcome(entry, kept or _compute(entry, function, trial), found)


def _compute(entry: Entry, function: Function, trial: Any) -> dict[str, Any]:
    write(entry.folder / "trial.json", json.dumps(entry.identity, indent=1))
    with metered(entry.folder / "spent.json") as spent:
        # Through JSON at once, so that a first and a second call return equal values.
        result = json.loads(json.dumps(function(trial, entry.folder)))
        cost = evidence(entry.name, spent())
    files = {name: _checksum(entry.folder / name) for name in _left(entry.folder)}
    kept = {"result": result, "evidence": cost, "files": files}
    write(entry.folder / RESULT, json.dumps({"digest": digest(kept), **kept}))
    return kept


def _sound(entry: Entry) -> dict[str, Any] | None:
    """As `read`; but what is damaged is set aside, and a line says so. Needs the entry's lock."""
    try:
        return read(entry.folder)
    except Damaged as error:
        for name in {error.file, RESULT}:
            if (path := entry.folder / name).is_file():
                path.replace(path.with_name(path.name + ".damaged"))
        say(f"{entry.name}: {error}; kept as {error.file}.damaged, computing again")
        return None


def _outcome(entry: Entry, kept: dict[str, Any], found: bool) -> Outcome:
    return Outcome(kept["result"], entry.folder, {**kept["evidence"], "found": found})


def _left(folder: Path) -> list[str]:
    """The files that the function left in `folder`, by their paths in it."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(n for n in names if n not in _OWN and not n.endswith((".part", ".damaged")))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def packed(folder: Path) -> dict[str, bytes]:
    """A finished entry for the journey to another machine's cache."""
    return {name: (folder / name).read_bytes() for name in [*_left(folder), "trial.json", RESULT]}


def unpack(entry: Entry, files: Mapping[str, bytes]) -> None:
    """The entry is finished: as it was, or with `files`, which another machine packed."""
    with locked(entry.folder / "lock"):
        if _sound(entry) is None:
            for name in sorted(files, key=RESULT.__eq__):  # which makes it finished, so it is last
                write(entry.folder / name, files[name])
