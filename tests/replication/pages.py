"""The pages of a rendered site as files: their ids and references, and what is broken."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """A page's ids, its meta tags, and its references as (tag, address)."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.metas: dict[str, str] = {}
        self.links: list[tuple[str, str]] = []
        text = path.read_text()
        self.feed(text)
        self.links += [("css", address) for address in named_in_css(text)]

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        if tag == "meta" and "name" in values:
            self.metas[values["name"]] = values.get("content")
        self.links += [(tag, values[key]) for key in ("href", "src") if values.get(key)]


def named_in_css(text: str) -> list[str]:
    return [found.strip("\"' ") for found in re.findall(r"\burl\(([^)]+)\)", text)]


def names(site: Path) -> list[str]:
    """The pages of `site`, by path."""
    found = (path.relative_to(site) for path in site.rglob("*.html"))
    return sorted(str(path) for path in found if "_static" not in path.parts)


def broken(site: Path) -> list[str]:
    """The references inside `site` that lead nowhere, those in its style sheets included."""
    pages = {(site / name).resolve(): Page(site / name) for name in names(site)}
    references = [(path, link) for path, page in pages.items() for _, link in page.links]
    sheets = site.resolve().rglob("*.css")
    references += [(path, link) for path in sheets for link in named_in_css(path.read_text())]
    return [
        f"{path.relative_to(site.resolve())}: {link}"
        for path, link in references
        if not _leads_somewhere(path, link, pages)
    ]


def _leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return True  # out of the site, or no file
    target = (path.parent / unquote(url.path)).resolve() if url.path else path
    anchors = pages[target].ids if target in pages else {url.fragment}
    return target.is_file() and (not url.fragment or unquote(url.fragment) in anchors)
