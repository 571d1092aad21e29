"""A notebook in a fresh kernel that is watched: its memory, its time, and how it ended."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from traitlets.config import Config

from replication.runner.machine import peak_memory_mib
from replication.runner.progress import duration, environment

EVERY_S = 0.5  # how often the watch looks at a kernel
# Plain TCP would make each kernel warn about itself.
_CONFIG = Config({"KernelManager": {"transport_encryption": "auto"}})
_FIXED = {
    "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),  # whose python3 comes first
    "PYTHONHASHSEED": "0",  # a set of words is printed in one order
    "SOURCE_DATE_EPOCH": "0",  # no dates in SVG files
}


class KernelEnded(Exception):
    """The kernel ended before its notebook did; says how, and what to do."""


def execute(
    path: Path, parameters: Mapping[str, object], folder: Path, limit: float | None = None
) -> NotebookNode:
    """The notebook at `path`, executed in `folder`, with `metadata.peak_memory_mib` of its kernel.

    The file grows with it, so that it holds whatever ran. `limit`, in seconds, is for the whole
    notebook. Raises PapermillExecutionError if a cell does, KernelEnded if the kernel died or was
    stopped at the limit. In no case anything is left running.
    """
    with environment(**_FIXED):
        return papermill.execute_notebook(
            str(path),
            str(path),
            parameters=dict(parameters),
            engine_name=__name__,
            kernel_name="python3",
            cwd=str(folder),
            progress_bar=False,
            limit=limit,
        )


@contextmanager
def _bound(group: int) -> Iterator[None]:
    """While open, the processes of `group` end with this one, even where that is killed."""
    script = f"read end; kill -s KILL -- -{group}"  # `read` ends when the pipe does
    with subprocess.Popen(["sh", "-c", script], stdin=PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.kill()


class _Watch(threading.Thread):
    """Follows a kernel's memory until `done`, and stops the kernel where `limit_s` have passed."""

    def __init__(self, process: subprocess.Popen, limit_s: float | None):
        super().__init__(daemon=True)
        self.process, self.limit_s = process, limit_s
        self.done, self.expired = threading.Event(), False
        self.peak_mib: float | None = None

    def run(self) -> None:
        began = time.monotonic()
        self.look()
        while not self.done.wait(EVERY_S):
            self.look()
            if self.limit_s is not None and time.monotonic() - began > self.limit_s:
                self.expired = True
                self.stop()
                return

    def look(self) -> None:
        # Again and again, because what runs in the kernel can reset the peak.
        seen = peak_memory_mib(self.process.pid)
        self.peak_mib = max(filter(None, (self.peak_mib, seen)), default=None)

    def stop(self) -> None:
        """The kernel and the processes that it started have been told to end at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # the kernel leads a group of its own
        except ProcessLookupError:
            pass

    def why(self) -> str:
        """How the kernel ended, and what to do."""
        if self.expired and self.limit_s is not None:
            return (
                f"stopped at the limit of {duration(self.limit_s)}. Its trials go on where they "
                "were: give the same command again, with a larger limit"
            )
        status = self.process.poll()
        if status is None or status >= 0:
            return f"the kernel ended by itself, with exit status {status}"
        used = f"; it had used {self.peak_mib:.0f} MiB" if self.peak_mib else ""
        name = signal.Signals(-status).name
        if -status != signal.SIGKILL:
            return f"the kernel was ended by signal {-status} ({name}{used})"
        return (
            f"the kernel was killed by signal 9 ({name}{used}). Most often the system does that "
            "when memory runs out: close other programs, or run less at once"
        )


class _Client(PapermillNotebookClient):
    """Papermill's client, under watch."""

    def __init__(self, nb_man: Any, limit: float | None, **options: Any):
        super().__init__(nb_man, **options)
        self.limit = limit
        self.watch: _Watch | None = None

    def papermill_execute_cells(self) -> None:
        self.watch = watch = _Watch(self.km.provisioner.process, self.limit)
        watch.start()
        try:
            with _bound(watch.process.pid):
                super().papermill_execute_cells()
            watch.look()
        except DeadKernelError:
            watch.stop()  # what the kernel left behind
            raise
        finally:
            watch.done.set()
            watch.join()
        if watch.expired:  # just after its last cell
            raise DeadKernelError
        self.nb.metadata["peak_memory_mib"] = watch.peak_mib and round(watch.peak_mib, 1)


class _Engine(Engine):
    """Papermill's way to run a notebook by a client of one's own."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, limit: float | None, start_timeout: int, **_: Any
    ) -> NotebookNode:
        client = _Client(
            nb_man,
            limit,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            record_timing=False,
            shutdown_kernel="immediate",  # what matters is on disk already, and ctrl-C stays quiet
            config=_CONFIG,
        )
        try:
            return client.execute()
        except DeadKernelError as error:
            raise KernelEnded(client.watch.why() if client.watch else str(error)) from None


papermill_engines.register(__name__, _Engine)
