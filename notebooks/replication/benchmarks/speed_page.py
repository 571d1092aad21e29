"""The book's page on `make bench`: words from a template, numbers and figure from its record."""

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from matplotlib.figure import Figure

from replication import style
from replication.runner.files import write
from replication.runner.profiles import checkout

SHOWN = {  # in figure and table -> the ways without gradients and with them
    "odenet": ("odenet", "odenet backprop"),
    "compiled": ("odenet compile", "odenet checkpoint compile"),
    "torchdiffeq": ("torchdiffeq odeint", "torchdiffeq odeint"),
    "torchode": ("torchode", "torchode"),
    "diffrax": ("diffrax", "diffrax"),
    "SciPy": ("SciPy", None),
}
Pair = tuple[bool, str, str]  # with gradients; the time of this way over that of the next
COMPARED: dict[str, list[Pair]] = {
    "eager": [
        (False, "torchdiffeq odeint", "odenet"),
        (True, "torchdiffeq odeint", "odenet backprop"),
        (True, "torchdiffeq odeint_adjoint", "odenet adjoint"),
    ],
    "compiled": [
        (False, "odenet", "odenet compile"),
        (True, "odenet checkpoint", "odenet checkpoint compile"),
        (True, "odenet adjoint", "odenet adjoint compile"),
    ],
    "jitted": [
        (False, "odenet compile", "diffrax"),
        (True, "odenet checkpoint compile", "diffrax"),
    ],
}
VERSIONS = ("torch", "torchdiffeq", "torchode", "diffrax", "jax", "scipy")
TEMPLATE = Path(__file__).with_name("speed.md.j2")
Rows = Mapping[tuple[str, int, bool, str | None], Mapping[str, Any]]  # by what they measured


class Ratio(NamedTuple):
    """The quartiles of one time over another, round by round, so that a slow moment cancels out."""

    task: str
    where: str
    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} (quartiles {self.low:.3g} to {self.high:.3g}; {self.where})"


def by_key(rows: Sequence[Mapping[str, Any]]) -> Rows:
    return {(row["task"], row["outputs"], row["gradient"], row["way"]): row for row in rows}


def tasks_of(rows: Rows) -> list[str]:
    return list(dict.fromkeys(task for task, *_ in rows))


def quartiles(values: Sequence[float]) -> np.ndarray:
    return np.quantile(values, (0.25, 0.5, 0.75))


def ratios(rows: Rows, pairs: Sequence[Pair]) -> Iterator[Ratio]:
    """Of each case and pair that was measured."""
    for task, outputs in dict.fromkeys(key[:2] for key in rows):
        for gradient, *names in pairs:
            one, other = (rows.get((task, outputs, gradient, name)) for name in names)
            if one and other:
                each = [a / b for a, b in zip(one["seconds"], other["seconds"], strict=False)]
                seen = f" at {outputs} times" * (outputs > 1)
                rule = "adjoint" if "adjoint" in names[0] else "gradient"
                yield Ratio(task, f"{task}{seen}{f', {rule}' * gradient}", *quartiles(each))


def count(found: Sequence[Ratio], below: str, above: str) -> list[tuple[int, str]]:
    """How many ratios are ``below`` 1 with both quartiles, level with it, and ``above`` it."""
    counts = [
        (sum(ratio.high < 1 for ratio in found), below),
        (sum(ratio.low <= 1 <= ratio.high for ratio in found), "level with"),
        (sum(ratio.low > 1 for ratio in found), above),
    ]
    return sorted(((number, word) for number, word in counts if number), reverse=True)


def paybacks(rows: Rows) -> Iterator[tuple[float, float | None]]:
    """The seconds of first calls, and after how many solves they have paid: None for never.

    A gradient needs the compiled solve too, whose seconds are those of the way without gradient.
    """
    for task in tasks_of(rows):
        for gradient, slow, fast in COMPARED["compiled"]:
            other, row = (rows.get((task, 1, gradient, name)) for name in (slow, fast))
            if other and row:
                solve = rows.get((task, 1, False, "odenet compile"))
                first = row["first_seconds"] + (solve["first_seconds"] if solve and gradient else 0)
                gains = [a - b for a, b in zip(other["seconds"], row["seconds"], strict=False)]
                gain = float(np.median(gains))
                yield first, first / gain if gain > 0 else None


def span(numbers: Iterable[float]) -> str:
    """The least to the most, to two digits."""
    found = sorted(numbers)
    return " to ".join(dict.fromkeys(f"{rounded(end):,.0f}" for end in (found[0], found[-1])))


def milliseconds(row: Mapping[str, Any] | None) -> str:
    """The median, to two digits; empty where it was not measured."""
    return f"{rounded(1e3 * np.median(row['seconds'])):g}" if row else ""


def rounded(number: Any) -> float:
    """To two digits."""
    return float(f"{number:.2g}")


def drawn(rows: Rows) -> Figure:
    """Medians with a bar between the quartiles, of solves (filled) and of gradients (hollow)."""
    tasks = tasks_of(rows)
    lines = math.ceil(len(tasks) / 2)
    figure, axes = style.new_figure(0.7 + 2.1 * lines, lines, 2, sharey=True, squeeze=False)
    for ax, task in zip(axes.flat, tasks, strict=False):
        for place, pair in enumerate(SHOWN.values()):
            color, marker = style.PALETTE[place], style.MARKERS[place]
            for name, gradient, face in zip(pair, (False, True), (color, "none"), strict=True):
                if row := rows.get((task, 1, gradient, name)):
                    at = place + 0.4 * gradient - 0.2
                    low, middle, high = 1e3 * quartiles(row["seconds"])
                    ax.plot([low, high], [at, at], color=color, lw=4, alpha=0.5)
                    ax.plot(middle, at, marker, color=color, mfc=face, ms=6)
        ax.set(title=task, xlabel="time (ms)", xscale="log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_yticks(range(len(SHOWN)), SHOWN)
        ax.grid(axis="x")
    axes[0, 0].invert_yaxis()
    for ax in axes.flat[len(tasks) :]:
        ax.remove()
    kinds = [style.mark("o", style.GREY, "solve"), style.mark("o", style.GREY, "with gradient")]
    kinds[1].set_markerfacecolor("none")
    style.legend_above(figure, kinds, 2)
    return figure


def page(record: Mapping[str, Any]) -> str:
    """The words and the table that a record gives, in Markdown."""
    rows, versions = by_key(record["rows"]), record["versions"]
    template = TEMPLATE.read_text(encoding="utf-8") + "\n"  # of which Jinja drops the last newline
    return jinja2.Template(template, trim_blocks=True, lstrip_blocks=True).render(
        **{name: list(ratios(rows, pairs)) for name, pairs in COMPARED.items()},
        **{"count": count, "milliseconds": milliseconds, "span": span},
        paybacks=list(paybacks(rows)),
        tasks=tasks_of(rows),
        rows=rows,
        shown=SHOWN,
        record=record,
        versions=[f"{name} {versions[name]}" for name in VERSIONS if name in versions],
    )


def main() -> None:
    book = checkout() / "book"
    record = json.loads((book / "records/speed.json").read_text(encoding="utf-8"))
    write(book / "_speed.md", page(record))
    style.use()
    svg = io.StringIO()
    drawn(by_key(record["rows"])).savefig(svg, format="svg", metadata={"Date": None})
    write(book / "_static/speed.svg", svg.getvalue())


if __name__ == "__main__":
    main()
