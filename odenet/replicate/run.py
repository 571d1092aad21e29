"""Run notebooks in fresh kernels of this environment; leave a chapter and a record of each."""

import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode, v4
from traitlets.config import Config

from odenet.replicate.chapter import provenance_cell, publish
from odenet.replicate.files import write
from odenet.replicate.jobs import Job, changes, fingerprint
from odenet.replicate.parameters import declared
from odenet.replicate.profiles import OWN
from odenet.replicate.progress import LOG, duration, environment, forwarded
from odenet.replicate.record import provenance, reported

# Plain TCP would make each kernel warn about itself.
_KERNEL = Config({"KernelManager": {"transport_encryption": "auto"}})


def run(jobs: Sequence[Job]) -> list[str]:
    """Each job has a fresh chapter and record, except those returned: the stems that failed.

    What is fresh already only gets the current prose. A notebook that fails leaves what it had
    before, and its unfinished copy as `<stem>.failed.ipynb` in the profile's work folder.
    """
    failed = []
    for number, job in enumerate(jobs, 1):
        label = f"[{number}/{len(jobs)}] {job.stem}"
        began = time.monotonic()
        try:
            _refresh(job, label)
        except Exception as error:
            failed.append(job.stem)
            copy = _keep_failure(job, error).relative_to(job.profile.root)
            LOG.error("%s  FAILED after %s: %s", label, _elapsed(began), _brief(error))
            LOG.error("%s  what it did until then: %s", label, copy)
        finally:
            _part(job).unlink(missing_ok=True)
    return failed


def _refresh(job: Job, label: str) -> None:
    kept = job.kept()
    reasons = changes(job, kept) if kept else ["no result yet"]
    if not reasons and job.profile.name != OWN:
        publish(job, nbformat.read(job.chapter, as_version=4))
        LOG.info("%s  is fresh, skipped", label)
        return
    LOG.info("%s  starts (%s)", label, "; ".join(reasons) or "as asked")
    began = time.monotonic()
    _execute(job, label)
    chapter = job.chapter.relative_to(job.profile.root)
    LOG.info("%s  done in %s: %s", label, _elapsed(began), chapter)


def _execute(job: Job, label: str) -> None:
    """Run the notebook; only a complete result replaces the chapter, and the record comes last."""
    made = {
        "notebook": job.stem,
        "profile": job.profile.name,
        "parameters": job.parameters,
        "fingerprint": fingerprint(job),
    }
    origin = provenance(job.profile.root, job.parameters)
    began = time.monotonic()
    executed = _papermill(job, label)
    origin["seconds"] = round(time.monotonic() - began, 1)
    record = made | {"metrics": reported(executed), "provenance": origin}
    executed.cells.append(provenance_cell(record, _own(job)))
    publish(job, executed)
    write(job.record, json.dumps(record, indent=1) + "\n")
    _failed(job).unlink(missing_ok=True)


def _papermill(job: Job, label: str) -> NotebookNode:
    """The executed copy of the very cells whose fingerprint was taken, whatever is on disk now."""
    write(_part(job), nbformat.writes(job.source))
    fixed = {
        "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),  # whose python3 comes first
        "SOURCE_DATE_EPOCH": "0",  # no dates in SVG files
    }
    with forwarded(label) as progress, environment(**fixed, **progress):
        return papermill.execute_notebook(
            str(_part(job)),
            str(_part(job)),
            parameters=_own(job),
            kernel_name="python3",
            cwd=str(job.profile.notebooks),
            progress_bar=False,
            record_timing=False,
            shutdown_kernel="immediate",  # what matters is on disk already, and ctrl-C stays quiet
            config=_KERNEL,
        )


def _own(job: Job) -> dict[str, object]:
    """The parameters that differ from what the notebook says itself."""
    defaults = declared(job.source)
    return {name: value for name, value in job.parameters.items() if value != defaults[name]}


def _part(job: Job) -> Path:
    return job.profile.work / f"{job.stem}.part.ipynb"


def _failed(job: Job) -> Path:
    return job.profile.work / f"{job.stem}.failed.ipynb"


def _keep_failure(job: Job, error: Exception) -> Path:
    """The file that now holds what ran, with the traceback as its last cell."""
    part = _part(job)
    copy = nbformat.read(part, as_version=4) if part.is_file() else v4.new_notebook()
    text = "".join(traceback.format_exception(error))
    copy.cells.append(v4.new_markdown_cell(f"The run ended here:\n\n```\n{text}\n```"))
    write(_failed(job), nbformat.writes(copy))
    return _failed(job)


def _brief(error: Exception) -> str:
    if isinstance(error, papermill.PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


def _elapsed(began: float) -> str:
    return duration(time.monotonic() - began)
