"""A rendered site in headless Chromium: what is wrong with its pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from replication.runner.pdf import FLAGS, TYPESET
from replication.runner.pdf import HOST as SITE

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"

# What axe-core must not find. It calls a skipped heading level moderate; here it counts.
SERIOUS = ("serious", "critical")
ALSO = ("heading-order",)
# No preloading: axe would fetch the style sheets again, and some from the wrong folder.
AXE = {"resultTypes": ["violations"], "preload": False}
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}  # all that dark mode can change

DARK = "['dark', undefined].includes(document.documentElement.dataset.theme)"
UNFOLD = "document.querySelectorAll('details').forEach(part => part.open = true)"
SETTLE = (
    "document.getAnimations().forEach(change => change.finish())"  # what fades in is pale at first
)
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"
# An address is what a figure without words of its own gets.
WORDLESS = """[...document.querySelectorAll('article img')].filter(
    image => !image.alt.trim() || image.src.endsWith(image.alt.split('/').pop())
).map(image => image.outerHTML.slice(0, 100))"""


def program() -> str:
    """Where Chromium is; where there is none, the test is skipped."""
    if not Path(CHROMIUM).is_file():
        pytest.skip(
            f"no Chromium at {CHROMIUM} ($CHROMIUM), so the book was not tried in a browser"
        )
    return CHROMIUM


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; where there is none, the test is skipped."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program(), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def tab(browser: Browser, site: Path, width: int, found: list[str]) -> Iterator[Page]:
    """A tab that shows the files of `site` only; what goes wrong is added to `found`."""

    def answer(route):
        url = urlsplit(route.request.url)
        path = site / unquote(url.path).lstrip("/")
        if route.request.url.startswith(SITE) and path.is_file():
            return route.fulfill(path=path)
        found.append(f"{page.url}: asks for {route.request.url}")
        return route.abort()

    context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.route("**/*", answer)
    page.on("console", lambda m: found.append(f"{page.url}: {m.text}") if m.type == "error" else 0)
    page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
    yield page
    context.close()


def visit(page: Page, name: str) -> None:
    """`page` shows the page `name`, its formulas set."""
    page.goto(f"{SITE}/{name}")
    page.evaluate(TYPESET)


def faults(
    browser: Browser, site: Path, names: list[str], width: int, *, axe: bool = True
) -> list[str]:
    """What is wrong with the pages `names` on a screen of this width.

    With `axe`, also what it finds there, light and dark: that hardly depends on the width.
    """
    found: list[str] = []
    with tab(browser, site, width, found) as page:
        for name in names:
            page.emulate_media(color_scheme="light")
            visit(page, name)
            for state in ("", " unfolded"):
                if page.evaluate(SIDEWAYS):
                    found.append(f"{name}{state}: scrolls sideways")
                page.evaluate(UNFOLD)
            page.evaluate(SETTLE)
            found += [f"{name}: no words for {image}" for image in page.evaluate(WORDLESS)]
            if not axe:
                continue
            found += _violations(page, name, AXE)
            page.emulate_media(color_scheme="dark")
            if _stays_light(page):
                found.append(f"{name}: does not turn dark")
            page.evaluate(SETTLE)
            found += _violations(page, f"{name} in the dark", AXE | COLOURS)
    return found


def _stays_light(page: Page) -> bool:
    """The theme follows the system some frames later, or else not at all."""
    try:
        page.wait_for_function(DARK, timeout=5000)
    except TimeoutError:
        return True
    return False


def _violations(page: Page, name: str, options: dict) -> list[str]:
    violations = Axe().run(page, options=options).response["violations"]
    return [
        f"{name}: {violation['id']}: {node['html'][:160]}"
        for violation in violations
        if violation["impact"] in SERIOUS or violation["id"] in ALSO
        for node in violation["nodes"]
    ]
