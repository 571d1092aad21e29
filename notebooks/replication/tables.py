"""Numbers as Markdown tables."""

import re
from collections.abc import Mapping, Sequence

from replication.style import Estimate


def table(columns: Mapping[str, Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, the others to the right; None is empty."""
    # In a narrow head a number such as 1e-5 would break at its hyphen.
    heads = [re.sub(r"(?<=\de)-(?=\d)", "\N{NON-BREAKING HYPHEN}", head) for head in columns]
    rows: list[Sequence[object]] = [heads, [":--", *["--:"] * (len(columns) - 1)]]
    rows += zip(*columns.values(), strict=True)
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |" for row in rows
    )


def interval(estimate: Estimate, digits: int) -> str:
    """The mean with its interval to so many decimals: `0.43 [0.31, 0.55]`.

    Without one where there is none, and where it would read as the mean does.
    """
    said = [estimate[key] for key in ("mean", "low", "high") if estimate[key] is not None]
    mean, *bounds = (f"{number:.{digits}f}" for number in said)
    return mean if set(bounds) <= {mean} else f"{mean} [{', '.join(bounds)}]"
