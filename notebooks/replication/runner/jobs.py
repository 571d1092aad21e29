"""A notebook under a profile: what it runs with, what its result depends on, and what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

import odenet
from replication.runner import first_edition, record
from replication.runner.files import digest
from replication.runner.parameters import checked, declared
from replication.runner.profiles import OWN, Profile, choose
from replication.runner.sources import bare, imports, modules


@dataclass(frozen=True)
class Job:
    """The notebook `stem` as `profile` runs it."""

    profile: Profile
    stem: str
    source: NotebookNode
    parameters: dict[str, object]

    @property
    def chapter(self) -> Path:
        return self.profile.chapters / f"{self.stem}.ipynb"

    @property
    def record(self) -> Path:
        return self.profile.records / f"{self.stem}.json"

    @property
    def part(self) -> Path:
        """The copy that is being executed."""
        return self.profile.work / f"{self.stem}.part.ipynb"

    @property
    def failed(self) -> Path:
        """What ran of the last run, where that failed."""
        return self.profile.work / f"{self.stem}.failed.ipynb"

    def own(self) -> dict[str, object]:
        """The parameters that differ from what the notebook says itself."""
        defaults = declared(self.source)
        return {name: value for name, value in self.parameters.items() if value != defaults[name]}

    def kept(self) -> dict | None:
        """The record of the last complete run, or None; ValueError for a damaged file."""
        return record.load(self.record) if record.load(self.chapter) else None

    def standing(self) -> tuple[str, list[str]]:
        """`fresh`, `stale`, `missing` or `first edition`, and the reasons why it is not fresh."""
        try:
            kept = self.kept()
        except ValueError:
            return "stale", ["record or chapter damaged"]
        if kept is None:
            return "missing", ["no result yet"]
        if first_edition.made(kept):
            return first_edition.STATE, ["made for the first edition"]
        reasons = changes(self, kept)
        return "stale" if reasons else "fresh", reasons


def plan(
    profile: Profile, stems: Sequence[str] = (), given: Mapping[str, object] | None = None
) -> list[Job]:
    """The jobs for `stems` (default: all), in order, with everything checked that can be.

    `given` parameters make a run of its own, allowed for the profile `custom` and one notebook.
    Raises ValueError for an unknown notebook or parameter and for a value of the wrong type.
    """
    for stem in [*stems, *profile.overrides]:
        choose("notebook", stem, profile.stems)
    if given and (profile.name != OWN or len(stems) != 1):
        raise ValueError(
            f"own parameters need one notebook and the profile {OWN!r}; the profile "
            f"{profile.name!r} is what its file in notebooks/profiles says"
        )
    jobs = [_job(profile, stem, given if given and stem in stems else {}) for stem in profile.stems]
    return [job for job in jobs if not stems or job.stem in stems]


def _job(profile: Profile, stem: str, given: Mapping[str, object]) -> Job:
    source = nbformat.read(profile.notebooks / f"{stem}.ipynb", as_version=4)
    records = relpath(profile.records, profile.notebooks)
    automatic = {"records": records} if summarises(source) else {}
    parameters = checked(stem, source, automatic | profile.overrides.get(stem, {}) | dict(given))
    return Job(profile, stem, source, parameters)


def summarises(source: NotebookNode) -> bool:
    """Whether a notebook reads the other notebooks' records; it then depends on all of them."""
    return "records" in declared(source)


def fingerprint(job: Job) -> dict[str, Any]:
    """What the job's result depends on besides its parameters.

    Digests of its code (`cells`), and of the modules of this clone that they import and that can
    change a number (`modules`); `numerics`, the library's number of that name; and for a notebook
    that summarises, the claims and the records, and whether those are fresh (`inputs`).
    """
    cells = [
        TransformerManager().transform_cell(cell.source)
        for cell in job.source.cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    ]
    names = [name for cell in cells for name in imports(cell)]
    inputs = _inputs(job.profile) if summarises(job.source) else {}
    return {
        "cells": digest([bare(cell) for cell in cells]),
        "modules": modules(job.profile.code, names),
        "numerics": {"odenet.NUMERICS": odenet.NUMERICS},
        "inputs": {name: digest(value) for name, value in inputs.items()},
    }


def _inputs(profile: Profile) -> dict[str, object]:
    inputs: dict[str, object] = {"claims": profile.claims.read_text(encoding="utf-8")}
    for job in plan(profile):
        if not summarises(job.source):
            kept = job.record.read_bytes().hex() if job.record.is_file() else None
            inputs[job.stem] = [kept, *job.standing()]
    return inputs


def changes(job: Job, kept: Mapping[str, Any]) -> list[str]:
    """What is different since the record `kept` was made; empty if its result still stands."""
    then, now = kept["fingerprint"], fingerprint(job)
    found = ["cells"] if then["cells"] != now["cells"] else []
    if job.profile.name != OWN:  # there, each run chooses its own
        old, new = kept["parameters"], job.parameters
        names = [
            f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
            for name in _differing(old, new)
        ]
        found += [f"parameters {', '.join(names)}"] if names else []
    for kind in ("modules", "numerics", "inputs"):
        names = _differing(then.get(kind, {}), now[kind])
        found += [f"{kind} {', '.join(names)}"] if names else []
    return found


def _differing(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The names whose values are not the same in both."""
    names = sorted(then.keys() | now.keys())
    return [name for name in names if then.get(name, ...) != now.get(name, ...)]
