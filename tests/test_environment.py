"""One set of versions however the environment is made, and a Makefile that finds its Python."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(r) for r in sum(EXTRAS.values(), PROJECT["dependencies"])]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
VERSIONS = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in PINS}


def conda() -> tuple[list[str], list[str]]:
    """What environment.yml takes from conda and what from pip."""
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return [w for w in wanted if isinstance(w, str)], wanted[-1]["pip"]


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """`make` as a user without an activated environment calls it."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "CONDA"))}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=keep | variables, capture_output=True, text=True
    )


def test_constraints_are_exact_and_free_of_machine_specific_builds():
    for pin in PINS:
        assert re.fullmatch(r"==[^*+,]+", str(pin.specifier)), f"{pin} is no exact public version"
        assert not pin.name.startswith("nvidia")


@pytest.mark.parametrize("wanted", DIRECT, ids=str)
def test_each_direct_dependency_is_pinned_within_its_bounds(wanted):
    pinned = VERSIONS[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(pinned)


def foreign(folder: Path) -> set[str]:
    """The top-level names that the modules in `folder` import from elsewhere."""
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {folder.name}


def undeclared(names: set[str], requirements: list[Requirement]) -> set[str]:
    owners = packages_distributions()  # of what is installed, which optional ones need not be
    declared = {canonicalize_name(r.name) for r in requirements}
    return {n for n in names if not declared & set(map(canonicalize_name, owners.get(n, [n])))}


def test_each_import_of_the_package_is_a_dependency():
    needed = list(map(Requirement, PROJECT["dependencies"]))
    assert {r.name for r in needed} == {"torch", "numpy", "scipy"}
    assert not undeclared(foreign(ROOT / "odenet"), needed)


def test_each_import_of_the_replication_is_declared():
    assert not undeclared(foreign(ROOT / "notebooks/replication") - {"odenet"}, DIRECT)


def test_conda_installs_exactly_what_the_makefile_installs():
    packages, pip = conda()
    assert {re.split("[=<>]", package)[0] for package in packages} == {"python", "pip", "make"}
    recipe = (ROOT / "Makefile").read_text()
    assert " ".join(pip).replace(".[replicate,test]", "'.[replicate,test]'") in recipe
    assert set(EXTRAS) == {"replicate", "test", "peers"}


def test_python_versions_agree():
    python = next(p for p in conda()[0] if p.startswith("python="))[len("python=") :]
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["mypy"]["python_version"] == python
    assert tools["ruff"]["target-version"] == "py" + python.replace(".", "")
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        assert f'python-version: "{python}"' in workflow.read_text()


def test_make_alone_lists_every_target():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    listed = re.findall(r"^  make (\w+) ", make().stdout, re.M)
    assert set(listed) == set(targets) - {"usage"}


def test_make_notebook_without_a_name_explains_itself_before_any_set_up():
    result = make("notebook")
    assert result.returncode and "usage: make notebook NB=" in result.stderr
    assert not result.stdout


def test_make_uses_an_activated_conda_environment_that_holds_this_clone():
    result = make("-n", "types", "-o", ".venv/ready", CONDA_PREFIX=sys.prefix)
    assert result.stdout == f"{sys.prefix}/bin/python -m mypy\n"


def test_make_ignores_a_conda_environment_that_does_not(tmp_path):
    result = make("-n", "types", "-o", ".venv/ready", CONDA_PREFIX=str(tmp_path))
    assert result.stdout == ".venv/bin/python -m mypy\n"


@pytest.mark.parametrize("typed", [True, False])
def test_make_hands_on_where_trainings_run(tmp_path, typed):
    """What is typed behind `make` counts more than the environment."""
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" = -Ic ] || echo "$ODENET_JOBS $ODENET_CLUSTER"\n')
    python.chmod(0o755)
    given = ("JOBS=3", "CLUSTER=tcp://a:1") if typed else ()
    names = {"ODENET_JOBS": "2", "ODENET_CLUSTER": "tcp://b:1", "CONDA_PREFIX": str(tmp_path)}
    result = make("check", *given, **names)
    assert result.stdout == ("3 tcp://a:1\n" if typed else "2 tcp://b:1\n")


def test_set_up_names_the_python_it_needs(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "bin/python3"
    old.parent.mkdir()
    old.write_text(f"#!{shutil.which('bash')}\necho Python 3.9.1\nexit 1\n")
    old.chmod(0o755)
    for name in ("bash", "make"):
        (old.parent / name).symlink_to(shutil.which(name))
    result = make("setup", cwd=tmp_path, PATH=str(old.parent), OMP_NUM_THREADS="1")
    assert result.returncode and "needs Python 3.11 or newer, not Python 3.9.1" in result.stderr
