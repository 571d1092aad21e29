"""Trials: one frozen setting in, plain numbers out, kept on disk by content."""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from odenet.replicate.files import digest, locked, say, write
from odenet.replicate.sources import modules


@dataclass(frozen=True)
class Outcome:
    """What a trial left: its numbers, and the folder with its weights."""

    result: dict[str, Any]
    folder: Path


def run_trial(function: Callable[[Any, Path], dict[str, Any]], trial: Any) -> Outcome:
    """The outcome of `function(trial, folder)`, computed unless the same trial was finished before.

    Same means: the function, every field of the dataclass `trial`, the torch version, and the
    code of all modules of the function's package that its module imports. A folder without a
    readable result.json is handed to `function` again, to resume from what it left there.
    """
    identity = _identity(function, trial)
    experiment = function.__module__.rpartition(".")[2]
    folder = cache() / "trials" / experiment / f"{_readable(trial)}-{digest(identity)}"
    with locked(folder / "lock"):
        result = _load(folder / "result.json")
        if result is None:
            write(folder / "trial.json", json.dumps(identity, indent=1))
            # Through JSON at once, so that a first and a second call return equal values.
            text = json.dumps(function(trial, folder))
            result = json.loads(text)
            write(folder / "result.json", json.dumps({"digest": digest(result), "result": result}))
    return Outcome(result, folder)


def cache() -> Path:
    """Root of everything that is kept between runs: ODENET_CACHE, or ~/.cache/odenet."""
    return Path(os.environ.get("ODENET_CACHE") or "~/.cache/odenet").expanduser().resolve()


def _identity(function: Callable[..., Any], trial: Any) -> dict[str, Any]:
    module = function.__module__
    file = getattr(sys.modules[module], "__file__", None)
    if module == "__main__" or file is None:
        raise TypeError(f"{function.__qualname__} must live in a module that can be imported")
    root = Path(file).resolve().parents[module.count(".") + (Path(file).name == "__init__.py")]
    return {
        "function": f"{module}.{function.__qualname__}",
        "trial": asdict(trial),
        "torch": version("torch"),
        "modules": modules(root, [module]),
    }


def _readable(trial: Any) -> str:
    """The first field, the seed and what differs from the defaults: `odenet-seed0-epochs4`."""
    parts = []
    for position, field in enumerate(fields(trial)):
        value = getattr(trial, field.name)
        if position == 0:
            parts.append(f"{value}")
        elif field.name == "seed" or field.default is MISSING or value != field.default:
            parts.append(f"{field.name}{value}")
    return re.sub(r"[^\w.+-]", "_", "-".join(parts))[:80]


def _load(path: Path) -> dict[str, Any] | None:
    """The result at `path`; None if there is none, or a damaged one, which is then set aside."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if digest(kept["result"]) == kept["digest"]:
            return kept["result"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    path.replace(path.with_suffix(".damaged"))
    say(f"{path.parent.name}: result.json is damaged; kept as result.damaged, computing again")
    return None
