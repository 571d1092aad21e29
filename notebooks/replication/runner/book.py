"""A profile's executed chapters, rendered as a book."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import nbformat
import yaml

from replication.runner import first_edition
from replication.runner.files import write
from replication.runner.profiles import Profile, checkout
from replication.runner.record import load
from replication.runner.repository import Repository, repository

STANDING = {
    "paper": "the published evidence",
    "quick": "a short rerun of the whole book",
    "smoke": "a check that everything runs, not a result",
}

VERDICTS = "10_verdicts"  # the one notebook that reads what the others left
LINK = re.compile(r"\{doc\}`(?:(?P<words>[^`<]+?)\s*<)?(?P<stem>[^`<>]+)>?`")
GLUED = "application/papermill.record/"  # how glue marks what it keeps


def build(root: Path, profile: str) -> Path:
    """The chapters of `profile` stand rendered at the returned index.html; no older page is left.

    Raises ValueError where there is no chapter or one holds an error, RuntimeError if Sphinx warns.
    """
    run = Profile(profile, root)
    chapters = sorted(run.chapters.glob("*.ipynb"))
    _require_sound(chapters, profile)
    source = run.work / "source"
    clone, stems = repository(root), [path.stem for path in chapters]
    _stage(root / "book", chapters, source, absent=set(run.stems) - set(stems))
    if clone.address:
        write(source / "_colab.md", _colab(clone, stems))
    records = [path for stem in stems if (path := run.records / f"{stem}.json").is_file()]
    _configure(source / "_config.yml", _banner(run.name, records), clone, records)
    _render(source)
    _attach(root, records, source / "_build/html")
    shutil.rmtree(run.html.parent, ignore_errors=True)
    (source / "_build/html").rename(run.html.parent)
    return run.html


def _require_sound(chapters: list[Path], profile: str) -> None:
    if not chapters:
        raise ValueError(f"profile {profile!r} has no executed chapter to render: run it first")
    failed = [path.name for path in chapters if _holds_error(path)]
    if failed:
        raise ValueError(f"chapters with an error among their outputs: {', '.join(failed)}")


def _holds_error(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any(out.output_type == "error" for cell in cells for out in cell.get("outputs", []))


def _stage(book: Path, chapters: list[Path], source: Path, absent: set[str]) -> None:
    """`source` holds the book's own pages and exactly these chapters.

    Where they would link to one that is `absent`, they name it.
    """
    shutil.rmtree(source, ignore_errors=True)
    others = shutil.ignore_patterns("_build", "chapters", "records", "__pycache__")
    shutil.copytree(book, source, ignore=others)
    (source / "chapters").mkdir()
    pages = {path: path for path in source.glob("*.md")}
    for path in [*pages, *chapters]:
        text = _unlinked(path.read_text(encoding="utf-8"), absent - {VERDICTS})
        write(pages.get(path, source / "chapters" / path.name), text)
    if not (judged := source / f"chapters/{VERDICTS}.ipynb").exists():
        nbformat.write(_unjudged([path.stem for path in chapters]), judged)
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    for part in toc["parts"]:
        found = [page for page in part["chapters"] if any(source.glob(page["file"] + ".*"))]
        part["chapters"] = found
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))


def _unlinked(text: str, absent: set[str]) -> str:
    """Of a link to a chapter that is `absent`, its words are left, or else the chapter's name."""

    def words(link: re.Match[str]) -> str:
        stem = link["stem"].removeprefix("chapters/")
        return (link["words"] or f"`{stem}`") if stem in absent else link[0]

    return LINK.sub(words, text)


def _unjudged(stems: list[str]) -> nbformat.NotebookNode:
    """Stands for the verdicts in a run without them: other pages link to it and show its parts."""
    words = "The claims were not judged in this run."
    shown = {"verdict_counts": repr(words), "verdict_table": ""}
    shown |= {f"verdicts_{stem}": f"<p>{words}</p>" for stem in stems}
    cell = nbformat.v4.new_code_cell(metadata={"tags": ["remove-cell"]})
    for name, text in shown.items():
        kind = "text/plain" if name == "verdict_counts" else "text/html"
        glued = {"scrapbook": {"name": name, "mime_prefix": GLUED}}
        output = nbformat.v4.new_output("display_data", {GLUED + kind: text}, metadata=glued)
        cell.outputs.append(output)
    page = nbformat.v4.new_markdown_cell(f"# What holds\n\n{words}")
    kernel = {"name": "python3", "display_name": "Python 3"}
    return nbformat.v4.new_notebook(cells=[page, cell], metadata={"kernelspec": kernel})


def _banner(profile: str, records: list[Path]) -> str:
    """One line that says which run the reader looks at."""
    found = [record for record in map(load, records) if record]
    commits = ", ".join(sorted({_commit(record["provenance"]) for record in found}) or ["unknown"])
    standing = STANDING.get(profile, "a rerun with other parameters")
    line = f"Profile <strong>{profile}</strong>: {standing}. Commit {commits}."
    return first_edition.banner(found, commits) or line


def _commit(provenance: dict) -> str:
    changes = " with changes" if provenance["dirty"] else ""
    return (provenance["commit"] or "unknown")[:8] + changes


def _colab(clone: Repository, stems: list[str]) -> str:
    """How to open the notebooks `stems` in Colab, for the page that includes _colab.md.

    There a notebook arrives alone, without the rest of the clone and without environment.yml, so
    that a button straight to it would lead to a failing first cell.
    """
    name = (clone.address or "").removeprefix("https://github.com/")
    folder = name.rpartition("/")[2]
    there = f"https://colab.research.google.com/github/{name}"
    links = [
        f"[{stem}]({there}/blob/{clone.branch}/notebooks/{stem}.ipynb)"
        for stem in stems
        if stem != VERDICTS
    ]
    return (
        "(colab)=\nIn Colab, a notebook opens without the rest of the repository. Insert this as "
        "its first cell and run it; what else Colab has installed keeps Colab's versions.\n\n"
        f"```ipython3\n!git clone -q --depth 1 --branch {clone.branch} {clone.address}\n"
        f'%cd {folder}/notebooks\n%pip install -q "..[replicate]"\n'
        f"```\n\nOpen there: {', '.join(links)}.\n"
    )


def _configure(path: Path, banner: str, clone: Repository, records: list[Path]) -> None:
    config = yaml.safe_load(path.read_text())
    config["html"]["announcement"] = banner
    files = [f"records/{path.name}" for path in records]
    config["sphinx"]["config"]["html_context"] |= {"clone": asdict(clone), "records": files}
    if clone.address:
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
        place = {"url": clone.address, "path_to_book": "book", "branch": clone.branch}
        config["repository"] = place
        # Binder takes the whole repository and its environment.yml; for Colab see _colab.
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
        }
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _attach(root: Path, records: list[Path], site: Path) -> None:
    """`site` holds, beside its pages, the numbers and claims that they show, and the citation."""
    for path in (root / "book/claims.yml", root / "CITATION.cff"):
        shutil.copy(path, site)
    shutil.copy(root / "LICENSE", site / "LICENSE.txt")  # so that a browser shows it
    (site / "records").mkdir()
    for path in records:
        shutil.copy(path, site / "records")


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
