"""Trials on a Dask cluster, whose workers must hold the very code of the process that asks.

`distributed` is imported where it is used, because every kernel would wait for it otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from joblib import Parallel, delayed, parallel_config

from replication.runner.files import say
from replication.runner.trials.entries import Code, Function, entry, packed
from replication.runner.trials.tasks import SINGLY, Report, attempt_for, differences, held

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 8
_LOST = (
    "the Dask scheduler at {} is gone. What had finished is kept; start a scheduler and give the "
    "same command again"
)
_THREADS = "it runs {} tasks at once in one process; start it with --nthreads 1"


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the Dask scheduler at `address`; ValueError within seconds if none answers."""
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:  # whatever may listen there
        raise ValueError(
            f"no Dask scheduler answers at {address!r}: {error}. It takes the address of one that "
            "runs and can be reached from here, such as tcp://127.0.0.1:8786"
        ) from error
    with _quiet("distributed.client"), client:
        yield client


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """While open, nothing is logged: what matters is raised, the rest would end up in a chapter."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def reports(
    address: str, function: Function, trials: Mapping[int, Any], code: Code
) -> Generator[Report, None, None]:
    """A report of each of the numbered trials, in the order in which they end.

    A trial whose worker dies is given to another one. The report of a finished trial has its files,
    because the worker need not share its cache. Raises RuntimeError for workers that cannot be used
    and where the scheduler is lost.
    """
    with connected(address) as client, _progress(client) as topic:
        _require_equal_workers(client, function, code)
        tasks = [delayed(_attempt)(topic, code, n, function, trials[n]) for n in trials]
        waiting, lost = set(trials), []
        with parallel_config(_backend(client), n_jobs=-1):
            try:
                for report in Parallel(**SINGLY)(tasks):
                    if isinstance(report, Report):
                        waiting.remove(report.number)
                        yield report
                    else:
                        lost.append(report)
            except CancelledError as error:
                raise RuntimeError(_LOST.format(address)) from error
        for number, why in zip(sorted(waiting), lost, strict=True):
            yield Report(number, error=f"{type(why).__name__}: {why}", cause=why)


def _attempt(topic: str, expected: Code, number: int, function: Function, trial: Any) -> Report:
    """The worker's part."""
    from distributed import get_worker

    worker = get_worker()
    send = partial(worker.log_event, topic)
    report = attempt_for(send, worker.address, expected, number, function, trial)
    return report if report.error else replace(report, files=packed(entry(trial, expected).folder))


def _backend(client: Client) -> Any:
    """joblib's way to Dask, with two differences.

    A single worker is used too: joblib would run its tasks in this process instead. And a task that
    Dask gives up is not waited for: its error is returned in the place of its result.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return 2  # any number above 1: all tasks are handed over at once

        def submit(self, func: Any, callback: Any = None) -> Future:
            def tell(done: Future) -> None:
                if (error := done.exception()) is not None:
                    callback([error])

            future = super().submit(func, callback)
            future.add_done_callback(tell)
            return future

    return Backend(client=client)


@contextmanager
def _progress(client: Client) -> Iterator[str]:
    """While open, lines that workers log under the yielded topic are said here."""
    topic = f"odenet-{uuid4().hex}"
    client.subscribe_topic(topic, lambda event: say(event[1]))
    try:
        yield topic
    finally:
        client.unsubscribe_topic(topic)


def _require_equal_workers(client: Client, function: Function, code: Code) -> None:
    """Each worker would run exactly `code`, one trial at a time; waits for the first worker."""
    if not client.nthreads():
        say("no Dask worker yet; waiting for the first one")
        client.submit(held, function, pure=False).exception()  # an adaptive cluster starts one
    found = client.run(held, function, on_error="return")
    reasons = {worker: _reason(has, code) for worker, has in found.items()}
    reasons |= _refusal_of_scheduler(client, function)
    reasons |= {w: _THREADS.format(n) for w, n in client.nthreads().items() if n > 1}
    if refused := [f"{worker}: {reason}" for worker, reason in reasons.items() if reason]:
        raise RuntimeError(
            f"{len(refused)} of {len(reasons)} Dask processes cannot run these trials. Start them "
            "in this clone, from its commit and environment, with PYTHONPATH=notebooks:\n"
            + "\n".join(refused)
        )


def _refusal_of_scheduler(client: Client, function: Function) -> dict[str, str]:
    """Why tasks cannot pass through the scheduler, which must be able to import `function`."""
    try:
        client.run_on_scheduler(held, function)
    except Exception as error:
        return {"the scheduler": f"it cannot load {function.__module__}: {error}"}
    return {}


def _reason(found: Any, code: Code) -> str:
    if isinstance(found, BaseException):
        return f"it cannot load {code['function']}: {type(found).__name__}: {found}"
    return differences(found, code)
