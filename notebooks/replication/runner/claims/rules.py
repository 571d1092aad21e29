"""The paper's claims as rules that are written before the runs: claims.yml, read and checked."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from replication.runner.profiles import EVIDENCE, Profile, checkout, choose

HEADLINES = ("C15", "C3", "C8")  # spirals; digits; evaluations while a network learns
KINDS = ("claims", "planned", "superseded")  # of rows
MACHINE = "machine"  # what a timing needs, beside parameters
SCHEMA = json.loads(Path(__file__).with_name("claims.schema.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Claim:
    """A claim that a number can support, or not: `metric` is expected inside `accept`."""

    id: str
    number: str
    where: str
    claim: str
    paper: dict[str, object]
    metric: str
    accept: tuple[float, float]
    why: str
    known: str
    topic: str
    title: str  # what its number stands for, in a line
    printed: float | None = None  # what the paper prints for the metric, where a factor has meaning
    figure: str | None = None
    unit: str = ""  # of the metric, for people
    needs: Sequence[str] = ()  # what must be equal in two runs whose metrics are compared
    scale: str = "linear"  # on which it is judged and compared: linear, log, share, correlation
    predicted: str = ""  # what was expected of it when the row was written
    post_hoc: bool = False  # written after a look at such numbers
    main: bool = False  # its verdict is the claim's; where none is marked, the first row's is
    beyond: bool = False  # no claim of the paper
    given_up: bool = False  # by the paper's authors, or reported to be

    @property
    def stem(self) -> str:
        """The notebook that measures it."""
        return self.metric.partition(".")[0]

    @property
    def name(self) -> str:
        """Its metric, as the notebook reports it."""
        return self.metric.partition(".")[2]


@dataclass(frozen=True)
class Superseded:
    """A row that is judged no longer: what it said, and the rows that took its place."""

    id: str
    number: str
    claim: str
    metric: str
    accept: tuple[float, float]
    verdict: str
    measured: str
    reason: str
    by: Sequence[str]


@dataclass(frozen=True)
class Rules:
    """All of claims.yml, in the order of its topics and numbers."""

    titles: Mapping[str, str]  # number: what it stands for
    claims: Sequence[Claim]
    planned: Sequence[Claim]  # that no notebook reports yet
    superseded: Sequence[Superseded]


class Tested(Protocol):
    """What belongs to one claim."""

    @property
    def claim(self) -> Claim: ...


T = TypeVar("T", bound=Tested)


def by_claim(rows: Iterable[T]) -> list[list[T]]:
    """The rows of each number, in their order."""
    found: dict[str, list[T]] = {}
    for row in rows:
        found.setdefault(row.claim.number, []).append(row)
    return list(found.values())


def main_tests(tests: Sequence[T]) -> list[T]:
    """Of the tests of one claim, those that are marked as its main ones, or the first."""
    return [row for row in tests if row.claim.main] or list(tests[:1])


def read(path: Path) -> Rules:
    """The rows of the file.

    Raises ValueError, naming the row and what is allowed, for any that does not keep to the schema.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        if error := best_match(Draft202012Validator(SCHEMA).iter_errors(content)):
            raise ValueError(_explained(error, content))
        return _rules(content)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _rules(content: Mapping[str, Any]) -> Rules:
    """The rows of a content that keeps to the schema, if they fit together."""
    about = _numbers(content)
    ids = [row["id"] for kind in KINDS for row in content.get(kind, ())]
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for count, row in enumerate(content.get(kind, ()), 1):
            try:
                if row["id"] in (other.id for rows in found.values() for other in rows):
                    raise ValueError("another row has the same id")
                found[kind].append(_row(row, about, ids))
            except ValueError as error:
                raise ValueError(f"{kind}, row {count} ({row['id']}): {error}") from error
    order = list(about)
    rows = {kind: sorted(found[kind], key=lambda row: order.index(row.number)) for kind in KINDS}
    return Rules({number: more["title"] for number, more in about.items()}, **rows)


def _row(row: dict[str, Any], about: Mapping[str, Any], ids: Sequence[str]) -> Claim | Superseded:
    """A row that keeps to the schema, with what holds for its number."""
    more = about[choose("number", row["number"], about)]
    low, high = map(float, row["accept"])
    if not low < high or math.isinf(low) and math.isinf(high):
        raise ValueError(f"accept must be [low, high], low < high, one finite, not {row['accept']}")
    row = row | {"accept": (low, high)}
    if "by" not in row:
        return Claim(**row | more)
    for new in row["by"]:
        choose("id in by", new, set(ids) - {row["id"]})
    return Superseded(**row)


def _numbers(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What holds for all rows of a number, by number in their order."""
    about: dict[str, dict[str, Any]] = {}
    for part in ("topics", "beyond"):
        for topic, numbers in content.get(part, {}).items():
            for number, title in numbers.items():
                if number in about:
                    raise ValueError(f"{part}: {topic}: {number} is listed twice")
                about[number] = {"topic": topic, "title": title, "beyond": part == "beyond"}
    papers = [number for number, more in about.items() if not more["beyond"]]
    for number in content.get("given_up", ()):
        about[choose("number in given_up", number, papers)]["given_up"] = True
    return about


def claims_of(stem: str) -> dict[str, Claim]:
    """The rows of the notebook `stem` in this clone, by the name of their metric."""
    return {row.name: row for row in _rows_of(checkout(), stem)}


def rows_of(root: Path, stem: str) -> list[dict[str, Any]]:
    """What the notebook `stem` is judged by: id, metric, accept and scale of each of its rows.

    A record keeps them as they were when its run began, so that a planned row may judge it later.
    """
    return [committed(row) for row in _rows_of(root, stem)]


def _rows_of(root: Path, stem: str) -> list[Claim]:
    """Those that are judged, then those that are planned."""
    rules = read(Profile(EVIDENCE, root).claims)
    return [row for row in (*rules.claims, *rules.planned) if row.stem == stem]


def committed(row: Claim) -> dict[str, Any]:
    """What of a row must stand before the run that it judges."""
    kept = {"id": row.id, "metric": row.metric, "accept": list(row.accept)}
    return kept | {"scale": row.scale}


class _Loader(yaml.SafeLoader):
    """YAML in which no key may be given twice: plain YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise ValueError(
                f"a key is given twice in what begins at line {node.start_mark.line + 1}"
            )
        return found


def _explained(error: ValidationError, content: Any) -> str:
    """Where the schema is not kept to, what is wrong there, and what it allows."""
    where = list(error.absolute_path)
    if len(where) > 1 and where[0] in KINDS:
        row = content[where[0]][where[1]]
        name = row.get("id", "no id") if isinstance(row, dict) else "no id"
        where[:2] = [f"{where[0]}, row {int(where[1]) + 1} ({name})"]
    allowed = error.schema.get("description") or ", ".join(error.schema.get("properties", {}))
    return ": ".join(map(str, [*where, f"{error.message[-150:]} (allowed: {allowed})"]))
