"""Where trials run: in this process, in local processes, or on a Dask cluster."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import torch

from replication.runner.progress import environment

CONNECT_S = 8


def asked() -> tuple[int, str]:
    """ODENET_JOBS and ODENET_CLUSTER; ValueError if they do not make sense."""
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
    return int(jobs or 1), address


@contextmanager
def executor(tasks: int) -> Iterator[Executor]:
    """What the environment asks for; ValueError within seconds if it cannot be had.

    No more processes than this process has threads. How many each of them has does not depend on
    `tasks`: a run that was interrupted goes on with as many, and rounds alike.
    """
    jobs, address = asked()
    cores = torch.get_num_threads()
    jobs = min(jobs, cores)
    if address:
        with _cluster(address) as pool:
            yield pool
    elif jobs > 1:
        with _processes(min(jobs, tasks), cores // jobs) as pool:
            yield pool
    else:
        yield _Here()


class _Here(Executor):
    """Runs each task at once, in this process."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _processes(count: int, threads: int) -> Iterator[Executor]:
    """So many processes, each with so many threads, which end with this one."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start, (threads,))
    with environment(OMP_NUM_THREADS=str(threads)):
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _start(threads: int) -> None:
    """A new process has so many threads, and ends at once where its parent was killed."""
    torch.set_num_threads(threads)
    Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    if parent := parent_process():
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """Dask gives the trial of a worker that dies to another one."""
    from distributed import Client  # every kernel would wait for it otherwise

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:  # whatever may listen there
        raise ValueError(
            f"no Dask scheduler answers at {address!r}: {error}. It takes the address of one that "
            "runs and can be reached from here, such as tcp://127.0.0.1:8786"
        ) from error
    with client, client.get_executor(pure=False) as pool:
        if not client.nthreads():
            print("no Dask worker yet; waiting for the first one", file=sys.stderr)
        yield pool
