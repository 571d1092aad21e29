"""A chapter: the source notebook with the outputs of a run woven in, and where they came from."""

from collections.abc import Mapping, Sequence
from typing import Any

import nbformat
from nbformat import NotebookNode, v4

from replication.runner.files import write
from replication.runner.jobs import Job
from replication.runner.outputs import settled
from replication.runner.progress import duration


def publish(job: Job, executed: NotebookNode) -> None:
    """The job's chapter is its source notebook with the outputs of `executed`.

    Everything else comes from the source, except for the cells that a run adds: so the copy holds
    no times and no random ids, and always the current prose.
    """
    injected, origin = (_tagged(executed, tag) for tag in ("injected-parameters", "provenance"))
    ran = [cell for cell in executed.cells if cell.cell_type == "code" and cell not in injected]
    chapter = v4.new_notebook(metadata=job.source.metadata)
    for place, source in enumerate(job.source.cells):
        cell = NotebookNode(source, id=source.get("id", f"cell-{place}"), metadata=_lasting(source))
        if cell.cell_type == "code":
            done = ran.pop(0)
            outputs = settled(done.outputs, job.profile.root)
            cell.update(outputs=outputs, execution_count=done.execution_count)
        chapter.cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            chapter.cells += injected
    chapter.cells += origin
    write(job.chapter, nbformat.writes(chapter) + "\n")


def _lasting(cell: NotebookNode) -> NotebookNode:
    """The cell's metadata without what editors note about a session."""
    noted = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled")
    return NotebookNode({key: value for key, value in cell.metadata.items() if key not in noted})


def _tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    for cell in cells:
        cell.update(id=tag, metadata={"tags": [tag]})
    return cells


def provenance_cell(record: Mapping[str, Any], own: Mapping[str, object]) -> NotebookNode:
    """Where the chapter came from, and the command that makes it again with `own` parameters."""
    origin = record["provenance"]
    commit = f"`{origin['commit'] or 'none'}`" + (" with local changes" if origin["dirty"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    memory = origin.get("peak_memory_mib")
    values = " ".join(f"{name}={value}".replace(" ", "") for name, value in own.items())
    command = f"make notebook NB={record['notebook']}" + (f' P="{values}"' if values else "")
    lines = [
        "---",
        f"Made by profile **{record['profile']}** at commit {commit} on {_minute(origin)} UTC in "
        f"{duration(origin['seconds'])}" + (f", with {memory:.0f} MiB at most." if memory else "."),
        *_trainings(record["trials"]),
        f"Seeds: {', '.join(map(str, origin['seeds'])) or 'none'}. {_machine(origin)}. "
        f"Python {origin['python']}, {versions}.",
        f"Run it again: `{command}`",
    ]
    return v4.new_markdown_cell("\n\n".join(lines), metadata={"tags": ["provenance"]})


def _trainings(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """When, where and how long the chapter's trials ran, be it long before the chapter was made."""
    if not trials:
        return []
    days = sorted(trial["started"][:10] for trial in trials)
    period = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    seconds = duration(sum(trial["seconds"] for trial in trials))
    found = sum(trial["found"] for trial in trials)
    places = sorted({f"{_machine(trial)}, torch {trial['torch']}" for trial in trials})
    return [
        f"Trials: {len(trials)}, begun {period}, {seconds} in all, {found} of them taken from the "
        f"cache. {'; '.join(places)}."
    ]


def _machine(origin: Mapping[str, Any]) -> str:
    return f"{origin['processor']}, device {origin['device']}, threads: {origin['threads']}"


def _minute(origin: Mapping[str, Any]) -> str:
    return origin["started"].replace("T", " ")[:16]
