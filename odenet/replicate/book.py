"""A profile's executed chapters, rendered as a book."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

from odenet.replicate.files import write
from odenet.replicate.profiles import EVIDENCE, Profile
from odenet.replicate.record import git, load

STANDING = {
    "paper": "the published evidence",
    "quick": "a short rerun of the whole book",
    "smoke": "a check that everything runs, not a result",
}

GLUED = "application/papermill.record/"  # how glue marks what it keeps

PICTURE = ("05_spirals", "fig-spirals")  # the figure that the README shows


def build(root: Path, profile: str) -> Path:
    """The chapters of `profile` stand rendered at the returned index.html; no older page is left.

    From the evidence comes the README's picture too, book/_static/result.svg. Raises ValueError
    where there is no chapter or one holds an error, RuntimeError if Sphinx warns.
    """
    run = Profile(profile, root)
    chapters = sorted(run.chapters.glob("*.ipynb"))
    _require_sound(chapters, profile)
    if profile == EVIDENCE and (svg := picture(run.chapters)):
        write(root / "book/_static/result.svg", svg)
    source = run.work / "source"
    _stage(root / "book", chapters, source)
    _configure(source / "_config.yml", _banner(run, chapters), _address(root))
    _render(source)
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


def picture(chapters: Path) -> str | None:
    """The SVG of the README's figure as its chapter holds it; None without that chapter."""
    stem, name = PICTURE
    path = chapters / f"{stem}.ipynb"
    cells = nbformat.read(path, as_version=4).cells if path.exists() else []
    for cell in cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == name:
            return cell.outputs[-1].data["image/svg+xml"]
    return None


def _stage(book: Path, chapters: list[Path], source: Path) -> None:
    """`source` holds the book's own pages and exactly these chapters."""
    shutil.rmtree(source, ignore_errors=True)
    others = shutil.ignore_patterns("_build", "chapters", "records", "__pycache__")
    shutil.copytree(book, source, ignore=others)
    (source / "chapters").mkdir()
    for path in chapters:
        shutil.copy(path, source / "chapters")
    if not (judged := source / "chapters/10_verdicts.ipynb").exists():
        nbformat.write(_unjudged([path.stem for path in chapters]), judged)
    toc = yaml.safe_load((source / "_toc.yml").read_text())
    for part in toc["parts"]:
        found = [page for page in part["chapters"] if any(source.glob(page["file"] + ".*"))]
        part["chapters"] = found
    toc["parts"] = [part for part in toc["parts"] if part["chapters"]]
    (source / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))


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


def _banner(run: Profile, chapters: list[Path]) -> str:
    """One line that says which run the reader looks at."""
    records = filter(None, (load(run.records / f"{path.stem}.json") for path in chapters))
    commits = sorted({_commit(record["provenance"]) for record in records}) or ["unknown"]
    standing = STANDING.get(run.name, "a rerun with other parameters")
    return f"Profile <strong>{run.name}</strong>: {standing}. Commit {', '.join(commits)}."


def _commit(provenance: dict) -> str:
    changes = " with changes" if provenance["dirty"] else ""
    return (provenance["commit"] or "unknown")[:8] + changes


def _address(root: Path) -> str | None:
    """The repository's page on GitHub, where the git remote names one."""
    remote = git(root, "remote", "get-url", "origin") or ""
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", remote)
    return f"https://github.com/{found[1]}" if found else None


def _configure(path: Path, banner: str, address: str | None) -> None:
    config = yaml.safe_load(path.read_text())
    config["html"]["announcement"] = banner
    if address:
        config["html"] |= {"use_repository_button": True, "use_issues_button": True}
        config["repository"] = {"url": address, "path_to_book": "book", "branch": "main"}
        config["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        }
    path.write_text(yaml.safe_dump(config, sort_keys=False))


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
