"""A profile's executed chapters, rendered as a book."""

import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import nbformat
import yaml

from odenet.replicate.files import write
from odenet.replicate.profiles import Profile
from odenet.replicate.record import load
from odenet.replicate.repository import Repository, repository

STANDING = {
    "paper": "the published evidence",
    "quick": "a short rerun of the whole book",
    "smoke": "a check that everything runs, not a result",
}


def build(root: Path, profile: str) -> Path:
    """The chapters of `profile` stand rendered at the returned index.html; no older page is left.

    Raises ValueError where there is no chapter or one holds an error, RuntimeError if Sphinx warns.
    """
    run = Profile(profile, root)
    chapters = sorted(run.chapters.glob("*.ipynb"))
    _require_sound(chapters, profile)
    source = run.work / "source"
    clone, stems = repository(root), [path.stem for path in chapters]
    _stage(root / "book", chapters, source)
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


def _stage(book: Path, chapters: list[Path], source: Path) -> None:
    """`source` holds the book's own pages and exactly these chapters."""
    shutil.rmtree(source, ignore_errors=True)
    others = shutil.ignore_patterns("_build", "chapters", "records", "__pycache__")
    shutil.copytree(book, source, ignore=others)
    (source / "chapters").mkdir()
    for path in chapters:
        shutil.copy(path, source / "chapters")
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    toc["chapters"] = [page for page in toc["chapters"] if any(source.glob(page["file"] + ".*"))]
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))
    if not (source / "chapters/10_verdicts.ipynb").exists():
        (source / "_summary.md").write_text("The claims were not judged in this run.\n")


def _banner(profile: str, records: list[Path]) -> str:
    """One line that says which run the reader looks at."""
    found = filter(None, map(load, records))
    commits = sorted({_commit(record["provenance"]) for record in found}) or ["unknown"]
    standing = STANDING.get(profile, "a rerun with other parameters")
    return f"Profile <strong>{profile}</strong>: {standing}. Commit {', '.join(commits)}."


def _commit(provenance: dict) -> str:
    changes = " with changes" if provenance["dirty"] else ""
    return (provenance["commit"] or "unknown")[:8] + changes


def _colab(clone: Repository, stems: list[str]) -> str:
    """How to open the notebooks `stems` in Colab, for the page that includes _colab.md.

    There a notebook arrives alone, without the package and without environment.yml, so that a
    button straight to it would lead to a failing first cell.
    """
    name = (clone.address or "").removeprefix("https://github.com/")
    there = f"https://colab.research.google.com/github/{name}"
    links = [
        f"[{stem}]({there}/blob/{clone.branch}/notebooks/{stem}.ipynb)"
        for stem in stems
        if stem != "10_verdicts"  # reads the records of a clone
    ]
    return (
        "(colab)=\nIn Colab, a notebook opens without the rest of the repository. Insert this as "
        "its first cell and run it; what else Colab has installed keeps Colab's versions.\n\n"
        f'```python\n%pip install -q "odenet[replicate] @ git+{clone.address}@{clone.branch}"\n'
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
    """`site` holds, beside its pages, the numbers and claims shown, citation and licence."""
    for path in (root / "book/claims.yml", root / "CITATION.cff"):
        shutil.copy(path, site)
    shutil.copy(root / "LICENSE", site / "LICENSE.txt")  # so that a browser shows it
    (site / "records").mkdir()
    for path in records:
        shutil.copy(path, site / "records")


def _render(source: Path) -> None:
    """Sphinx's warnings are errors; when there are any, all of them are told."""
    program = Path(sys.executable).with_name("jupyter-book")
    run = subprocess.run(
        [program, "build", source, "-q", "-W", "--keep-going", "-n"],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if run.returncode:
        raise RuntimeError(f"jupyter-book could not render {source} without warnings\n{run.stdout}")
