"""The whole book as one file."""

import browser
import pytest
from pypdf import PdfReader

from replication.runner.pdf import print_site

pytestmark = pytest.mark.slow


def test_a_pdf_has_all_pages_and_the_links_between_them(tmp_path, monkeypatch):
    browser.program()  # or the test is skipped
    monkeypatch.setenv("CHROMIUM", browser.CHROMIUM)
    (tmp_path / "toc.yml").write_text("{root: index, parts: [{chapters: [{file: deep/other}]}]}")
    (tmp_path / "deep").mkdir()
    link = "<a href='deep/other.html#part'>on</a> <a href='https://elsewhere.test/'>out</a>"
    (tmp_path / "index.html").write_text(f"<article><h1>Start</h1>{link}</article>")
    (tmp_path / "deep/other.html").write_text("<article><h1>Other</h1></article>")
    print_site(tmp_path, tmp_path / "toc.yml", tmp_path / "book.pdf")
    pdf = PdfReader(tmp_path / "book.pdf")
    assert [mark.title for mark in pdf.outline] == ["Start", "Other"] and len(pdf.pages) == 2
    inside, outside = (mark.get_object() for mark in pdf.pages[0]["/Annots"])
    assert inside["/Dest"][0].get_object() == pdf.pages[1].get_object() and "/A" not in inside
    assert outside["/A"]["/URI"] == "https://elsewhere.test/"


def test_without_a_browser_a_pdf_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    (tmp_path / "toc.yml").write_text("{root: index, parts: []}")
    with pytest.raises(RuntimeError, match="CHROMIUM="):
        print_site(tmp_path, tmp_path / "toc.yml", tmp_path / "book.pdf")
