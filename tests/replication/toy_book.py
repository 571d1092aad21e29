"""A clone for tests of the book, with chapters of the test's own."""

import json
import shutil
from pathlib import Path

from nbformat import NotebookNode, write

ROOT = Path(__file__).parents[2]


def checkout(root: Path, **chapters: NotebookNode) -> Path:
    """A clone at `root` whose smoke run left these `chapters`, keys as in `_03_mnist`."""
    ignore = shutil.ignore_patterns("_build", "chapters", "records", "trials")
    shutil.copytree(ROOT / "book", root / "book", ignore=ignore)
    for name in ("CHANGELOG.md", "CITATION.cff", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks/profiles").mkdir(parents=True)
    for path in ROOT.glob("notebooks/*.ipynb"):
        shutil.copy(path, root / "notebooks")
    for kind in ("chapters", "records"):
        (root / "book/_build/smoke" / kind).mkdir(parents=True)
    for stem, notebook in chapters.items():
        write(notebook, root / f"book/_build/smoke/chapters/{stem[1:]}.ipynb")
        record = {
            "fingerprint": {"modules": {}},
            "provenance": {"code_commit": "0123456789", "dirty": True},
        }
        (root / f"book/_build/smoke/records/{stem[1:]}.json").write_text(json.dumps(record))
    return root
