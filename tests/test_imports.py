"""Imports go downward only, never in a circle, and stand at the top of each file."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from replication.runner.sources import imports

ROOT = Path(__file__).parents[1]
SOLVE = {"solvers", "adjoint", "field", "ode"}
SHARED = {"classify", "compiled_training", "device", "listing", "memory", "peers", "pixels"}
SHARED |= {"plots", "probe", "style", "tables", "trained", "training", "words"}
BELOW = {  # part of a package -> what it may import, besides itself
    "odenet.solvers": set(),
    "odenet.adjoint": {"odenet.solvers"},
    "odenet.compile": {"odenet.solvers", "odenet.adjoint", "odenet.field"},
    "odenet.field": {"odenet.solvers"},
    "odenet.packing": {"odenet.solvers"},
    "odenet.ode": {"odenet.solvers", "odenet.adjoint", "odenet.compile", "odenet.field"},
    "odenet.events": {f"odenet.{part}" for part in SOLVE},
    "odenet.torchdiffeq": {f"odenet.{part}" for part in SOLVE | {"events", "packing"}},
    "odenet.models": {f"odenet.{part}" for part in SOLVE},
    "odenet": {f"odenet.{part}" for part in SOLVE | {"events", "torchdiffeq"}},
    "replication": set(),
    "replication.runner": {"odenet"},  # which number its results have, and nothing else
    "replication.data": set(),
    "replication.readme": {"replication.runner", "replication.benchmarks"},
    "replication.__main__": {"replication.runner", "replication.readme"},
    "replication.benchmarks": {"odenet", "replication.runner"}
    | {"replication.peers", "replication.style"},
    **{
        f"replication.{part}": {"odenet", "replication.data"}
        | {f"replication.{other}" for other in SHARED}
        for part in SHARED
    },
    "replication.chapters": {"odenet", "replication.data"}
    | {f"replication.{part}" for part in SHARED},
}
FILES = {  # odenet.models.blocks -> its file; a package by its own name
    ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
    for folder, package in ((ROOT, "odenet"), (ROOT / "notebooks", "replication"))
    for path in (folder / package).rglob("*.py")
}
CHAPTERS = sorted({name.split(".")[2] for name in FILES if name.count("replication.chapters.")})


def imported(name: str) -> set[str]:
    """The modules of this clone that the module `name` imports."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set(imports(path.read_text(), package)) & FILES.keys()
    return found - {package.partition(".")[0]}  # which runs anyway, before any of its parts


def part(name: str) -> str:
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_downward(name):
    assert part(name) in BELOW, f"{name} has no place in the house"
    allowed = BELOW[part(name)] | {part(name)}
    used = {part(found) for found in imported(name)}
    assert not [found for found in used if not {found, found.partition(".")[0]} & allowed]


def test_the_runner_asks_the_library_for_its_number_alone():
    names = [name for name in FILES if f"{name}.".startswith("replication.runner.")]
    nodes = [node for name in names for node in ast.walk(ast.parse(FILES[name].read_text()))]
    asked = {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute)}
    assert {name for name in asked if name.startswith("odenet.")} == {"odenet.NUMERICS"}
    used = {found for name in names for found in imported(name)}
    assert {found for found in used if found.startswith("odenet")} == {"odenet"}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapters_do_not_import_each_other(chapter):
    own = f"replication.chapters.{chapter}"
    used = {found for name in FILES if f"{name}.".startswith(f"{own}.") for found in imported(name)}
    others = {found for found in used if found.startswith("replication.chapters.")}
    assert not [found for found in others if not f"{found}.".startswith(f"{own}.")]


def test_no_module_imports_itself_through_others():
    graph = {name: imported(name) - {name} for name in FILES}
    for name in graph:  # a package imports its modules, which name each other through it
        graph[name] -= {name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_import_of_this_clone_is_delayed(name):
    tree = ast.parse(FILES[name].read_text())
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    delayed = "\n".join(ast.unparse(node) for node in inner if node not in tree.body)
    assert not set(imports(delayed)) & FILES.keys()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/library").glob("*.py")), ids=lambda p: p.stem
)
def test_the_library_is_tested_without_the_replication(path):
    assert not [name for name in imports(path.read_text()) if name.startswith("replication")]
