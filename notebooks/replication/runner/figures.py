"""The published chapters, executed anew from their kept trials: figures without training."""

import json
from collections.abc import Mapping, Sequence

from replication.runner.chapter import publish
from replication.runner.files import write
from replication.runner.jobs import Job
from replication.runner.metrics import Metric, shown
from replication.runner.progress import LOG
from replication.runner.run import brief, finished


def redraw(jobs: Sequence[Job], keep: bool = True) -> bool:
    """Whether every number is as published; if to `keep`, chapters get what was drawn."""
    same = True
    for number, job in enumerate(jobs, 1):
        label = f"[{number}/{len(jobs)}] {job.stem}"
        kept = job.kept()
        if kept is None:
            LOG.info("%s  was not published yet, skipped", label)
            continue
        try:
            record, executed = finished(job, ODENET_TRAIN="no")
        except Exception as error:
            moved = [brief(error)]
        else:
            moved = changes(kept["metrics"], record["metrics"])
        job.part.unlink(missing_ok=True)
        if keep and not moved:
            again = {**kept, "fingerprint": record["fingerprint"]}
            publish(job, executed, again)
            write(job.record, json.dumps(again, indent=1) + "\n")
        LOG.info(
            "%s  %s", label, "; ".join(moved) or "executed anew from its trials, no number changed"
        )
        same = same and not moved
    return same


def changes(then: Mapping[str, Metric], now: Mapping[str, Metric]) -> list[str]:
    """A text for each metric that is printed otherwise than before."""
    old, new = ({name: shown(metric) for name, metric in given.items()} for given in (then, now))
    return [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
