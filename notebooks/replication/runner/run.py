"""Run notebooks in fresh kernels of this environment; leave a chapter and a record of each."""

import errno
import json
import os
import time
from collections.abc import Sequence
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode

from replication.runner.chapter import publish
from replication.runner.claims.rules import rows_of
from replication.runner.files import write
from replication.runner.jobs import Job, fingerprint
from replication.runner.kernel import KernelEnded, execute
from replication.runner.profiles import EVIDENCE, OWN
from replication.runner.progress import LOG, duration, environment
from replication.runner.record import provenance, reported, trials

FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def run(jobs: Sequence[Job], limit: float | None = None) -> list[str]:
    """Each job has a fresh chapter and record, except those returned: the stems that failed.

    What is fresh already only gets the current prose. A notebook that fails, or has a cell that
    takes more than `limit` seconds, leaves what it had before, and its unfinished copy as
    `<stem>.failed.ipynb` in the profile's work folder. After a full disk no other notebook starts.
    """
    failed = []
    for number, job in enumerate(jobs, 1):
        label = f"[{number}/{len(jobs)}] {job.stem}"
        began = time.monotonic()
        try:
            _refresh(job, label, limit)
        except Exception as error:
            failed.append(job.stem)
            LOG.error("%s  FAILED after %s: %s", label, _elapsed(began), brief(error))
            if job.part.exists():  # papermill has written what ran, and the traceback
                job.part.replace(job.failed)
                copy = job.failed.relative_to(job.profile.root)
                LOG.error("%s  what it did until then: %s", label, copy)
            if any(text in str(error) for text in FULL):
                LOG.error("The disk is full: make room, then give the same command again.")
                return [*failed, *(later.stem for later in jobs[number:])]
        finally:
            job.part.unlink(missing_ok=True)
    return failed


def _refresh(job: Job, label: str, limit: float | None) -> None:
    state, reasons = job.standing()
    if state == "fresh" and job.profile.name != OWN:
        publish(job, nbformat.read(job.chapter, as_version=4), job.kept() or {})
        LOG.info("%s  is fresh, skipped", label)
        return
    LOG.info("%s  starts (%s)", label, "; ".join(reasons) or "as asked")
    began = time.monotonic()
    record, executed = finished(job, limit)
    # Only what is complete replaces a chapter, and the record comes last.
    publish(job, executed, record)
    write(job.record, json.dumps(record, indent=1) + "\n")
    job.failed.unlink(missing_ok=True)
    chapter = job.chapter.relative_to(job.profile.root)
    LOG.info("%s  done in %s: %s", label, _elapsed(began), chapter)


def finished(
    job: Job, limit: float | None = None, **settings: str
) -> tuple[dict[str, Any], NotebookNode]:
    """The record of a run of the job, and its executed copy; `settings` of its environment."""
    record: dict[str, Any] = {
        "notebook": job.stem,
        "profile": job.profile.name,
        "parameters": job.parameters,
        "fingerprint": fingerprint(job),
        "claims": rows_of(job.profile.root, job.stem),
    }
    origin = provenance(job.profile.root, job.parameters)
    began = time.monotonic()
    if job.profile.name == EVIDENCE:
        settings["ODENET_TRIALS"] = str(job.profile.trials)
    # The very cells whose fingerprint was taken, whatever is on disk now.
    write(job.part, nbformat.writes(job.source))
    with environment(**settings):
        executed = execute(job.part, job.own(), job.profile.notebooks, limit)
    origin["seconds"] = round(time.monotonic() - began, 1)
    record |= {"metrics": reported(executed), "trials": trials(executed), "provenance": origin}
    return record, executed


def brief(error: Exception) -> str:
    """One line that says what happened."""
    if isinstance(error, papermill.PapermillExecutionError):
        return f"{error.ename}: {error.evalue}"
    return str(error) if isinstance(error, KernelEnded) else f"{type(error).__name__}: {error}"


def _elapsed(began: float) -> str:
    return duration(time.monotonic() - began)
