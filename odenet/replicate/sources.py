"""What a piece of code depends on, found without running it: syntax trees and their digests."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from odenet.replicate.files import digest

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


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


def modules(root: Path, names: Iterable[str], without: str = "") -> dict[str, str]:
    """Digest of the bare code of each module under `root` that importing `names` loads.

    Follows imports within the top-level packages of `names` only; what lies elsewhere is
    pinned by its version. The package `without` is left out, with all that only it imports.
    """
    queue = list(names)
    packages = {name.partition(".")[0] for name in queue}
    found: dict[str, str] = {}
    while queue:
        name = queue.pop()
        path = _locate(root, name)
        if name in found or path is None or name.partition(".")[0] not in packages:
            continue
        if without and f"{name}.".startswith(f"{without}."):
            continue
        code = path.read_text(encoding="utf-8")
        found[name] = digest(bare(code))
        parent = name.rpartition(".")[0]
        queue += [parent, *imports(code, name if path.name == "__init__.py" else parent)]
    return dict(sorted(found.items()))


def _locate(root: Path, name: str) -> Path | None:
    stem = root.joinpath(*name.split("."))
    candidates = (stem / "__init__.py", stem.parent / f"{stem.name}.py")
    return next((path for path in candidates if name and path.is_file()), None)
