"""The paper's claims as rules that are written before the runs: claims.yml, read and checked."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from replication.runner.claims.offers import Offer, offers
from replication.runner.profiles import Profile, choose

PARTS = {"topics": dict, "planned": list, "claims": list}
REQUIRED = {
    "id": str,
    "number": str,
    "where": str,
    "claim": str,
    "paper": dict,
    "metric": str,
    "accept": list,
    "why": str,
    "known": str,
}
OPTIONAL = ("printed", "figure")


@dataclass(frozen=True)
class Claim:
    """A claim that a number can support or reject: `metric` is expected inside `accept`."""

    id: str
    number: str
    where: str
    claim: str
    paper: dict[str, object]
    metric: str
    accept: tuple[float, float]
    why: str
    known: str
    printed: float | None = None  # what the paper prints for the metric, where a factor has meaning
    figure: str | None = None
    topic: str = ""
    title: str = ""  # what its number stands for, in a line
    planned: bool = False  # no notebook reports the metric yet


def read(clone: Profile) -> list[Claim]:
    """The claims of a clone, checked against the source of its notebooks."""
    return load(clone.claims, offers(clone.notebooks))


def load(path: Path, known: Mapping[str, Offer]) -> list[Claim]:
    """The claims at `path`, in the order of their topics and numbers.

    Raises ValueError, naming the row and what is allowed, for any that does not keep to the schema
    or needs a notebook, metric or figure that is neither in `known` nor planned.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        _require_parts(content)
        topics, planned = _topics(content["topics"]), _planned(content["planned"], known)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    claims = []
    for place, row in enumerate(content["claims"], 1):
        name = row.get("id", "no id") if isinstance(row, dict) else "no id"
        try:
            claims.append(_claim(row, topics, known, planned))
        except ValueError as error:
            raise ValueError(f"{path.name}, row {place} ({name}): {error}") from error
    _require_whole(path.name, claims, topics, planned)
    order = list(topics)
    return sorted(claims, key=lambda claim: order.index(claim.number))


def rows_of(root: Path, stem: str) -> list[dict[str, Any]]:
    """Of each claim on the notebook `stem`: what its record keeps to be judged by."""
    claims = read(Profile("smoke", root))
    return [
        {"id": claim.id, "metric": claim.metric, "accept": list(claim.accept)}
        for claim in claims
        if claim.metric.partition(".")[0] == stem
    ]


class _Loader(yaml.SafeLoader):
    """YAML in which no key may be given twice: plain YAML would keep the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ValueError(f"line {line}: {key!r} is given twice in one place")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _require_parts(content: Any) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"must have the parts {', '.join(PARTS)}")
    for part in content:
        choose("part", part, PARTS)
    for part, want in PARTS.items():
        if not isinstance(content.get(part), want):
            raise ValueError(f"{part} must be a {want.__name__}")


def _topics(given: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Number -> its topic, and the claim in a line."""
    for topic, numbers in given.items():
        if not isinstance(numbers, dict) or not all(isinstance(t, str) for t in numbers.values()):
            raise ValueError(f"topic {topic!r} must map numbers to claims, as C1: text")
    listed = Counter(number for numbers in given.values() for number in numbers)
    if twice := [number for number, count in listed.items() if count > 1]:
        raise ValueError(f"in two topics: {', '.join(twice)}")
    return {
        number: (topic, title)
        for topic, numbers in given.items()
        for number, title in numbers.items()
    }


def _planned(given: list[str], known: Mapping[str, Offer]) -> list[str]:
    """The notebooks (`06_flows`) and metrics (`05_spirals.x`) that nobody has written yet."""
    for entry in given:
        stem, _, name = str(entry).partition(".")
        if stem in known and not name:
            raise ValueError(f"planned notebook {stem} exists: take it off the list")
        if name:
            choose("notebook of a planned metric", stem, known)
            if name in known[stem].metrics:
                raise ValueError(f"planned metric {entry} is reported: take it off the list")
    return list(map(str, given))


def _claim(
    row: Any,
    topics: Mapping[str, tuple[str, str]],
    known: Mapping[str, Offer],
    planned: list[str],
) -> Claim:
    if not isinstance(row, dict):
        raise ValueError(f"must have the keys {', '.join(REQUIRED)}")
    for key in row:
        choose("key", key, [*REQUIRED, *OPTIONAL])
    for key, want in REQUIRED.items():
        if not row.get(key) or not isinstance(row[key], want):
            raise ValueError(f"{key} must be a {want.__name__} and not empty")
    if empty := [name for name, value in row["paper"].items() if value is None]:
        raise ValueError(f"paper has no value for {empty[0]!r} (put words with a comma in quotes)")
    topic, title = topics[choose("number", row["number"], topics)]
    missing = _is_planned(row["metric"], known, planned)
    printed = row.get("printed", 1)
    if type(printed) not in (int, float) or not printed > 0:
        raise ValueError(f"printed must be a number above 0, not {printed!r}")
    if "figure" in row:
        stem = row["metric"].partition(".")[0]
        choose(f"figure of {stem}", row["figure"], known[stem].figures if stem in known else ())
    more = {"topic": topic, "title": title, "planned": missing}
    return Claim(**row | {"accept": _interval(row["accept"])} | more)


def _is_planned(metric: str, known: Mapping[str, Offer], planned: list[str]) -> bool:
    """Whether `metric` is still to be reported; ValueError if it never will be."""
    stem, _, name = metric.partition(".")
    if not name.isidentifier():
        raise ValueError(f"metric must be notebook.name, not {metric!r}")
    choose("notebook", stem, [*known, *(entry for entry in planned if "." not in entry)])
    if stem in planned or metric in planned:
        return True
    later = (entry.partition(".")[2] for entry in planned if entry.startswith(f"{stem}."))
    choose(f"metric of {stem}", name, [*known[stem].metrics, *later])
    return False


def _interval(accept: list) -> tuple[float, float]:
    numbers = len(accept) == 2 and all(type(edge) in (int, float) for edge in accept)
    if not numbers or not accept[0] < accept[1] or not any(map(math.isfinite, accept)):
        raise ValueError(f"accept must be [low, high] with low < high, one finite, not {accept}")
    return float(accept[0]), float(accept[1])


def _require_whole(
    name: str, claims: list[Claim], topics: Mapping[str, object], planned: list[str]
) -> None:
    """Every number has a row, every row its own id, and every planned thing a claim that needs it.

    Otherwise ValueError, naming the file `name`.
    """
    counted = Counter(claim.id for claim in claims)
    if twice := [claim for claim, count in counted.items() if count > 1]:
        raise ValueError(f"{name}: used for more than one claim: {', '.join(twice)}")
    numbers = {claim.number for claim in claims}
    if without := [number for number in topics if number not in numbers]:
        raise ValueError(f"{name}: no row has the number {', '.join(without)}")
    needed = {part for claim in claims for part in (claim.metric, claim.metric.partition(".")[0])}
    if idle := [entry for entry in planned if entry not in needed]:
        raise ValueError(f"{name}: planned, but no claim needs it: {', '.join(idle)}")
