"""What is left of a notebook that did not reach its end, and what a person can do about it."""

import errno
import traceback
from pathlib import Path

import nbformat
import papermill
from nbformat import v4

from replication.runner.files import write
from replication.runner.kernel import KernelEnded

_FULL = (errno.ENOSPC, errno.EDQUOT)


def keep(part: Path, failed: Path, error: Exception) -> None:
    """`failed` holds what ran, as it lies at `part`, with the traceback as its last cell."""
    try:
        copy = nbformat.read(part, as_version=4)
    except (OSError, ValueError):  # nothing ran, or what ran could not be written
        copy = v4.new_notebook()
    text = "".join(traceback.format_exception(error))
    copy.cells.append(v4.new_markdown_cell(f"The run ended here:\n\n```\n{text}\n```"))
    write(failed, nbformat.writes(copy))


def brief(error: Exception) -> str:
    """One line that says what happened."""
    if isinstance(error, papermill.PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    return str(error) if isinstance(error, KernelEnded) else f"{type(error).__name__}: {error}"


def disk_full(error: Exception) -> bool:
    """Whether there was no room for a file, here or in the kernel."""
    if isinstance(error, papermill.PapermillExecutionError):
        return any(f"[Errno {number}]" in error.evalue for number in _FULL)
    return isinstance(error, OSError) and error.errno in _FULL
