"""Trials: one frozen setting in, plain numbers out, each computed once, wherever that may be."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from traceback import format_exception
from typing import Any

from IPython import get_ipython
from IPython.display import display

from replication.runner.files import say
from replication.runner.metrics import TRIALS
from replication.runner.progress import duration
from replication.runner.trials.engines import Engine, engine, reports
from replication.runner.trials.entries import (
    Code,
    Entry,
    Function,
    Outcome,
    code,
    entry,
    find,
    finish,
    unpack,
)
from replication.runner.trials.tasks import Report


class TrialError(RuntimeError):
    """Names the trials that failed, after all the others were finished."""


def run_trial(function: Function, trial: Any) -> Outcome:
    """The outcome of `function(trial, folder)`, computed unless the same trial was finished before.

    Same means: the function, every field of the dataclass `trial`, the torch version, and the
    code of all modules of the function's package that its module imports. A folder without a
    sound result is handed to `function` again, to resume from what it left there. Always in this
    process; what `function` raises is raised.
    """
    place = entry(trial, code(function))
    outcome = find(place) or finish(place, function, trial)
    _tell([outcome])
    return outcome


def run_trials(function: Function, trials: Iterable[Any]) -> list[Outcome]:
    """The outcomes of `trials` in their order, each as `run_trial` would have it, equal ones once.

    What is not finished is computed in this process, in ODENET_JOBS local processes, or on the Dask
    cluster whose scheduler is at ODENET_CLUSTER. If some fail, the others are finished first; then
    TrialError. ValueError for an engine that makes no sense or does not answer.
    """
    asked, now = engine(), code(function)
    pairs = [(entry(trial, now), trial) for trial in trials]
    outcomes = {place.folder: kept for place, _ in pairs if (kept := find(place))}
    missing = {p.folder: (p, trial) for p, trial in pairs if p.folder not in outcomes}
    if missing:
        outcomes |= _computed(asked, function, list(missing.values()), now)
    ordered = [outcomes[place.folder] for place, _ in pairs]
    _tell({outcome.folder: outcome for outcome in ordered}.values())
    return ordered


def _computed(
    asked: Engine, function: Function, pairs: Sequence[tuple[Entry, Any]], now: Code
) -> dict[Path, Outcome]:
    """The outcome of each pair by its folder; TrialError if not all of them have one."""
    outcomes: dict[Path, Outcome] = {}
    failed: list[str] = []
    cause = None
    trials = {number: trial for number, (_, trial) in enumerate(pairs)}
    with closing(reports(asked, function, trials, now)) as ended:
        for report in ended:
            place = pairs[report.number][0]
            if report.error:
                failed.append(f"{place.name}: {report.error}")
                cause = cause or report.cause
                say(f"{place.name} FAILED\n{''.join(format_exception(report.cause))}")
                continue
            outcomes[place.folder] = outcome = _kept(place, report)
            if asked != Engine():
                seconds = duration(outcome.evidence["seconds"])
                say(f"{place.name} done in {seconds}, {len(outcomes)} of {len(pairs)}")
    if failed:
        head = f"{len(failed)} of {len(pairs)} trials failed; the others are finished and kept"
        raise TrialError("\n".join([head, *failed])) from cause
    return outcomes


def _kept(place: Entry, report: Report) -> Outcome:
    """The outcome of a trial that ended well, which this cache now holds."""
    if report.files:
        unpack(place, report.files)
    outcome = find(place)
    if outcome is None:
        raise TrialError(f"{place.name} was finished, but {place.folder} does not hold it")
    return replace(outcome, evidence={**outcome.evidence, "found": report.found})


def _tell(outcomes: Iterable[Outcome]) -> None:
    """In a notebook, the runner can read back what the trials cost; a reader sees nothing."""
    if get_ipython() is not None:
        display({TRIALS: [outcome.evidence for outcome in outcomes]}, raw=True)
