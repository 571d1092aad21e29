"""Compiled code of this process alone, so that first calls are timed as on another machine."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # where PyTorch's compiler looks for what it made before


@contextmanager
def own_cache() -> Iterator[None]:
    """Inside, PyTorch's compiler finds on disk only what this process put there inside."""
    before = os.environ.get(_FOLDER)
    os.environ[_FOLDER] = _made()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_FOLDER, None)
        else:
            os.environ[_FOLDER] = before


@cache
def _made() -> str:
    """An empty folder that ends with the process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
