"""Trials: one frozen setting in, plain numbers out, each computed once and kept in its folder."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from traceback import format_exception
from typing import Any

from IPython import get_ipython
from IPython.display import display

import odenet
from replication.runner.evidence import metered
from replication.runner.executors import executor
from replication.runner.files import digest, locked, write
from replication.runner.metrics import TRIALS
from replication.runner.sources import modules

RESULT = "result.json"  # written last: it makes a trial finished
PASSING = ("lock", "spent.json", "checkpoint.pt")  # of use only until then
KEPT_BYTES = 1_000_000  # a larger file stays in the cache
BROKEN = (
    "a process was ended from outside, most often for want of memory. What had finished is kept; "
    "give the same command again, with fewer JOBS"
)
Function = Callable[[Any, Path], dict[str, Any]]
_ONE = Lock()  # trials seed torch's global generator, so a process runs one at a time


@dataclass(frozen=True)
class Outcome:
    """What a trial left.

    Attributes:
        result: the numbers that its function returned.
        folder: where it left its files, such as weights.
        evidence: its name, when and where it ran, and what it cost.
    """

    result: dict[str, Any]
    folder: Path
    evidence: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Place:
    """Where a trial is kept: `mnist/odenet-seed0-1a2b3c4d5e6f7081` in the folder of all trials."""

    name: str
    identity: dict[str, Any]

    @property
    def folder(self) -> Path:
        return cache_folder() / "trials" / self.name

    @property
    def kept(self) -> Path | None:
        """Its folder among the published trials of the clone that runs, ODENET_TRIALS."""
        folder = os.environ.get("ODENET_TRIALS")
        return Path(folder, self.name) if folder else None


class TrialError(RuntimeError):
    """Names the trials that failed, after all the others were finished."""


def cache_folder() -> Path:
    """Root of everything that lasts between runs: ODENET_CACHE, or ~/.cache/odenet."""
    return Path(os.environ.get("ODENET_CACHE") or "~/.cache/odenet").expanduser().resolve()


def run_trial(function: Function, trial: Any) -> Outcome:
    """The outcome of `function(trial, folder)`, computed unless the same trial was finished before.

    Same means: the function, every field of the dataclass `trial`, torch's version,
    `odenet.NUMERICS`, and the code of the modules beside it that its module imports. A folder
    without a result is handed to `function` again, to resume from what it left there. Always in
    this process; what `function` raises is raised.
    """
    place = place_of(function, trial)
    outcome = find(place) or finish(place, function, trial)
    _tell([outcome])
    return outcome


def run_trials(function: Function, trials: Iterable[Any]) -> list[Outcome]:
    """The outcomes of `trials` in their order, each as `run_trial` would have it, equal ones once.

    What is not finished is computed in this process, in ODENET_JOBS local processes, or on the Dask
    cluster whose scheduler is at ODENET_CLUSTER. If some fail, the others are finished first; then
    TrialError. ValueError for an engine that makes no sense or does not answer.
    """
    pairs = [(place_of(function, trial), trial) for trial in trials]
    missing = {place.name: (place, trial) for place, trial in pairs if find(place) is None}
    failed = _compute(function, missing) if missing else {}
    outcomes = {place.name: find(place, place.name not in missing) for place, _ in pairs}
    unread = {name: "its result cannot be read" for name, found in outcomes.items() if not found}
    if failed := unread | failed:
        head = f"{len(failed)} of {len(pairs)} trials failed; the others are finished and kept"
        raise TrialError("\n".join([head, *(f"{name}: {why}" for name, why in failed.items())]))
    whole = {name: outcome for name, outcome in outcomes.items() if outcome}
    _tell(whole.values())
    return [whole[place.name] for place, _ in pairs]


def _compute(function: Function, missing: Mapping[str, tuple[Place, Any]]) -> dict[str, str]:
    """All of `missing` is finished, except what is returned: the reason by the trial's name."""
    failed = {}
    with executor(len(missing)) as pool:
        futures = {
            pool.submit(_work, function, trial, name): place
            for name, (place, trial) in missing.items()
        }
        for done, future in enumerate(as_completed(futures), 1):
            place = futures[future]
            try:
                _unpack(place, future.result())
            except BrokenExecutor as error:
                raise TrialError(BROKEN) from error
            except Exception as error:
                failed[place.name] = f"{type(error).__name__}: {error}"
                note = f"{place.name} FAILED\n{''.join(format_exception(error))}"
            else:
                note = f"{place.name} done, {done} of {len(futures)}"
            print(note, file=sys.stderr, flush=True)
    return failed


def _work(function: Function, trial: Any, name: str) -> dict[str, bytes]:
    """The worker's part: the files of the finished trial, for a worker with a cache of its own."""
    place = place_of(function, trial)
    if place.name != name:
        raise RuntimeError(
            f"this process would run {place.name}, not {name}: it holds other code, or another "
            "torch. Start it anew in this clone, from its commit and environment"
        )
    with _ONE:
        return _files(finish(place, function, trial).folder)


def place_of(function: Function, trial: Any) -> Place:
    """The place of `trial`, every field of which counts, under `function`.

    Raises TypeError for a function that another process could not import.
    """
    module = function.__module__
    identity = {
        "function": f"{module}:{function.__qualname__}",
        "modules": _code(module),
        "torch": version("torch").partition("+")[0],  # the build (+cpu, +cu128) does not count
        "numerics": odenet.NUMERICS,
        "trial": asdict(trial),
    }
    chapter, experiment = _belonging(module)
    name = f"{chapter}/{_readable(experiment, trial)}-{digest(identity)}"
    return Place(name, identity)


def _belonging(module: str) -> tuple[str, list[str]]:
    """Chapter and experiment: `nfe`, `[growth]` for `replication.chapters.nfe.trials.growth`.

    A module beside `trials` is an experiment, too; one outside the chapters stands for a chapter.
    """
    _, inside, path = module.partition(".chapters.")
    chapter, *parts = path.split(".") if inside else [module.rpartition(".")[2]]
    return chapter, [part for part in parts if part != "trials"]


@cache
def _code(module: str) -> dict[str, str]:
    """The code that a module's trials depend on, as this process first found it."""
    file = getattr(sys.modules[module], "__file__", None)
    if module == "__main__" or file is None:
        raise TypeError(f"trials must be functions of a module that can be imported, not {module}")
    is_package = Path(file).name == "__init__.py"
    return modules([Path(file).resolve().parents[module.count(".") + is_package]], [module])


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


def find(place: Place, found: bool = True) -> Outcome | None:
    """The outcome of a finished trial, which may be published already; None for another."""
    if place.kept and (place.kept / RESULT).is_file() and not (place.folder / RESULT).is_file():
        for path in sorted(place.kept.iterdir(), key=lambda path: path.name == RESULT):
            write(place.folder / path.name, path.read_bytes())
    try:
        kept = json.loads((place.folder / RESULT).read_text(encoding="utf-8"))
        outcome = Outcome(kept["result"], place.folder, {**kept["evidence"], "found": found})
    except (OSError, ValueError, KeyError):  # none, or a damaged one, which is computed again
        return None
    if place.kept and not (place.kept / RESULT).is_file():
        _publish(place, place.kept)
    return outcome


def _publish(place: Place, folder: Path) -> None:
    """What fits into the repository lies in `folder` too."""
    for name, content in _files(place.folder).items():
        if len(content) <= KEPT_BYTES:
            write(folder / name, content)


def finish(place: Place, function: Function, trial: Any) -> Outcome:
    """The outcome, computed by `function(trial, folder)` unless it is there."""
    with locked(place.folder / "lock"):
        if outcome := find(place):
            return outcome
        if os.environ.get("ODENET_TRAIN") == "no":
            raise TrialError(f"{place.name} is not among the published trials")
        with metered(place.name, place.folder) as evidence:
            write(place.folder / "trial.json", json.dumps(place.identity, indent=1) + "\n")
            # Through JSON at once, so that a first and a second call return equal values.
            result = json.loads(json.dumps(function(trial, place.folder)))
            left = {"result": result, "evidence": evidence()}
        write(place.folder / RESULT, json.dumps(left) + "\n")
        if place.kept:
            _publish(place, place.kept)
        return Outcome(result, place.folder, {**left["evidence"], "found": False})


def _files(folder: Path) -> dict[str, bytes]:
    """What a finished trial left, its result last."""
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: name == RESULT)
    lasting = (name for name in names if name not in PASSING and name[0] != ".")
    return {name: (folder / name).read_bytes() for name in lasting}


def _unpack(place: Place, files: Mapping[str, bytes]) -> None:
    """The trial is finished here too, where the worker had a cache of its own."""
    with locked(place.folder / "lock"):
        if find(place) is None:
            for name, content in files.items():
                write(place.folder / name, content)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Of the trials published in `folder`, only `names` are left."""
    wanted = {folder / name for name in names}
    for path in set(folder.glob("*/*")) - wanted:
        shutil.rmtree(path)


def _tell(outcomes: Iterable[Outcome]) -> None:
    """In a notebook, the runner can read back what the trials cost; a reader sees nothing."""
    if get_ipython() is not None:
        display({TRIALS: [outcome.evidence for outcome in outcomes]}, raw=True)
