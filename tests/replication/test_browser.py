"""Each fault of a page is found, and the moving points of a flow have none."""

import browser
import numpy as np
import pages
import pytest

from replication.chapters.flows.animation import moving_points

pytestmark = pytest.mark.slow
PHONE = 390  # CSS pixels
HEAD = '<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1>'


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as opened:
        yield opened


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("<img src='https://elsewhere.test/a.png' alt='Far'>", "asks for https://elsewhere.test"),
        ("<img src='missing.png' alt='None'>", "asks for http://book.test/missing.png"),
        ("<script>console.error('oops')</script>", "oops"),
        ("<script>throw Error('thrown')</script>", "thrown"),
        ("<p style='width: 500px'>Wide</p>", "scrolls sideways"),
        (
            "<details><summary>More</summary><p style='width: 500px'>Wide",
            "unfolded: scrolls sideways",
        ),
        ("<article><img src='data:,' alt=''></article>", "no words"),
        ("<article><img src='data:,x/7f.svg' alt='../x/7f.svg'></article>", "no words"),
        ("<p style='color: #999; background: #fff'>Pale</p>", "html: color-contrast"),
        (
            "<style>@media (prefers-color-scheme: dark) { p { background: #111 } }</style><p>Text",
            "in the dark: color-contrast",
        ),
        ("<h3>Deep</h3>", "heading-order"),
        ("<script>document.documentElement.dataset.theme = 'light'</script>", "not turn dark"),
    ],
)
def test_each_fault_of_a_page_is_found(chromium, tmp_path, content, fault):
    (tmp_path / "index.html").write_text(HEAD + content)
    found = browser.faults(chromium, tmp_path, ["index.html"], PHONE)
    assert len(found) and fault in found[0]


@pytest.mark.parametrize(
    "content",
    [
        "<a href='away.html'>",
        "<a href='#away'>",
        "<a href='index.html#away'>",
        "<img src='away.png'>",
        "<p style='background: url(away.png)'>",
        "<link rel='stylesheet' href='sheet.css'>",
    ],
)
def test_each_broken_reference_is_found(tmp_path, content):
    (tmp_path / "index.html").write_text(HEAD + "<a id='here' href='#here'>" + content)
    if "sheet" in content:
        (tmp_path / "sheet.css").write_text("p { background: url('away.png') }")
    assert len(pages.broken(tmp_path)) == 1


def test_the_animation_moves_on_demand_only_and_is_a_picture_on_paper(chromium, tmp_path):
    paths = {"flow": np.random.default_rng(0).uniform(-1, 1, (5, 20, 2))}
    points = moving_points(paths, 1.0, alt="Points that move from noise to data")
    (tmp_path / "index.html").write_text(HEAD + points)
    found = browser.faults(chromium, tmp_path, ["index.html"], PHONE)
    with browser.tab(chromium, tmp_path, PHONE, found) as page:
        browser.visit(page, "index.html")
        picture = "document.querySelector('canvas').toDataURL()"
        before = page.evaluate(picture)
        page.wait_for_timeout(300)
        assert page.evaluate(picture) == before
        page.get_by_role("button").click()
        page.wait_for_function(f"{picture} != '{before}'")
        assert page.get_by_role("button").inner_text() == "■ stop"
        page.emulate_media(media="print")
        assert page.locator("img").is_visible() and not page.locator("canvas").is_visible()
    assert found == []
