"""The contract that every notebook keeps, checked without running any."""

import ast
from pathlib import Path

import nbformat
import pytest

from odenet.replicate.jobs import plan, summarises
from odenet.replicate.parameters import declared
from odenet.replicate.profiles import Profile

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LINES = 40


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_stores_no_result(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None


def test_it_runs_in_the_kernel_of_this_environment(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_parameters_are_annotated_literals_with_a_meaning(notebook):
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    statements = ast.parse(tagged[0].source).body
    assert len(declared(notebook)) == len(statements)
    for name, value in declared(notebook).items():
        assert isinstance(value, bool | int | float | str | list) and value != [], name
    for node in statements:
        assert "  # " in tagged[0].source.splitlines()[node.end_lineno - 1]


def test_it_has_a_seed_unless_it_only_summarises(notebook):
    assert summarises(notebook) or type(declared(notebook).get("seed")) is int


def test_its_last_code_cell_reports(notebook):
    last = ast.parse(code_cells(notebook)[-1].source).body[-1]
    assert isinstance(last, ast.Expr) and ast.unparse(last).startswith("report(")


def test_no_cell_is_longer_than_a_screen(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= LINES


def test_every_figure_has_a_caption_and_a_text_in_its_place(notebook):
    for cell in code_cells(notebook):
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            assert figure["caption"] and figure["name"].startswith("fig-")
            assert cell.metadata.mystnb.image["alt"]


def test_no_progress_bar_needs_a_widget(notebook):
    assert not any("tqdm" in cell.source for cell in code_cells(notebook))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("profiles/*.yml")), ids=lambda p: p.stem)
def test_profiles_override_only_what_exists(path):
    plan(Profile(path.stem))


def test_a_figure_has_a_name_of_its_own_in_the_whole_book():
    cells = [cell for path in PATHS for cell in nbformat.read(path, as_version=4).cells]
    found = [figure["name"] for cell in cells if (figure := figure_of(cell))]
    assert len(found) > 10 and sorted(found) == sorted(set(found))


def figure_of(cell):
    return cell.metadata.get("mystnb", {}).get("figure") or {}
