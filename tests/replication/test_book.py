"""The making of the book: complete, honest about its origin, refused where something is wrong."""

import re
import subprocess
import tomllib
from pathlib import Path

import pages
import pytest
from nbformat import NotebookNode, v4
from pages import Page
from toy_book import ROOT, checkout

from replication import readme
from replication.runner import book
from replication.runner.repository import repository

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

PLOT = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 9L9 0"/></svg>'


def executed(*cells) -> NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def shows(data: dict, **metadata) -> NotebookNode:
    output = v4.new_output("display_data", data, metadata=metadata.pop("output", {}))
    return v4.new_code_cell("show()", outputs=[output], metadata=metadata)


def glued(name: str, mime: str, value: str) -> NotebookNode:
    """What `myst_nb.glue(name, value, display=False)` leaves in an executed notebook."""
    prefix = "application/papermill.record/"
    return shows(
        {prefix + mime: value}, output={"scrapbook": {"name": name, "mime_prefix": prefix}}
    )


MNIST = executed(
    v4.new_code_cell("epochs = 1", metadata={"tags": ["parameters"]}),
    v4.new_code_cell("epochs = 4", metadata={"tags": ["injected-parameters"]}),
    v4.new_markdown_cell(
        "# MNIST\n\nThe claim {cite:p}`chen2018neural`, {numref}`fig-errors`, and $$h' = f(h, t)$$."
        "\n\nSee {doc}`06_flows`, {doc}`flows <06_flows>` and {doc}`the end <10_verdicts>`."
        "\n\n```{glue} verdicts_03_mnist\n:doc: 10_verdicts.ipynb\n```"
    ),
    shows(
        {"image/svg+xml": PLOT},
        mystnb={
            "figure": {"caption": "Trajectories.", "name": "fig-errors"},
            "image": {"alt": "Trajectories", "classes": "dark-light"},
        },
    ),
    shows({"text/markdown": "| model | error |\n| :-- | --: |\n| ODE-Net | 0.42 |"}),
)
VERDICTS = executed(
    v4.new_markdown_cell("# Verdicts"),
    glued("verdict_counts", "text/plain", "'1 supported, 2 not run'"),
    glued("verdict_table", "text/html", "<table><tr><td>Parity</td></tr></table>"),
    glued("card_C3", "text/html", "<p>Hardly more errors</p>"),
    glued("verdicts_03_mnist", "text/html", "<table><tr><td>Digits</td></tr></table>"),
)
FAILED = executed(v4.new_code_cell("1 / 0", outputs=[v4.new_output("error", ename="E", evalue="")]))


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", root, "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.check_output(command, text=True).strip()


@pytest.fixture(autouse=True, scope="module")
def elsewhere():
    """These tests run in no workflow on GitHub, even where they do."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("SERVER_URL", "REPOSITORY", "REF_NAME"):
            environment.delenv(f"GITHUB_{name}", raising=False)
        yield


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone from GitHub, with one commit."""
    root = checkout(tmp_path_factory.mktemp("clone"), _03_mnist=MNIST, _10_verdicts=VERDICTS)
    git(root, "init", "-q", "-b", "main")
    git(root, "remote", "add", "origin", "git@github.com:someone/odes.git")
    (root / ".gitignore").write_text("_build/\n__pycache__/\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "All")
    with (root / "book/references.md").open("a") as page:
        page.write("\nA change that is not committed.\n")
    return root


@pytest.fixture(scope="module")
def built(clone) -> Path:
    old = clone / "book/_build/smoke/html/old.html"
    old.parent.mkdir()
    old.touch()
    return book.build(clone, "smoke").parent


@pytest.mark.slow
def test_a_book_names_its_run_and_shows_its_chapters_and_their_verdicts(built):
    start = (built / "index.html").read_text()
    assert "A rerun, profile <strong>smoke</strong>: not the published evidence." in start
    assert "<p>A rerun, profile smoke, commit 01234567 with changes.</p>" in start
    assert "1 supported, 2 not run" in start and "<td>Parity</td>" in start
    page = (built / "chapters/03_mnist.html").read_text()
    assert page.count("<table") == 2 and "| ODE-Net" not in page and "<td>Digits</td>" in page
    links = {link for _, link in Page(built / "index.html").links}
    assert {"chapters/03_mnist.html#fig-errors", "chapters/10_verdicts.html"} <= links
    assert start.count("<p>Hardly more errors</p>") == 1 and start.count('alt="Trajectories"') == 1
    assert not (built / "old.html").exists()


@pytest.mark.slow
def test_the_parameters_of_a_chapter_stand_last_in_their_order(built):
    text = re.sub(r"<[^>]+>", "", (built / "chapters/03_mnist.html").read_text())
    places = [text.rindex(mark) for mark in ("See 06_flows", "0.42", "epochs = 1", "epochs = 4")]
    assert places == sorted(places) and "The parameters of this copy" in text


@pytest.mark.slow
def test_a_chapter_that_does_not_exist_is_named_and_not_linked(built):
    page = (built / "chapters/03_mnist.html").read_text()
    assert (
        'See <code class="docutils literal notranslate"><span class="pre">06_flows</span>' in page
    )
    assert "10_verdicts.html" in {link for _, link in Page(built / "chapters/03_mnist.html").links}
    assert pages.broken(built) == []


@pytest.mark.slow
def test_buttons_lead_to_the_source_notebook_and_to_what_colab_needs(built):
    links = [link for _, link in Page(built / "chapters/03_mnist.html").links]
    binder = (
        "https://mybinder.org/v2/gh/someone/odes/main?urlpath=lab/tree/notebooks/03_mnist.ipynb"
    )
    assert binder in links
    assert "../rerun.html#colab" in links
    assert not any("book/chapters" in link for link in links if link.startswith("http"))
    page = (built / "rerun.html").read_text()
    colab = "https://colab.research.google.com/github/someone/odes/blob/main/notebooks/"
    assert f"{colab}03_mnist.ipynb" in page and f"{colab}10_verdicts" not in page
    words = re.sub(r"<[^>]+>", "", page)
    assert "git clone -q --depth 1 --branch main https://github.com/someone/odes\n" in words
    assert "%cd odes/notebooks" in words


@pytest.mark.slow
def test_each_page_states_version_commit_and_date(built, clone):
    for name in ("index.html", "chapters/03_mnist.html", "search.html"):
        page = Page(built / name)
        commit, date = git(clone, "show", "-s", "--format=%H %cs").split()
        assert page.metas["commit"] == f"{commit} with changes"
        assert (page.metas["date"], page.metas["version"]) == (date, VERSION)
        assert ("a", f"https://github.com/someone/odes/commit/{commit}") in page.links


@pytest.mark.slow
def test_what_the_site_was_made_from_can_be_downloaded(built, clone):
    for file, source in {
        "records/03_mnist.json": "book/_build/smoke/records/03_mnist.json",
        "claims.yml": "book/claims.yml",
        "CITATION.cff": "CITATION.cff",
        "LICENSE.txt": "LICENSE",
    }.items():
        assert (built / file).read_text() == (clone / source).read_text()
        assert ("a", f"../{file}") in Page(built / "chapters/03_mnist.html").links


@pytest.mark.slow
def test_without_verdicts_and_address_there_is_a_book_without_their_links(tmp_path):
    built = book.build(checkout(tmp_path, _03_mnist=MNIST), "smoke").parent
    links = Page(built / "chapters/03_mnist.html").links
    there = ("mybinder", "colab", "github.com/someone", "/commit/", "/issues", "10_verdicts")
    assert not [link for _, link in links if any(part in link for part in there)]
    for name in ("index.html", "chapters/03_mnist.html"):
        assert (built / name).read_text().count("The claims were not judged in this run.") == 1
    assert pages.broken(built) == []


def test_a_number_of_a_chapter_that_did_not_run_is_said_to_be_missing():
    told = "It took {glue:text}`03_mnist.ipynb::odenet_nfe:s`."
    assert book._unlinked(told, {"03_mnist"}) == "It took (not run here)."
    assert book._unlinked(told, {"05_spirals"}) == told


@pytest.mark.slow
def test_a_warning_is_an_error(tmp_path):
    missing = executed(v4.new_markdown_cell("# Title\n\n{cite:p}`nobody1900nothing`"))
    with pytest.raises(RuntimeError, match="nobody1900nothing") as error:
        book.build(checkout(tmp_path, _03_mnist=missing), "smoke")
    assert str(error.value).count("WARNING") == 1


def test_a_run_without_chapters_or_with_an_error_in_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'smoke' has no executed chapter"):
        book.build(checkout(tmp_path / "empty"), "smoke")
    with pytest.raises(ValueError, match="error among their outputs: 04_nfe$"):
        book.build(checkout(tmp_path / "failed", _03_mnist=MNIST, _04_nfe=FAILED), "smoke")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://token@github.com/someone/odes.git", "https://github.com/someone/odes"),
        ("https://github.com/someone/odes/", "https://github.com/someone/odes"),
        ("https://example.org/someone/odes", None),
        ("/home/someone/odes", None),
    ],
)
def test_address_is_a_web_page_or_nothing(tmp_path, remote, address):
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", remote)
    found = repository(tmp_path)
    assert (found.address, found.branch, found.commit) == (address, "main", None)


def test_a_workflow_knows_its_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/fork")
    monkeypatch.setenv("GITHUB_REF_NAME", "trunk")
    found = repository(tmp_path)
    assert (found.address, found.branch) == ("https://github.com/someone/fork", "trunk")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.example.org")
    assert repository(tmp_path).address is None


def test_a_readme_without_a_place_is_refused():
    with pytest.raises(ValueError, match="no place between <!-- costs -->"):
        readme.filled("<!-- costs -->\n", "costs", "what they are")


def test_the_readme_shows_the_published_evidence():
    files = readme.shown(ROOT)
    for path, content in files.items():
        assert path.read_text() == content, f"{path.name} is behind the evidence: make readme"
    page = files.pop(ROOT / "README.md")
    assert files and all(str(path.relative_to(ROOT)) in page for path in files)
