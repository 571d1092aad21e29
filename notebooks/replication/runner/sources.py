"""What a result depends on in this clone, found without running it: digests of syntax trees."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from replication.runner.files import digest

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# What changes no number. The library counts by odenet.NUMERICS, which golden tests watch over.
_UNCOUNTED = re.compile(
    r"odenet(\.|$)|replication(\.runner|\.(style|tables|words|listing|device)$|$)"
    r"|replication\.data\.(mnist_sources|torchvision_import)$|.*\.(figures|animation)$"
)


def bare(code: str) -> str:
    """`code` without comments, docstrings and layout: equal for two texts that do the same."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.unparse(tree)


def imports(code: str, package: str = "") -> Iterator[str]:
    """The dotted names that `code`, a module in `package`, may import.

    `from a import b` gives both `a` and `a.b`, because `b` may be a module or a name in `a`.
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules(folders: Sequence[Path], names: Iterable[str]) -> dict[str, str]:
    """Digest of the bare code of each module in `folders` that importing `names` loads.

    Left out: what lies elsewhere, which its version pins; the library; and what draws, prints or
    runs, with all that only it imports.
    """
    queue = list(names)
    found: dict[str, str] = {}
    while queue:
        name = queue.pop()
        path = None if name in found or _UNCOUNTED.match(name) else _locate(folders, name)
        if path is None:
            continue
        code = path.read_text(encoding="utf-8")
        found[name] = digest(bare(code))
        parent = name.rpartition(".")[0]
        queue += [parent, *imports(code, name if path.name == "__init__.py" else parent)]
    return dict(sorted(found.items()))


def _locate(folders: Sequence[Path], name: str) -> Path | None:
    """The file of the module, in the first of the folders that holds it."""
    stems = (folder.joinpath(*name.split(".")) for folder in folders if name)
    files = (file for stem in stems for file in (stem / "__init__.py", stem.with_suffix(".py")))
    return next((file for file in files if file.is_file()), None)
