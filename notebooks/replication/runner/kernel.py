"""A notebook, executed by papermill in a fresh kernel of this environment."""

import sys
from collections.abc import Mapping
from pathlib import Path

import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

from replication.runner.progress import environment

_FIXED = {
    "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),  # whose python3 comes first
    "PYTHONHASHSEED": "0",  # a set of words is printed in one order
    "SOURCE_DATE_EPOCH": "0",  # no dates in SVG files
}


class KernelEnded(Exception):
    """The kernel ended before its notebook did; says how, and what to do."""


def execute(
    path: Path,
    parameters: Mapping[str, object],
    folder: Path,
    limit: float | None = None,
) -> NotebookNode:
    """The notebook at `path`, executed in `folder`.

    The file grows with it, so that it holds whatever ran; what the kernel writes to its standard
    error, such as moving bars, is shown at once. Raises PapermillExecutionError if a cell does,
    KernelEnded if the kernel died or a cell took more than `limit` seconds. A kernel ends by itself
    where this process is killed.
    """
    every_s = "1" if sys.stderr.isatty() else "30"  # in a log, a bar would fill pages
    try:
        with environment(**_FIXED, TQDM_MININTERVAL=every_s):
            return papermill.execute_notebook(
                str(path),
                str(path),
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=str(folder),
                progress_bar=False,
                stderr_file=sys.stderr,
                execution_timeout=limit,
                record_timing=False,
                coalesce_streams=True,  # where a stream was cut is a matter of speed
                shutdown_kernel="immediate",  # what matters is on disk already
                # Plain TCP would make each kernel warn about itself.
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            )
    except CellTimeoutError:
        raise KernelEnded(
            f"a cell was stopped at the limit of {limit:g} s. Its trials go on where they were: "
            "give the same command again, with a larger limit"
        ) from None
    except DeadKernelError:
        raise KernelEnded(
            "the kernel was killed or crashed. Most often the system does that when memory runs "
            "out: close other programs, or run less at once"
        ) from None
