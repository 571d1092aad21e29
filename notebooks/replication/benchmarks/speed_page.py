"""The book's page on `make bench`: words, table and figure, all of them from its record."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from replication import style
from replication.runner.files import write
from replication.runner.profiles import checkout
from replication.runner.record import load
from replication.tables import table

SHOWN = {  # in figure and table -> the ways without gradients and with them
    "odenet": ("odenet", "odenet backprop"),
    "compiled": ("odenet compile", "odenet checkpoint compile"),
    "torchdiffeq": ("torchdiffeq odeint", "torchdiffeq odeint"),
    "torchode": ("torchode", "torchode"),
    "diffrax": ("diffrax", "diffrax"),
    "SciPy": ("SciPy", None),
}
Pair = tuple[
    bool, str, str
]  # with gradients or without; the time of this way over that of the next
EAGER: list[Pair] = [
    (False, "torchdiffeq odeint", "odenet"),
    (True, "torchdiffeq odeint", "odenet backprop"),
    (True, "torchdiffeq odeint_adjoint", "odenet adjoint"),
]
COMPILED: list[Pair] = [
    (False, "odenet", "odenet compile"),
    (True, "odenet checkpoint", "odenet checkpoint compile"),
    (True, "odenet adjoint", "odenet adjoint compile"),
]
JITTED: list[Pair] = [
    (False, "odenet compile", "diffrax"),
    (True, "odenet checkpoint compile", "diffrax"),
]
PRODUCTS = (
    "The field is the same. But in PyTorch's compiled code each matrix product is a call into "
    "PyTorch, whose cost does not fall with the size; XLA, below diffrax, makes one program of all."
)
CONVOLUTIONS = "On mnist the time is that of convolutions, and there {ahead} is ahead."
Rows = Mapping[tuple[str, int, bool, str | None], Mapping[str, Any]]  # by what they measured


@dataclass(frozen=True)
class Ratio:
    """The quartiles of one time over another, round by round, so that a slow moment cancels out."""

    where: str
    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} (quartiles {self.low:.3g} to {self.high:.3g}; {self.where})"


def by_key(rows: Sequence[Mapping[str, Any]]) -> Rows:
    return {(row["task"], row["outputs"], row["gradient"], row["way"]): row for row in rows}


def ratios(rows: Rows, pairs: Sequence[Pair]) -> Iterator[Ratio]:
    """Of each case and pair that was measured."""
    for task, outputs in dict.fromkeys(key[:2] for key in rows):
        for gradient, *names in pairs:
            one, other = (rows.get((task, outputs, gradient, name)) for name in names)
            if one and other:
                both = zip(one["seconds"], other["seconds"], strict=False)
                each = [a / b for a, b in both]
                seen = f" at {outputs} times" * (outputs > 1)
                rule = "adjoint" if "adjoint" in names[0] else "gradient"
                where = f"{task}{seen}{f', {rule}' * gradient}"
                yield Ratio(where, *np.quantile(each, (0.25, 0.5, 0.75)))


def outcome(ours: str, other: str, found: Sequence[Ratio], words: Sequence[str]) -> str:
    """How often ``ours`` is which of the ``words``: for ratios below 1, about 1 and above it."""
    counts = [
        sum(ratio.high < 1 for ratio in found),
        sum(ratio.low <= 1 <= ratio.high for ratio in found),
        sum(ratio.low > 1 for ratio in found),
    ]
    told = sorted(zip(counts, words, strict=True), reverse=True)
    if told[0][0] == len(found):
        return f"**{ours} is {told[0][1]} {other} in all {len(found)} comparisons.**"
    (most, word), *others = [(count, word) for count, word in told if count]
    rest = "".join(f", {word} it in {count}" for count, word in others)
    return f"**{ours} is {word} {other} in {most} of {len(found)} comparisons{rest}.**"


def ends(takes: str, found: Sequence[Ratio], than: str) -> str:
    least, most = (pick(found, key=lambda ratio: ratio.median) for pick in (min, max))
    return f"{takes} between {least} and {most} times as long as {than}."


def eager(rows: Rows) -> str:
    if not (found := list(ratios(rows, EAGER))):
        return "torchdiffeq was not measured in this run."
    words = ("slower than", "level with", "faster than")
    return " ".join(
        [
            outcome("Without compiling, odenet", "torchdiffeq", found, words),
            ends("torchdiffeq takes", found, "odenet, round by round"),
            "Compared are solves, gradients by backpropagation, and both adjoints.",
        ]
    )


def compiled(rows: Rows) -> str:
    if not (found := list(ratios(rows, COMPILED))):
        return "Nothing was compiled in this run."
    words = ("slower than", "level with", "faster than")
    said = [outcome("`compile=True`", "the eager solve", found, words)]
    said.append(ends("The eager solve takes", found, "the compiled one"))
    first, counts = zip(*paybacks(rows), strict=True)
    pays = [count for count in counts if count < np.inf]
    after = f"after {span(pays)} solves of one shape" if pays else "never"
    said.append(f"The first call compiles, for {span(first)} s, which pays {after}")
    return " ".join(said) + ("; elsewhere never." if 0 < len(pays) < len(counts) else ".")


def paybacks(rows: Rows) -> Iterator[tuple[float, float]]:
    """The seconds of first calls, and the solves after which they have paid for themselves.

    A gradient needs the compiled solve too, whose seconds are those of the way without gradient.
    """
    for task in dict.fromkeys(key[0] for key in rows):
        for gradient, slow, fast in COMPILED:
            other, row = (rows.get((task, 1, gradient, name)) for name in (slow, fast))
            if other and row:
                solve = rows.get((task, 1, False, "odenet compile"))
                first = row["first_seconds"] + (solve["first_seconds"] if solve and gradient else 0)
                both = zip(other["seconds"], row["seconds"], strict=False)
                gain = float(np.median([slowly - quickly for slowly, quickly in both]))
                yield first, first / gain if gain > 0 else np.inf


def span(numbers: Sequence[float]) -> str:
    """The least to the most, to two digits."""
    return " to ".join(dict.fromkeys(f"{rounded(end(numbers)):,.0f}" for end in (min, max)))


def jitted(rows: Rows) -> str:
    if not (found := list(ratios(rows, JITTED))):
        return "diffrax was not measured in this run."
    words = ("faster than", "level with", "slower than")
    said = [
        outcome("With `compile=True`, odenet", "diffrax, jitted,", found, words),
        ends("odenet takes", found, "diffrax"),
    ]
    if any(ratio.low > 1 for ratio in found if not ratio.where.startswith("mnist")):
        said.append(PRODUCTS)
    large = [ratio for ratio in found if ratio.where.startswith("mnist")]
    for ahead, wins in (("odenet", lambda r: r.high < 1), ("diffrax", lambda r: r.low > 1)):
        if large and all(map(wins, large)):
            said.append(CONVOLUTIONS.format(ahead=ahead))
    return " ".join(said)


def medians(rows: Rows) -> str:
    """The table, of states that are seen at the end alone."""
    lines: list[tuple[str | None, ...]] = []
    for task in dict.fromkeys(key[0] for key in rows):
        lines.append((f"**{task}**", None, None, None))
        for way, (plain, rule) in SHOWN.items():
            solve, gradient = rows.get((task, 1, False, plain)), rows.get((task, 1, True, rule))
            if solve or gradient:
                error = f"{solve['error']:.0e}" if solve else None
                lines.append((way, ms(solve), ms(gradient), error))
    columns = zip(("way", "solve", "gradient", "error"), zip(*lines, strict=True), strict=True)
    return table(dict(columns))


def ms(row: Mapping[str, Any] | None) -> str | None:
    return f"{rounded(1e3 * np.median(row['seconds'])):g}" if row else None


def rounded(number: Any) -> float:
    """To two digits."""
    return float(f"{number:.2g}")


def drawn(rows: Rows) -> Figure:
    """Medians with a bar between the quartiles, of solves (filled) and of gradients (hollow)."""
    tasks = list(dict.fromkeys(key[0] for key in rows))
    lines = -(-len(tasks) // 2)
    figure, axes = style.new_figure(0.7 + 2.1 * lines, lines, 2, sharey=True, squeeze=False)
    for ax, task in zip(axes.flat, tasks, strict=False):
        for place, pair in enumerate(SHOWN.values()):
            color = style.PALETTE[place]
            for gradient, name in enumerate(pair):
                if row := rows.get((task, 1, bool(gradient), name)):
                    at = place + 0.4 * gradient - 0.2
                    low, middle, high = 1e3 * np.quantile(row["seconds"], (0.25, 0.5, 0.75))
                    ax.plot([low, high], [at, at], color=color, lw=4, alpha=0.5)
                    face = "none" if gradient else color
                    ax.plot(middle, at, style.MARKERS[place], color=color, mfc=face, ms=6)
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


def svg(figure: Figure) -> str:
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def made(record: Mapping[str, Any]) -> dict[str, str]:
    """The files below book/ that a record gives."""
    rows = by_key(record["rows"])
    versions = record["versions"]
    names = ("torch", "torchdiffeq", "torchode", "diffrax", "jax", "scipy")
    told = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    about = (
        "Milliseconds of a solve, and with its gradient (odenet by backpropagation, compiled by "
        "checkpoints); the error is relative, and that of the solve. Measured on "
        f"{record['started'][:10]} with one thread of {record['processor']}: {told}."
    )
    parts = [eager(rows), compiled(rows), jitted(rows), medians(rows), about]
    style.use()
    return {"_speed.md": "\n\n".join(parts) + "\n", "_static/speed.svg": svg(drawn(rows))}


def main() -> None:
    book = checkout() / "book"
    if not (record := load(book / "records/speed.json")):
        raise SystemExit(
            "there is no book/records/speed.json: python -m replication.benchmarks.speed"
        )
    for name, content in made(record).items():
        write(book / name, content)


if __name__ == "__main__":
    main()
