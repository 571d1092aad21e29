"""The rendered book as one PDF: each page as Chromium prints it, with the links between them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, NameObject

if TYPE_CHECKING:
    from playwright.sync_api import Page, PdfMargins

HOST = "http://book.test"  # no page is asked for there: the files of the site answer
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TYPESET = "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"
MARGINS: "PdfMargins" = {"top": "16mm", "bottom": "16mm", "left": "16mm", "right": "16mm"}


def print_site(site: Path, toc: Path, target: Path) -> None:
    """`target` holds the pages of `site` in the order of its table of contents `toc`.

    Raises RuntimeError where there is no browser to print them.
    """
    names = _order(toc)
    with _tab(site) as tab:
        printed = {f"/{name}.html": _printed(tab, name) for name in names}
    book = PdfWriter()
    first: dict[str, int] = {}  # page of the book at which each page of the site begins
    for path, (title, content) in printed.items():
        first[path] = len(book.pages)
        book.append(BytesIO(content), outline_item=title)
    _join(book, first)
    book.add_metadata({"/Title": printed[f"/{names[0]}.html"][0]})
    book.compress_identical_objects()
    book.write(target)


def _order(toc: Path) -> list[str]:
    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    pages = [page["file"] for part in content["parts"] for page in part["chapters"]]
    return [content["root"], *pages]


@contextmanager
def _tab(site: Path) -> Iterator["Page"]:
    """A tab of a browser that sees nothing but the files of `site`."""
    from playwright.sync_api import sync_playwright  # no other command needs it

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not program or not Path(program).is_file():
        raise RuntimeError(
            "a PDF is printed by Chromium, and there is none: install it, or say where it is, such "
            "as CHROMIUM=/usr/bin/google-chrome"
        )

    def answer(route):
        url = urlsplit(route.request.url)
        path = site / unquote(url.path).lstrip("/")
        if f"{url.scheme}://{url.netloc}" == HOST and path.is_file():
            return route.fulfill(path=path)
        return route.abort()

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        tab = browser.new_page(color_scheme="light", reduced_motion="reduce")
        tab.route("**/*", answer)
        yield tab
        browser.close()


def _printed(tab: "Page", name: str) -> tuple[str, bytes]:
    """The title of a page, and its PDF."""
    tab.goto(f"{HOST}/{name}.html")
    tab.evaluate(TYPESET)
    title = tab.locator("article h1").first.inner_text().rstrip("#").strip()
    return title, tab.pdf(format="A4", margin=MARGINS, print_background=True, outline=False)


def _join(book: PdfWriter, first: Mapping[str, int]) -> None:
    """Links from one page of the site to another lead to its first page in `book`."""
    for page in book.pages:
        for reference in page.get("/Annots") or []:
            link = reference.get_object()
            address = urlsplit(link.get("/A", {}).get("/URI", ""))
            if f"{address.scheme}://{address.netloc}" == HOST:
                del link["/A"]
                if address.path in first:
                    place = book.pages[first[address.path]].indirect_reference
                    link[NameObject("/Dest")] = ArrayObject([place, NameObject("/Fit")])
