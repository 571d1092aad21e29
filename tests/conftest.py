"""What the tests of both packages share."""

import os
from pathlib import Path

NOTEBOOKS = str(Path(__file__).parents[1] / "notebooks")
# For the processes that tests start, as the Makefile does: `replication` is imported from there.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (NOTEBOOKS, os.environ.get("PYTHONPATH"))))
