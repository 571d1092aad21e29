"""The documentation of the library: whole, with examples, and what the pages show runs."""

import inspect
import re
from pathlib import Path

import pytest

import odenet
import odenet.models

ROOT = Path(__file__).parents[2]
PUBLIC = {f"odenet.{name}": getattr(odenet, name) for name in odenet.__all__}
PUBLIC |= {f"models.{name}": getattr(odenet.models, name) for name in odenet.models.__all__}
CALLED = {name: it for name, it in PUBLIC.items() if callable(it)}
GIVEN_BY_THE_LIBRARY = ("Solution", "SolveError")  # nobody makes one: they have attributes instead


def section(text: str, name: str) -> str:
    """What stands below ``name:`` in a docstring of Google's style."""
    found = re.search(rf"^{name}:\n((?:    .*\n|\n)+)", text + "\n", re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("name", CALLED)
def test_every_public_name_tells_its_arguments_and_gives_an_example(name):
    it = CALLED[name]
    text = inspect.cleandoc(it.__doc__)
    assert ">>> " in section(text, "Example")
    if name.endswith(GIVEN_BY_THE_LIBRARY):
        assert section(text, "Attributes")
        return
    told = re.findall(r"^    (?! )([\w, ]+):", section(text, "Args"), re.MULTILINE)
    wanted = [p for p in inspect.signature(it).parameters if p != "self"]
    assert sorted(filter(None, ", ".join(told).split(", "))) == sorted(wanted)
    if inspect.isfunction(it):
        assert section(text, "Returns") or section(text, "Yields")


@pytest.mark.parametrize(
    "page", [pytest.param("your-network.md", marks=pytest.mark.slow), "torchdiffeq.md", "index.md"]
)
def test_every_block_of_code_on_the_page_runs_in_its_order(traced, page, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "book" / page).read_text(), re.S | re.M)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out
