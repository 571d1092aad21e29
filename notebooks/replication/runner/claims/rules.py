"""The paper's claims as rules that are written before the runs: claims.yml, read and checked."""

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from replication.runner.profiles import EVIDENCE, Profile, choose

HEADLINES = ("C15", "C3", "C8")  # spirals; digits; evaluations while a network learns
MACHINE = "machine"  # what a timing needs, beside parameters
SCHEMA = json.loads(Path(__file__).with_name("claims.schema.json").read_text(encoding="utf-8"))


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
    topic: str
    title: str  # what its number stands for, in a line
    printed: float | None = None  # what the paper prints for the metric, where a factor has meaning
    figure: str | None = None
    needs: Sequence[str] = ()  # what must be equal in two runs whose metrics are compared
    scale: str = "linear"  # on which they are compared, or log
    main: bool = False  # decides the headline of its claim
    predicted: str = ""  # what was expected of it when the row was written
    post_hoc: bool = False  # written after a look at such numbers

    @property
    def stem(self) -> str:
        """The notebook that measures it."""
        return self.metric.partition(".")[0]

    @property
    def name(self) -> str:
        """Its metric, as the notebook reports it."""
        return self.metric.partition(".")[2]


def read(path: Path) -> list[Claim]:
    """The claims in the file, in the order of their topics and numbers.

    Raises ValueError, naming the row and what is allowed, for any that does not keep to the schema.
    """
    place = path.name
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        if error := best_match(Draft202012Validator(SCHEMA).iter_errors(content)):
            raise ValueError(_explained(error, content))
        claims: dict[str, Claim] = {}
        for count, row in enumerate(content["claims"], 1):
            place = f"{path.name}, row {count} ({row['id']})"
            if row["id"] in claims:
                raise ValueError("another row has the same id")
            claims[row["id"]] = _claim(row, content["topics"])
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{place}: {error}") from error
    order = [number for topic in content["topics"].values() for number in topic]
    return sorted(claims.values(), key=lambda claim: order.index(claim.number))


def rows_of(root: Path, stem: str) -> list[dict[str, Any]]:
    """What the notebook `stem` is judged by now: id, metric and accept of each of its claims.

    A record keeps them as they were when its run began.
    """
    claims = [claim for claim in read(Profile(EVIDENCE, root).claims) if claim.stem == stem]
    return [{"id": c.id, "metric": c.metric, "accept": list(c.accept)} for c in claims]


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
    if where[:1] == ["claims"] and len(where) > 1:
        row = content["claims"][where[1]]
        name = row.get("id", "no id") if isinstance(row, dict) else "no id"
        where[:2] = [f"row {int(where[1]) + 1} ({name})"]
    allowed = error.schema.get("description") or ", ".join(error.schema.get("properties", {}))
    return ": ".join(map(str, [*where, f"{error.message[-150:]} (allowed: {allowed})"]))


def _claim(row: dict[str, Any], topics: Mapping[str, Mapping[str, str]]) -> Claim:
    """The claim of a row that keeps to the schema."""
    listed = {number: topic for topic, numbers in topics.items() for number in numbers}
    topic = listed[choose("number", row["number"], listed)]
    low, high = map(float, row["accept"])
    if not low < high or math.isinf(low) and math.isinf(high):
        raise ValueError(f"accept must be [low, high], low < high, one finite, not {row['accept']}")
    return Claim(**row | {"accept": (low, high)}, topic=topic, title=topics[topic][row["number"]])
