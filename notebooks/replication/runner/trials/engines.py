"""Where trials run: in this process, in local processes, or on a Dask cluster."""

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import BrokenProcessPool, get_reusable_executor

from replication.runner.trials import cluster
from replication.runner.trials.entries import Code, Function
from replication.runner.trials.tasks import SINGLY, Report, ToFile, attempt, attempt_for


@dataclass(frozen=True)
class Engine:
    """So many local processes, or the scheduler at `cluster`; by default this process."""

    jobs: int = 1
    cluster: str = ""


def engine() -> Engine:
    """What ODENET_JOBS and ODENET_CLUSTER ask for; ValueError if they do not make sense."""
    jobs, address = (os.environ.get(f"ODENET_{name}", "").strip() for name in ("JOBS", "CLUSTER"))
    if jobs and not (jobs.isascii() and jobs.isdigit() and int(jobs) > 0):
        raise ValueError(f"ODENET_JOBS must be a number of processes, 1 or more, not {jobs!r}")
    if address and urlsplit(address).scheme not in ("tcp", "tls"):
        raise ValueError(
            "ODENET_CLUSTER must be the address of a Dask scheduler, such as tcp://host:8786, "
            f"not {address!r}"
        )
    if address and int(jobs or 1) > 1:
        raise ValueError(
            f"ODENET_JOBS={jobs} asks for local processes and ODENET_CLUSTER={address} for a "
            "cluster: give one of them"
        )
    return Engine(int(jobs or 1), address)


def require_engine() -> None:
    """What the environment asks for can be had; else a ValueError."""
    if (asked := engine()).cluster:
        with cluster.connected(asked.cluster):
            pass


def reports(
    asked: Engine, function: Function, trials: Mapping[int, Any], code: Code
) -> Generator[Report, None, None]:
    """A report of each of the numbered trials, in the order in which they end."""
    if asked.cluster:
        return cluster.reports(asked.cluster, function, trials, code)
    if asked.jobs > 1:
        return _in_processes(asked.jobs, function, trials, code)
    return _here(function, trials, code)


def _here(
    function: Function, trials: Mapping[int, Any], code: Code
) -> Generator[Report, None, None]:
    with parallel_config("sequential"):
        tasks = (delayed(attempt)(code, n, function, trials[n]) for n in trials)
        yield from Parallel(return_as="generator")(tasks)


def _in_processes(
    jobs: int, function: Function, trials: Mapping[int, Any], code: Code
) -> Generator[Report, None, None]:
    """By `jobs` processes, each with its part of the threads, however few trials there are."""
    send = ToFile(os.environ.get("ODENET_PROGRESS") or None)
    threads = max(1, torch.get_num_threads() // jobs)
    tasks = (delayed(_attempt)(send, code, n, function, trials[n]) for n in trials)
    try:
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
            yield from Parallel(**SINGLY)(tasks)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a local process was ended from outside, most often for want of memory. What had "
            "finished is kept; give the same command again, with a smaller ODENET_JOBS"
        ) from error
    finally:
        get_reusable_executor().shutdown(wait=True)  # the next trials may find other code


def _attempt(send: ToFile, expected: Code, number: int, function: Function, trial: Any) -> Report:
    """The part of a local process."""
    return attempt_for(send, f"process {os.getpid()}", expected, number, function, trial)
