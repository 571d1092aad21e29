"""A profile's executed chapters, rendered as a book."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path

import nbformat
import yaml
from jinja2 import Template
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from replication.runner import start
from replication.runner.files import write
from replication.runner.pdf import print_site
from replication.runner.profiles import EVIDENCE, Profile, checkout
from replication.runner.record import load
from replication.runner.repository import Repository, repository

LINK = re.compile(r"\{doc\}`(?:(?P<words>[^`<]+?)\s*<)?(?:chapters/)?(?P<stem>[^`<>]+)>?`")
GLUED = re.compile(r"(?:```\{glue\}|\{glue:text\}`)[^`]*?(?P<stem>\w+)\.ipynb[^`]*`+")
PDF = "odenet.pdf"


def build(root: Path, profile: str, *, pdf: bool = False) -> Path:
    """The chapters of `profile` stand rendered at the returned index.html; no older page is left.

    With `pdf`, all pages as one file beside it too, to which they link. Raises ValueError where
    there is no chapter or one holds an error, RuntimeError if Sphinx warns or no browser can print.
    """
    run = Profile(profile, root)
    paths = sorted(run.chapters.glob("*.ipynb"))
    chapters = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    _require_sound(chapters, profile)
    clone, source = repository(root), run.work / "source"
    records = [path for stem in chapters if (path := run.records / f"{stem}.json").is_file()]
    _stage(root / "book", chapters, source, absent=set(run.stems) - set(chapters))
    colab = Template((source / "_colab.md").read_text(encoding="utf-8"))
    write(source / "_colab.md", colab.render(clone=clone, stems=chapters))
    start.fill(source / "_start.md", chapters)
    files = {"records": [f"records/{path.name}" for path in records], "pdf": PDF if pdf else None}
    found = [record for record in map(load, records) if record]
    foot = {"clone": asdict(clone), **files, "run": _origin(run.name, found)}
    _configure(source / "_config.yml", _banner(run.name), clone, foot)
    _render(source)
    site = source / "_build/html"
    _attach(root, records, site)
    if pdf:
        print_site(site, source / "_toc.yml", site / PDF)
    shutil.rmtree(run.html.parent, ignore_errors=True)
    site.rename(run.html.parent)
    return run.html


def _require_sound(chapters: Mapping[str, NotebookNode], profile: str) -> None:
    if not chapters:
        raise ValueError(f"profile {profile!r} has no executed chapter to render: run it first")
    failed = [
        stem
        for stem, chapter in chapters.items()
        for cell in chapter.cells
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]
    if failed:
        raise ValueError(f"chapters with an error among their outputs: {', '.join(failed)}")


def _stage(
    book: Path, chapters: Mapping[str, NotebookNode], source: Path, absent: Set[str]
) -> None:
    """`source` holds the book's own pages and exactly these chapters.

    Where they would link to one that is `absent`, they name it.
    """
    shutil.rmtree(source, ignore_errors=True)
    others = shutil.ignore_patterns("_build", "chapters", "records", "trials", "__pycache__")
    shutil.copytree(book, source, ignore=others)
    shutil.copy(book.parent / "CHANGELOG.md", source / "changelog.md")
    for page in source.glob("*.md"):
        write(page, _unlinked(page.read_text(encoding="utf-8"), absent))
    for stem, chapter in chapters.items():
        _put_parameters_last(chapter)
        for cell in chapter.cells:
            if cell.cell_type == "markdown":
                cell.source = _unlinked(cell.source, absent)
        write(source / f"chapters/{stem}.ipynb", nbformat.writes(chapter))
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    for part in toc["parts"]:
        pages = [page for page in part["chapters"] if any(source.glob(page["file"] + ".*"))]
        part["chapters"] = pages
    write(source / "_toc.yml", yaml.safe_dump(toc, sort_keys=False))


def _put_parameters_last(chapter: NotebookNode) -> None:
    """Papermill wants them at the top, where they would stand between a reader and the idea."""
    tagged = {"parameters", "injected-parameters"}
    boxes = [cell for cell in chapter.cells if tagged & set(cell.metadata.get("tags", []))]
    if boxes:
        others = [cell for cell in chapter.cells if cell not in boxes]
        chapter.cells = [*others, new_markdown_cell("## The parameters of this copy"), *boxes]


def _unlinked(text: str, absent: Set[str]) -> str:
    """Of a link to a chapter that is `absent`, its words are left, or else the chapter's name.

    What it would have shown elsewhere, a number or the verdicts, is said to be missing.
    """

    def words(link: re.Match[str]) -> str:
        return (link["words"] or f"`{link['stem']}`") if link["stem"] in absent else link[0]

    def missed(glued: re.Match[str]) -> str:
        if glued["stem"] not in absent:
            return glued[0]
        number = glued[0].startswith("{")
        return "(not run here)" if number else "The claims were not judged in this run."

    return GLUED.sub(missed, LINK.sub(words, text))


def _banner(profile: str) -> str:
    """The line over each page of a book that a reader must not take for the evidence."""
    if profile == EVIDENCE:
        return ""
    return f"A rerun, profile <strong>{profile}</strong>: not the published evidence."


def _origin(profile: str, records: Sequence[Mapping]) -> str:
    """Which run the book shows, for the foot of each page."""
    commits = sorted({_commit(record["provenance"]) for record in records}) or ["unknown"]
    run = "The published run" if profile == EVIDENCE else f"A rerun, profile {profile}"
    return f"{run}, commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}"


def _commit(provenance: Mapping) -> str:
    commit = provenance.get("code_commit") or "unknown"
    return commit[:8] + (" with changes" if provenance["dirty"] else "")


def _configure(path: Path, banner: str, clone: Repository, foot: Mapping) -> None:
    config = yaml.safe_load(path.read_text())
    config["html"]["announcement"] = banner
    config["sphinx"]["config"]["html_context"] |= foot
    if clone.address:
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
        place = {"url": clone.address, "path_to_book": "book", "branch": clone.branch}
        # Binder takes the whole repository and its environment.yml; for Colab see _colab.md.
        binder = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
        config |= {"repository": place, "launch_buttons": binder}
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _attach(root: Path, records: list[Path], site: Path) -> None:
    """`site` holds, beside its pages, the numbers and claims that they show, and the citation."""
    (site / "records").mkdir()
    shutil.copy(root / "LICENSE", site / "LICENSE.txt")  # so that a browser shows it
    attached = {root / "book/claims.yml": site, root / "CITATION.cff": site}
    for path, place in (attached | dict.fromkeys(records, site / "records")).items():
        shutil.copy(path, place)


def _render(source: Path) -> None:
    """Sphinx's warnings are errors; when there are any, all of them are told."""
    program = Path(sys.executable).with_name("jupyter-book")
    here = str(checkout() / "notebooks")  # so that the page on the API can import `replication`
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [program, "build", source, "-q", "-W", "--keep-going", "-n"],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if run.returncode:
        raise RuntimeError(f"jupyter-book could not render {source} without warnings\n{run.stdout}")
