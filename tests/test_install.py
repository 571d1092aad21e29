"""What a user installs: a package that is small and needs torch, numpy and scipy alone."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NEEDED = ("torch", "numpy", "scipy")
IMPORT_ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[1:]:
            raise ModuleNotFoundError(f"{name} is not there")

sys.meta_path.insert(0, Refuse())
import odenet
import odenet.models.blocks, odenet.models.flow, odenet.models.latent, odenet.models.poisson
"""


def with_dependencies(*names: str) -> set[str]:
    """The distributions by these names, and all that is installed because of them."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = canonicalize_name(queue.pop())
        if name in found:
            continue
        try:
            wanted = map(Requirement, metadata.requires(name) or [])
        except metadata.PackageNotFoundError:  # such as CUDA's libraries beside a CPU build
            continue
        found.add(name)
        queue += [r.name for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def example() -> str:
    return re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]


@pytest.mark.slow
def test_the_package_imports_where_all_but_its_dependencies_is_missing():
    there = with_dependencies(*NEEDED)
    missing = [
        name
        for name, owners in metadata.packages_distributions().items()
        if not there & set(map(canonicalize_name, owners)) and name != "odenet"
    ]
    assert {"matplotlib", "pandas", "tqdm", "IPython", "torchvision", "sklearn"} <= set(missing)
    arguments = [sys.executable, "-c", IMPORT_ALONE, "replication", *missing]
    result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert not result.returncode, result.stderr


def test_the_example_of_the_readme_runs(capsys):
    exec(example(), {})
    assert "[3, 8, 2]" in capsys.readouterr().out


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone_and_runs_in_a_fresh_environment(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "book", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in held} == {
        "odenet",
        f"odenet-{metadata.version('odenet')}.dist-info",
    }
    assert "odenet/py.typed" in held and "odenet/solvers/loop.py" in held

    venv.create(tmp_path / "fresh")
    (packages,) = (tmp_path / "fresh").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    for name in with_dependencies(*NEEDED):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if ".." not in file.parts}:
            if top != "__pycache__":
                (packages / top).symlink_to(distribution.locate_file(top))
    result = subprocess.run(
        [tmp_path / "fresh/bin/python", "-c", example()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "[3, 8, 2]" in result.stdout, result.stderr
