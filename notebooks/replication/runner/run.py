"""Run notebooks in fresh kernels of this environment; leave a chapter and a record of each."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from replication.runner.chapter import provenance_cell, publish
from replication.runner.failures import brief, disk_full, keep
from replication.runner.files import write
from replication.runner.jobs import Job, fingerprint
from replication.runner.kernel import execute
from replication.runner.parameters import declared
from replication.runner.profiles import OWN
from replication.runner.progress import LOG, duration, environment, forwarded
from replication.runner.record import provenance, reported, trials


def run(jobs: Sequence[Job], limit: float | None = None) -> list[str]:
    """Each job has a fresh chapter and record, except those returned: the stems that failed.

    What is fresh already only gets the current prose. A notebook that fails, or takes more than
    `limit` seconds, leaves what it had before, and its unfinished copy as `<stem>.failed.ipynb` in
    the profile's work folder. After a full disk no other notebook starts.
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
            _keep(job, label, error)
            if disk_full(error):
                LOG.error("The disk is full: make room, then give the same command again.")
                return [*failed, *(later.stem for later in jobs[number:])]
        finally:
            _part(job).unlink(missing_ok=True)
    return failed


def _refresh(job: Job, label: str, limit: float | None) -> None:
    state, reasons = job.standing()
    if state == "fresh" and job.profile.name != OWN:
        publish(job, nbformat.read(job.chapter, as_version=4))
        LOG.info("%s  is fresh, skipped", label)
        return
    LOG.info("%s  starts (%s)", label, "; ".join(reasons) or "as asked")
    began = time.monotonic()
    _execute(job, label, limit)
    chapter = job.chapter.relative_to(job.profile.root)
    LOG.info("%s  done in %s: %s", label, _elapsed(began), chapter)


def _execute(job: Job, label: str, limit: float | None) -> None:
    """Run the notebook; only a complete result replaces the chapter, and the record comes last."""
    made = {
        "notebook": job.stem,
        "profile": job.profile.name,
        "parameters": job.parameters,
        "fingerprint": fingerprint(job),
    }
    origin = provenance(job.profile.root, job.parameters)
    began = time.monotonic()
    executed = _executed(job, label, limit)
    origin["seconds"] = round(time.monotonic() - began, 1)
    origin["peak_memory_mib"] = executed.metadata["peak_memory_mib"]
    numbers = {"metrics": reported(executed), "trials": trials(executed)}
    record = made | numbers | {"provenance": origin}
    executed.cells.append(provenance_cell(record, _own(job)))
    publish(job, executed)
    write(job.record, json.dumps(record, indent=1) + "\n")
    _failed(job).unlink(missing_ok=True)


def _executed(job: Job, label: str, limit: float | None) -> NotebookNode:
    """The executed copy of the very cells whose fingerprint was taken, whatever is on disk now."""
    write(_part(job), nbformat.writes(job.source))
    with forwarded(label) as progress, environment(**progress):
        return execute(_part(job), _own(job), job.profile.notebooks, limit)


def _own(job: Job) -> dict[str, object]:
    """The parameters that differ from what the notebook says itself."""
    defaults = declared(job.source)
    return {name: value for name, value in job.parameters.items() if value != defaults[name]}


def _part(job: Job) -> Path:
    return job.profile.work / f"{job.stem}.part.ipynb"


def _failed(job: Job) -> Path:
    return job.profile.work / f"{job.stem}.failed.ipynb"


def _keep(job: Job, label: str, error: Exception) -> None:
    """What ran of the failed job is on disk, and the log says where, or why not."""
    try:
        keep(_part(job), _failed(job), error)
    except OSError as second:
        LOG.error("%s  what it did until then could not be kept: %s", label, second)
    else:
        path = _failed(job).relative_to(job.profile.root)
        LOG.error("%s  what it did until then: %s", label, path)


def _elapsed(began: float) -> str:
    return duration(time.monotonic() - began)
