"""A chapter: the source notebook with the outputs of a run woven in, and where they came from."""

from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode, v4

from odenet.replicate.files import write
from odenet.replicate.jobs import Job
from odenet.replicate.progress import duration


def publish(job: Job, executed: NotebookNode) -> None:
    """The job's chapter is its source notebook with the outputs of `executed`.

    Everything else comes from the source, except for the cells that a run adds: so the copy holds
    no times and no random ids, and always the current prose.
    """
    injected, origin = (_tagged(executed, tag) for tag in ("injected-parameters", "provenance"))
    ran = [cell for cell in executed.cells if cell.cell_type == "code" and cell not in injected]
    chapter = v4.new_notebook(metadata=job.source.metadata)
    for cell in job.source.cells:
        if cell.cell_type == "code":
            done = ran.pop(0)
            cell = NotebookNode(cell, outputs=done.outputs, execution_count=done.execution_count)
        chapter.cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            chapter.cells += injected
    chapter.cells += origin
    write(job.chapter, nbformat.writes(chapter) + "\n")


def _tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    for cell in cells:
        cell.update(id=tag, metadata={"tags": [tag]})
    return cells


def provenance_cell(record: Mapping[str, Any], own: Mapping[str, object]) -> NotebookNode:
    """Where the chapter came from, and the command that makes it again with `own` parameters."""
    origin = record["provenance"]
    commit = f"`{origin['commit'] or 'none'}`" + (" with local changes" if origin["dirty"] else "")
    when = origin["started"].replace("T", " ")[:16]
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    values = " ".join(f"{name}={value}".replace(" ", "") for name, value in own.items())
    command = f"make notebook NB={record['notebook']}" + (f' P="{values}"' if values else "")
    lines = [
        "---",
        f"Made by profile **{record['profile']}** at commit {commit} on {when} UTC "
        f"in {duration(origin['seconds'])}.",
        f"Seeds: {', '.join(map(str, origin['seeds'])) or 'none'}. {origin['processor']}, device "
        f"{origin['device']}, threads: {origin['threads']}. Python {origin['python']}, {versions}.",
        f"Run it again: `{command}`",
    ]
    return v4.new_markdown_cell("\n\n".join(lines), metadata={"tags": ["provenance"]})
