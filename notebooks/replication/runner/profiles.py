"""Profiles and the paths that follow from them: where notebooks lie and where their results go."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

EVIDENCE = "paper"  # the only profile whose results are tracked
OWN = "custom"  # one notebook, with parameters of the reader's own


def checkout() -> Path:
    """The clone that this file lies in."""
    return Path(__file__).resolve().parents[3]


def choose(kind: str, given: str, known: Iterable[str]) -> str:
    """`given`, if it is known; else a ValueError that lists the known names and the nearest one."""
    names = sorted(known)
    if given in names:
        return given
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {given!r}{hint} (known: {', '.join(names)})")


@dataclass(frozen=True)
class Profile:
    """One scale at which the notebooks run. `smoke` is their own defaults."""

    name: str
    root: Path = field(default_factory=checkout)

    def __post_init__(self) -> None:
        files = (path.stem for path in (self.notebooks / "profiles").glob("*.yml"))
        choose("profile", self.name, {"smoke", OWN, EVIDENCE, *files})

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def code(self) -> tuple[Path, Path]:
        """Where the clone's packages lie: `replication` and `odenet`."""
        return self.notebooks, self.root

    @property
    def claims(self) -> Path:
        return self.root / "book" / "claims.yml"

    @property
    def work(self) -> Path:
        """Untracked: the log, unfinished and failed copies, all results that are no evidence."""
        return self.root / "book" / "_build" / self.name

    @property
    def chapters(self) -> Path:
        return (self.root / "book" if self.name == EVIDENCE else self.work) / "chapters"

    @property
    def records(self) -> Path:
        return (self.root / "book" if self.name == EVIDENCE else self.work) / "records"

    @property
    def trials(self) -> Path:
        """The published trials: of each its numbers, and files that fit into the repository."""
        return self.root / "book" / "trials"

    @property
    def html(self) -> Path:
        site = self.work.parent if self.name == EVIDENCE else self.work
        return site / "html" / "index.html"

    @property
    def stems(self) -> list[str]:
        """Names of the notebooks in the order in which they run."""
        return sorted(path.stem for path in self.notebooks.glob("[0-9]*.ipynb"))

    @property
    def overrides(self) -> dict[str, dict[str, object]]:
        """Parameters of this profile by notebook; the rest keeps the notebook's defaults."""
        path = self.notebooks / "profiles" / f"{self.name}.yml"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
        content = {} if content is None else content
        for part in (content, *content.values()) if isinstance(content, dict) else (content,):
            if not isinstance(part, dict | None):
                raise ValueError(f"{path}: must map notebooks to parameters, not {part!r}")
        return {stem: values or {} for stem, values in content.items()}
