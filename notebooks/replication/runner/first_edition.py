"""The first edition: evidence that was made before the package was split in two.

Its chapters and records stay as they were made, and keep their verdicts, until the run of Release
1.0 replaces them. This file is deleted then. Nothing else knows how the first edition was made.
"""

from collections.abc import Iterable, Mapping
from typing import Any

STATE = "first edition"  # of a chapter, beside fresh, stale and missing
NOTE = (
    "The first edition stays as it was made. The run that replaces it: make replicate PROFILE=paper"
)
LINE = (
    "<strong>Chapter 5 is still of the first edition</strong>: a second is being written, and its "
    "run will replace these numbers."
)


def made(record: Mapping[str, Any]) -> bool:
    """Whether a record is of the first edition: it depends on the runner at its old place."""
    return "odenet.replicate" in record["fingerprint"].get("modules", ())


def precedes(record: Mapping[str, Any], predicted: str) -> bool:
    """Whether a record is older than a row of claims.yml, which it then cannot be judged by.

    Rows of the second edition say what was `predicted` when they were written.
    """
    return made(record) and bool(predicted)


def banner(records: Iterable[Mapping[str, Any]]) -> str | None:
    """The line over each page of a book with a chapter of the first edition, else None."""
    return LINE if any(map(made, records)) else None
