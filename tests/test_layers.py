"""Imports in odenet go downward only, never in a circle, and stand at the top of each file."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from odenet.replicate.sources import imports

ROOT = Path(__file__).parents[1] / "odenet"
BELOW = {  # layer -> the layers it may import, besides itself
    "solvers": set(),
    "gradients": {"solvers"},
    "ode": {"solvers", "gradients"},
    "events": {"solvers", "gradients", "ode"},
    "odeint": {"solvers", "gradients", "ode", "events"},
    "compiled": {"solvers", "gradients"},
    "models": {"solvers", "gradients", "ode"},
    "training": {"solvers", "gradients", "ode", "models"},
    "experiments": {"solvers", "gradients", "ode", "compiled", "models", "training", "data"},
    "data": set(),
    "figures": set(),
    "replicate": set(),
    "__init__": {"solvers", "gradients", "ode", "events", "odeint"},
}
FILES = {  # odenet.models.blocks -> its file; a package by its own name
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imported(name: str) -> set[str]:
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return {found for found in imports(path.read_text(), package) if found.startswith("odenet")}


def layer(name: str) -> str:
    return (name.split(".") + ["__init__"])[1]


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_downward(name):
    own = layer(name)
    assert own in BELOW, f"{name} belongs to no layer"
    # The front door itself is imported by users only; `odenet.x` is meant where x is a layer.
    used = {layer(found) for found in imported(name) if found != "odenet"}
    assert used <= BELOW[own] | {own}


def test_no_module_imports_itself_through_others():
    graph = {name: {found for found in imported(name) if found in FILES} - {name} for name in FILES}
    for name in graph:  # a package imports its modules, which name each other through it
        graph[name] -= {name.rpartition(".")[0]}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_import_of_odenet_is_delayed(name):
    tree = ast.parse(FILES[name].read_text())
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    delayed = [node for node in inner if node not in tree.body]
    assert not [ast.unparse(node) for node in delayed if "odenet" in ast.unparse(node)]
