"""The rendered book: complete, honest about its origin, whole in a browser, and offline."""

import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from nbformat import NotebookNode, v4, write
from playwright.sync_api import sync_playwright

from odenet.replicate import book

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
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
    v4.new_markdown_cell(
        "# MNIST\n\nThe claim {cite:p}`chen2018neural`, {numref}`fig-depth`, and $$h' = f(h, t)$$"
    ),
    shows(
        {"image/svg+xml": PLOT},
        mystnb={
            "figure": {"caption": "Trajectories.", "name": "fig-depth"},
            "image": {"alt": "Trajectories", "classes": "dark-light"},
        },
    ),
    shows({"text/markdown": "| model | error |\n| :-- | --: |\n| ODE-Net | 0.42 |"}),
    v4.new_markdown_cell("## Provenance\n\n| what | value |\n| -- | -- |\n| seed | 0 |"),
)
VERDICTS = executed(
    v4.new_markdown_cell("# Verdicts"),
    glued("verdict_counts", "text/plain", "'1 supported, 2 not run'"),
    glued(
        "verdict_table", "text/html", '<table class="dataframe"><tr><td>Parity</td></tr></table>'
    ),
)
FAILED = executed(v4.new_code_cell("1 / 0", outputs=[v4.new_output("error", ename="E", evalue="")]))


def checkout(root: Path, **chapters) -> Path:
    """A clone at `root` whose smoke run left these chapters."""
    ignore = shutil.ignore_patterns("_build", "chapters", "records")
    shutil.copytree(ROOT / "book", root / "book", ignore=ignore)
    (root / "notebooks/profiles").mkdir(parents=True)
    for kind in ("chapters", "records"):
        (root / "book/_build/smoke" / kind).mkdir(parents=True)
    for stem, notebook in chapters.items():
        write(notebook, root / f"book/_build/smoke/chapters/{stem[1:]}.ipynb")
        record = {"provenance": {"commit": "0123456789", "dirty": True}}
        (root / f"book/_build/smoke/records/{stem[1:]}.json").write_text(json.dumps(record))
    return root


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A small book, built in a clone from GitHub."""
    root = checkout(tmp_path_factory.mktemp("clone"), _03_mnist=MNIST, _10_verdicts=VERDICTS)
    subprocess.run(["git", "init", "-q", root], check=True)
    remote = ["git", "-C", root, "remote", "add", "origin", "git@github.com:someone/odes.git"]
    subprocess.run(remote, check=True)
    return book.build(root, "smoke").parent


@pytest.fixture(scope="module")
def site(request) -> Path:
    """The book named by ODENET_SITE, or else the small one."""
    given = os.environ.get("ODENET_SITE")
    return ROOT / given if given else request.getfixturevalue("built")


def test_start_page_names_the_run_and_shows_its_verdicts(built):
    page = (built / "index.html").read_text()
    assert "<strong>smoke</strong>" in page and "01234567 with changes" in page
    assert "1 supported, 2 not run" in page and "<td>Parity</td>" in page


def test_contents_list_the_chapters_that_exist(built):
    links = {link for _, link in Page(built / "index.html").links}
    assert {"chapters/03_mnist.html", "chapters/10_verdicts.html"} <= links
    assert not any("05_spirals" in link for link in links)


def test_markdown_tables_are_tables(built):
    page = (built / "chapters/03_mnist.html").read_text()
    assert page.count("<table") == 2 and "| ODE-Net" not in page


def test_buttons_open_the_source_notebook_in_the_repository(built):
    links = [link for _, link in Page(built / "chapters/03_mnist.html").links]
    assert (
        "https://colab.research.google.com/github/someone/odes/blob/main/notebooks/03_mnist.ipynb"
        in links
    )
    assert any(
        link.startswith("https://mybinder.org/v2/gh/someone/odes/main?urlpath=lab/tree/notebooks/")
        for link in links
    )
    assert not any("book/chapters" in link for link in links if link.startswith("http"))


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://token@github.com/someone/odes.git", "https://github.com/someone/odes"),
        ("https://github.com/someone/odes/", "https://github.com/someone/odes"),
        ("/home/someone/odes", None),
    ],
)
def test_address_is_a_web_page_or_nothing(tmp_path, remote, address):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
    assert book._address(tmp_path) == address


def test_a_run_without_chapters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'smoke' has no executed chapter"):
        book.build(checkout(tmp_path), "smoke")


def test_a_chapter_with_an_error_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"error among their outputs: 04_nfe\.ipynb"):
        book.build(checkout(tmp_path, _03_mnist=MNIST, _04_nfe=FAILED), "smoke")


def test_a_warning_is_an_error_even_without_verdicts(tmp_path):
    missing = executed(v4.new_markdown_cell("# Title\n\n{cite:p}`nobody1900nothing`"))
    with pytest.raises(RuntimeError, match="nobody1900nothing") as error:
        book.build(checkout(tmp_path, _03_mnist=missing), "smoke")
    assert str(error.value).count("WARNING") == 1


class Page(HTMLParser):
    """A page's ids, and its references as (tag, address)."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        self.links += [(tag, values[key]) for key in ("href", "src") if values.get(key)]


def pages(site: Path) -> list[str]:
    return sorted(
        str(p.relative_to(site)) for p in site.rglob("*.html") if "_static" not in p.parts
    )


def test_site_has_no_broken_internal_link(site):
    parsed = {site / name: Page(site / name) for name in pages(site)}
    broken = []
    for path, page in parsed.items():
        for _, link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = parsed[target].ids if target in parsed else {url.fragment}
            if not target.is_file() or url.fragment and url.fragment not in anchors:
                broken.append(f"{path.name}: {link}")
    assert not broken


@pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"no Chromium at {CHROMIUM} ($CHROMIUM)")
@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (390, "dark")])
def test_site_is_whole_in_a_browser_and_asks_no_other_host(site, width, scheme):
    problems = []

    def answer(route):
        url = urlsplit(route.request.url)
        path = site / unquote(url.path).lstrip("/")
        if url.hostname == "book.test" and path.is_file():
            return route.fulfill(path=path)
        problems.append(f"request: {route.request.url}")
        return route.abort()

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        view = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        tab = browser.new_context(**view).new_page()
        tab.route("**/*", answer)
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        for name in pages(site):
            tab.goto(f"http://book.test/{name}", wait_until="networkidle")
            if tab.evaluate("document.documentElement.scrollWidth") > width:
                problems.append(f"{name} scrolls sideways")
        browser.close()
    assert not problems


def test_the_picture_of_the_readme_is_the_published_figure():
    kept = ROOT / "book/_static/result.svg"
    assert str(kept.relative_to(ROOT)) in (ROOT / "README.md").read_text()
    assert kept.read_text() == book.picture(ROOT / "book/chapters")
