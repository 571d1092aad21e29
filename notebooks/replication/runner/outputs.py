"""Outputs as a chapter shows them: the same text in every run, in any folder, on any machine."""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from nbformat import NotebookNode, v4

from replication.runner.metrics import TRIALS
from replication.runner.trials.entries import cache

_DROPPED = (TRIALS, "application/vnd.jupyter.widget-view+json")  # for the runner; a random id
_BINARY = re.compile(r"image/(?!svg)|application/pdf")
_CELL_FILE = re.compile(r"[^\s\"'(<>]*/ipykernel_\d+/\d+\.py")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
_START = r"(?:(?<![\w.~/-])|(?<=\dm))"  # of a path, in a traceback after the code of a colour
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


def settled(outputs: Iterable[NotebookNode], root: Path) -> list[NotebookNode]:
    """`outputs` without what differs from run to run and from machine to machine.

    Messages to the runner are gone, a stream is in one piece, paths start at `root` or at a name.
    """
    kept = filter(None, map(_shown, outputs))
    return [_portable(output, root) for output in _merged(kept)]


def _shown(output: NotebookNode) -> NotebookNode | None:
    if "data" not in output:
        return output
    data = {mime: value for mime, value in output.data.items() if mime not in _DROPPED}
    return NotebookNode(output, data=NotebookNode(data)) if data else None


def _merged(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Streams between two other outputs as one each; where they were cut is a matter of speed."""
    for stream, group in groupby(outputs, lambda output: output.output_type == "stream"):
        if not stream:
            yield from group
            continue
        texts = {"stdout": "", "stderr": ""}
        for output in group:
            texts[output.name] += output.text
        for name, text in texts.items():
            if text:
                yield v4.new_output("stream", name=name, text=_OVERWRITTEN.sub("", text))


def _portable(output: NotebookNode, root: Path) -> NotebookNode:
    def walk(value: Any, mime: str = "") -> Any:
        if isinstance(value, str):
            return value if _BINARY.match(mime) else portable(value, root)
        if isinstance(value, list):
            return [walk(item, mime) for item in value]
        if isinstance(value, dict):
            return NotebookNode({key: walk(item, key) for key, item in value.items()})
        return value

    return walk(output)


def portable(text: str, root: Path) -> str:
    """`text` without places of this machine: paths in the clone at `root` start there."""
    text = _ADDRESS.sub("at 0x...", _CELL_FILE.sub("cell", text))
    named = {root: ".", Path(sys.prefix): "$ENV", cache(): "$ODENET_CACHE", Path.home(): "~"}
    places = {str(form): name for path, name in named.items() for form in (path, path.resolve())}
    for place in sorted(places, key=len, reverse=True):  # what lies inside another comes first
        inside = "" if places[place] == "." else f"{places[place]}/"
        start = rf"{_START}{re.escape(place)}"
        text = re.sub(f"{start}/", inside, text)
        text = re.sub(rf"{start}(?![\w.-])", places[place], text)
    return text
