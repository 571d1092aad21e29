"""The contract that every notebook keeps, checked without running any."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from replication.runner.jobs import plan, summarises
from replication.runner.parameters import checked, declared, typed
from replication.runner.profiles import Profile

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
CLAIMS = yaml.safe_load((NOTEBOOKS.parent / "book/claims.yml").read_text())["claims"]
JUDGED = {row["metric"].partition(".")[0] for row in CLAIMS}
LINES = 40
CHECKED = "nbval-check-output"
FOUND = "What we found"
FOLDED = {"hide-input", "remove-cell", "parameters"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def sections(notebook):
    """Title -> text, in their order, of a chapter that measures something."""
    if summarises(notebook):
        pytest.skip("measures nothing of its own")
    return parts(notebook)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parts(notebook):
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    _, *found = re.split(r"^## (.+)\n", prose, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


def test_it_stores_what_nbval_compares_and_no_other_result(notebook):
    compared = [cell for cell in code_cells(notebook) if CHECKED in cell.metadata.get("tags", [])]
    assert len(compared) == (0 if summarises(notebook) else 1)
    for cell in code_cells(notebook):
        if cell in compared:
            (output,) = cell.outputs
            assert output.name == "stdout" and 0 < len(output.text) < 300
            assert "." not in output.text, "integers and short words: equal on every machine"
        else:
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


def test_no_number_but_the_seed_may_be_zero_or_less(notebook):
    for name, default in declared(notebook).items():
        item = default[0] if isinstance(default, list) else default
        if name.endswith("seed") or isinstance(item, bool | str):
            continue
        for value in (0 * item, -item):
            with pytest.raises(ValueError, match=rf"{name} cannot be .*(above 0|at least [124])"):
                checked("it", notebook, {name: [value] if isinstance(default, list) else value})


@pytest.mark.parametrize(
    "name", ["tolerances", "mnist_tolerances", "block_tolerances", "smooth_tolerances"]
)
def test_a_slope_needs_two_tolerances(name):
    notebook = nbformat.read(NOTEBOOKS / "02_adjoint.ipynb", as_version=4)
    assert checked("02_adjoint", notebook, {name: [0.1, 0.01]})[name] == [0.1, 0.01]
    for few in ([0.1], [0.1, 0.1]):
        with pytest.raises(ValueError, match=rf"{name} cannot be .* at least 2 of them"):
            checked("02_adjoint", notebook, {name: few})


@pytest.mark.parametrize(
    ("stem", "name", "most", "more"),
    [
        ("02_adjoint", "train_size", 60_000, 60_001),
        ("03_mnist", "train_size", 60_000, 60_001),
        ("04_nfe", "test_size", 10_000, 10_001),
        ("05_spirals", "observed", [2, 100], [2, 101]),
    ],
)
def test_there_is_no_more_data_than_there_is(stem, name, most, more):
    notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    assert checked(stem, notebook, {name: most})[name] == most
    with pytest.raises(ValueError, match=rf"{name} cannot be .* at most \d+$"):
        checked(stem, notebook, {name: more})


def test_it_has_a_seed_unless_it_only_summarises(notebook):
    assert summarises(notebook) or type(declared(notebook).get("seed")) is int


def test_its_last_code_cell_reports(notebook):
    last = ast.parse(code_cells(notebook)[-1].source).body[-1]
    assert isinstance(last, ast.Expr) and ast.unparse(last).startswith("report(")


def test_what_was_found_comes_first(sections):
    assert next(iter(sections)) == FOUND
    assert {"The claim", "Run it again", "Limits", "Reported numbers"} <= sections.keys()


def test_it_states_the_claim_in_a_sentence_of_the_paper(sections):
    quoted = [line for line in sections["The claim"].splitlines() if line.startswith(">")]
    words, source = " ".join(quoted).split("—")
    assert words.count("“") == words.count("”") == 1 and len(words.split()) < 50
    assert "{cite:t}`chen2018neural`" in source


def test_its_verdict_is_that_of_the_page_of_verdicts(sections, request):
    stem = request.node.callspec.id
    if stem not in JUDGED:
        pytest.skip("tests no claim of the paper")
    table = f"```{{glue}} verdicts_{stem}\n:doc: 10_verdicts.ipynb\n```"
    assert table in sections[FOUND]
    assert not re.search(r"\b(not supported|inconclusive)\b", "".join(sections.values()))


def test_it_can_be_rerun_by_the_command_that_it_gives(sections, notebook, request):
    command = f'make notebook NB={request.node.callspec.id} P="(.+)"'
    given = typed(re.search(command, sections["Run it again"])[1])
    assert given and checked(request.node.callspec.id, notebook, given)


def test_a_chapter_that_calls_the_library_shows_how(notebook):
    if "from odenet" not in "".join(cell.source for cell in code_cells(notebook)):
        pytest.skip("calls the library nowhere")
    assert any(not FOLDED & set(cell.metadata.get("tags", [])) for cell in code_cells(notebook))


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
