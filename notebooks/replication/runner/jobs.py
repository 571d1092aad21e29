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
from replication.runner import record
from replication.runner.files import digest
from replication.runner.parameters import checked, declared
from replication.runner.profiles import EVIDENCE, OWN, Profile, choose
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
        """`fresh`, `stale` or `missing`, and the reasons why it is not fresh."""
        try:
            kept = self.kept()
        except ValueError:
            return "stale", ["record or chapter damaged"]
        if kept is None:
            return "missing", ["no result yet"]
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


def fingerprint(job: Job) -> dict[str, object]:
    """What the job's result depends on, by name: each of its parameters, and digests.

    Of its code (`cells`), of the modules of this clone that they import and that can change a
    number, of the claims and the records for a notebook that summarises; and `odenet.NUMERICS`.
    """
    cells = [
        TransformerManager().transform_cell(cell.source)
        for cell in job.source.cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    ]
    used = modules(job.profile.code, [name for cell in cells for name in imports(cell)])
    return {
        # In a run with parameters of one's own, each run chooses them.
        **{name: value for name, value in job.parameters.items() if job.profile.name != OWN},
        **{f"module {name}": code for name, code in used.items()},
        **(_inputs(job.profile) if summarises(job.source) else {}),
        "cells": digest([bare(cell) for cell in cells]),
        "odenet.NUMERICS": odenet.NUMERICS,
    }


def _inputs(profile: Profile) -> dict[str, str]:
    """What a summary reads: claims, records and whether those are fresh, published ones."""
    published = sorted(Profile(EVIDENCE, profile.root).records.glob("0*.json"))
    inputs = {"claims": digest([path.read_text() for path in (profile.claims, *published)])}
    for job in plan(profile):
        if not summarises(job.source):
            kept = job.record.read_bytes().hex() if job.record.is_file() else None
            inputs[f"record {job.stem}"] = digest([kept, *job.standing()])
    return inputs


def changes(job: Job, kept: Mapping[str, Any]) -> list[str]:
    """What is different since the record `kept` was made; empty if its result still stands."""
    then, now = kept["fingerprint"], fingerprint(job)
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return [
        f"{name}: {then.get(name, 'none')} -> {now.get(name, 'none')}"
        if name in job.parameters
        else name
        for name in names
    ]
