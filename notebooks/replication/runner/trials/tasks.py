"""A trial as another process runs it: the same code or none, its progress told, failures kept."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from traceback import format_exception
from typing import Any

from replication.runner.files import say
from replication.runner.progress import LOG, environment, forwarded
from replication.runner.trials.entries import Code, Function, code, entry, finish

Send = Callable[[str], None]  # takes a line to the process that asked for the trials

# For joblib: one trial is one task, all are handed over at once, because workers may come and go,
# and the reports come as the trials end.
SINGLY = {"batch_size": 1, "pre_dispatch": "all", "return_as": "generator_unordered"}
_HELD: dict[str, str] = {}  # module -> digest of the code that this process has loaded
_ONE = threading.Lock()  # trials seed torch's global generator, so a process runs one at a time


@dataclass(frozen=True)
class Report:
    """How the trial with this number ended: well, unless `error` says otherwise."""

    number: int
    found: bool = False  # it was finished before
    error: str = ""
    cause: BaseException | None = None
    files: dict[str, bytes] = field(default_factory=dict)


class Elsewhere(Exception):
    """The traceback of a failure in another process, as text."""


@dataclass(frozen=True)
class ToFile:
    """Lines go to the file at `path`, or to the standard error."""

    path: str | None

    def __call__(self, line: str) -> None:
        if self.path is None:
            print(line, file=sys.stderr)
            return
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def attempt(expected: Code, number: int, function: Function, trial: Any) -> Report:
    """The trial is finished in this process, or the report says why not."""
    try:
        outcome = finish(entry(trial, expected), function, trial)
    except Exception as error:
        return Report(number, error=_brief(error), cause=error)
    return Report(number, outcome.evidence["found"])


def attempt_for(
    send: Send, where: str, expected: Code, number: int, function: Function, trial: Any
) -> Report:
    """As `attempt`, for another process: its progress is sent there, its code must be the same."""
    try:
        if differing := differences(held(function), expected):
            raise RuntimeError(f"{where} cannot run this: {differing}")
        with _ONE, relayed(where, send):
            place = entry(trial, expected)
            say(f"{place.name} starts")
            outcome = finish(place, function, trial)
    except Exception as error:
        text = "".join(format_exception(error))
        return Report(number, error=_brief(error), cause=Elsewhere(f"in {where}\n\n{text}"))
    return Report(number, outcome.evidence["found"])


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def relayed(label: str, send: Send) -> Iterator[None]:
    """While open, what this process tells of its progress reaches `send`, line by line."""
    relay = _Relay(send)
    LOG.setLevel(logging.INFO)
    LOG.addHandler(relay)
    try:
        with forwarded(label) as progress, environment(**progress):
            yield
    finally:
        LOG.removeHandler(relay)


class _Relay(logging.Handler):
    def __init__(self, send: Send):
        super().__init__()
        self.send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.send(record.getMessage())
        except OSError:  # progress may be lost, a trial not
            pass


def held(function: Function) -> dict[str, Any]:
    """`code(function)` as this process has loaded it, whatever has been written to disk since."""
    now = code(function)
    return now | {
        "modules": {name: _HELD.setdefault(name, d) for name, d in now["modules"].items()}
    }


def differences(here: Code, expected: Code) -> str:
    """What a process would run otherwise than it should; empty if nothing."""
    parts = []
    if here["torch"] != expected["torch"]:
        parts.append(f"it has torch {here['torch']}, not {expected['torch']}")
    names = here["modules"].keys() | expected["modules"].keys()
    other = [n for n in names if here["modules"].get(n) != expected["modules"].get(n)]
    if other:
        parts.append(f"it has loaded other code of {', '.join(sorted(other))}")
    return "; ".join(parts)
