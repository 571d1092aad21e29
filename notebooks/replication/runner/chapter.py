"""A chapter: the source notebook with the outputs of a run woven in, and where they came from."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, StrictUndefined
from nbformat import NotebookNode, v4

from replication.runner.files import write
from replication.runner.jobs import Job
from replication.runner.metrics import TRIALS
from replication.runner.progress import duration
from replication.runner.trials import cache_folder

_DROPPED = (TRIALS, "application/vnd.jupyter.widget-view+json")  # for the runner; a random id
_NOTED = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled")  # by editors
_TEMPLATE = Path(__file__).with_name("provenance.md.j2").read_text(encoding="utf-8")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def publish(job: Job, executed: NotebookNode, record: Mapping[str, Any]) -> None:
    """The job's chapter is its source notebook with the outputs of `executed`.

    Everything else comes from the source and from the record: so the copy holds no times and no
    random ids, and always the current prose.
    """
    injected = [cell for cell in executed.cells if "injected-parameters" in _tags(cell)]
    ran = [cell for cell in executed.cells if cell.cell_type == "code" and cell not in injected]
    chapter = v4.new_notebook(metadata=job.source.metadata)
    for place, source in enumerate(job.source.cells):
        lasting = {key: value for key, value in source.metadata.items() if key not in _NOTED}
        cell = NotebookNode(source, id=source.get("id", f"cell-{place}"), metadata=lasting)
        if cell.cell_type == "code":
            done = ran.pop(0)
            outputs = list(settled(done.outputs, job.profile.root))
            cell.update(outputs=outputs, execution_count=done.execution_count)
        chapter.cells.append(cell)
        if "parameters" in _tags(cell):
            chapter.cells += [_renamed(cell, "injected-parameters") for cell in injected]
    chapter.cells.append(_renamed(provenance_cell(record, job.own()), "provenance"))
    write(job.chapter, nbformat.writes(chapter) + "\n")


def settled(outputs: Iterable[NotebookNode], root: Path) -> Iterator[NotebookNode]:
    """`outputs` without what differs from run to run and from machine to machine.

    What went to the standard error was for the person who ran it, some data for the runner. Paths
    start at `root` or at a name.
    """
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        output = NotebookNode(output)
        if "text" in output:
            output.text = portable(output.text, root)
        if "data" in output:
            output.data = NotebookNode(
                (mime, portable(value, root) if isinstance(value, str) else value)
                for mime, value in output.data.items()
                if mime not in _DROPPED
            )
        if output.get("data", True):
            yield output


def portable(text: str, root: Path) -> str:
    """`text` without places of this machine: paths in the clone at `root` start there."""
    text = _ADDRESS.sub("at 0x...", text)
    for folder, name in ((root, "."), (cache_folder(), "$ODENET_CACHE"), (Path.home(), "~")):
        text = re.sub(rf"(?<![\w.~/-]){re.escape(str(folder.resolve()))}(?![\w.-])", name, text)
    return text


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _renamed(cell: NotebookNode, tag: str) -> NotebookNode:
    return NotebookNode(cell, id=tag, metadata={"tags": [tag]})


def provenance_cell(record: Mapping[str, Any], own: Mapping[str, object]) -> NotebookNode:
    """Where the chapter came from, and the command that makes it again with `own` parameters."""
    values = " ".join(f"{name}={value}".replace(" ", "") for name, value in own.items())
    command = f"make notebook NB={record['notebook']}" + (f' P="{values}"' if values else "")
    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(_TEMPLATE)
    text = template.render(record, command=command, duration=duration)
    return v4.new_markdown_cell(text.strip())
