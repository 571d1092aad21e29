"""The book as its readers meet it: whole, accessible and offline in a browser, and on paper."""

import os
from pathlib import Path

import browser
import pages
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
DESKTOP, PHONE, PAPER = 1366, 390, 673  # CSS pixels; the last is A4 within its margins
UNPRINTED = """.bd-header-announcement, .bd-header-article, .bd-sidebar-primary,
    .bd-sidebar-secondary, .prev-next-footer, .headerlink, .copybtn, .tag_hide-input details,
    .moving-points .controls, .tolerance-slider .controls"""


@pytest.fixture(scope="module")
def site() -> Path:
    """The rendered book in the folder that ODENET_SITE names."""
    given = os.environ.get("ODENET_SITE")
    if not given:
        pytest.skip("no ODENET_SITE: make smoke gives its book, and the workflow the published one")
    return ROOT / given


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as opened:
        yield opened


def test_no_reference_inside_the_site_is_broken(site):
    assert pages.broken(site) == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_each_page_is_whole_and_accessible_and_asks_no_other_host(site, chromium, width):
    found = browser.faults(chromium, site, pages.names(site), width, axe=width == DESKTOP)
    assert not found, "\n".join(found)


def test_on_paper_there_is_nothing_to_press_and_nothing_is_cut(site, chromium):
    found = []
    with browser.tab(chromium, site, PAPER, found) as page:
        page.emulate_media(media="print")
        for name in pages.names(site):
            browser.visit(page, name)
            if page.evaluate(browser.SIDEWAYS):
                found.append(f"{name}: wider than the paper")
            shown = page.locator(UNPRINTED).filter(visible=True)
            found += [
                f"{name}: prints {part}"
                for part in shown.evaluate_all("l => l.map(e => e.className)")
            ]
    assert not found, "\n".join(found)


def test_search_finds_a_chapter(site, chromium):
    found = []
    with browser.tab(chromium, site, DESKTOP, found) as page:
        browser.visit(page, "index.html")
        page.keyboard.press("Control+k")
        page.keyboard.type("adjoint")
        page.keyboard.press("Enter")
        page.locator("#search-results a[href*='02_adjoint']").first.click()
        page.wait_for_url("**/02_adjoint.html*")
    assert found == []
