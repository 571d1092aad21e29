"""A page shows the code that runs, and says where it stands."""

import inspect

import pytest

from replication.chapters.nfe.trials import growth
from replication.listing import excerpt, listing
from replication.probe import dopri5, there_and_back_error


def test_a_listing_is_the_code_under_the_name_of_its_file():
    shown = listing(dopri5, there_and_back_error).data
    first, name, *code, last = shown.splitlines()
    assert (first, name, last) == ("```python", "# notebooks/replication/probe.py", "```")
    assert '"""' not in shown
    for function in (dopri5, there_and_back_error):
        head, _, *body = inspect.getsource(function).split("\n    ")
        assert head in shown and body[-1].strip() in shown


def test_an_excerpt_begins_and_ends_where_it_is_told():
    lines = excerpt(growth.run, "def loss", "history =").data.splitlines()
    assert (
        lines[2].startswith("def loss(members")
        and lines[-2] == "    return F.cross_entropy(logits, labels[there]), stats"
    )


def test_an_excerpt_without_an_end_goes_to_that_of_the_function():
    assert excerpt(growth.network, "solver =").data.splitlines()[-2].startswith("return Classifier")


def test_an_excerpt_of_lines_that_are_gone_is_refused():
    with pytest.raises(ValueError, match="no line begins with 'def gone' in"):
        excerpt(growth.run, "def gone", "history =")
