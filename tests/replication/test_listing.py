"""What a page shows of a module is what stands there."""

import pytest

from replication.listing import listing


def doubled(values):
    """Twice each value."""

    def double(value):
        return 2 * value  # not value**2

    most, least = max(values), min(values)
    return [double(value) for value in values if least <= value <= most]


HEAD = "```python\n# " + __name__.replace(".", "/") + ".py, doubled\n"


def test_a_function_is_shown_without_its_docstring():
    text = listing(doubled).data
    assert text.startswith(f"{HEAD}def doubled(values):\n") and text.endswith("<= most]\n```")
    assert "Twice" not in text and "# not value**2" in text


def test_of_a_long_function_parts_are_shown_by_what_they_define():
    inner = "def double(value):\n    return 2 * value  # not value**2"
    assert listing(doubled, "double").data == f"{HEAD}{inner}\n```"
    line = "most, least = max(values), min(values)"
    assert listing(doubled, "least", "double").data == f"{HEAD}{inner}\n\n{line}\n```"


class Double:
    """Calls."""

    def __call__(self, value):
        """Twice the value."""
        return 2 * value


def test_a_class_is_shown_without_its_docstrings():
    text = listing(Double).data.partition("Double\n")[2]
    assert text == ("class Double:\n    def __call__(self, value):\n        return 2 * value\n```")


def test_what_a_function_does_not_define_is_refused():
    with pytest.raises(ValueError, match="doubled defines no triple"):
        listing(doubled, "double", "triple")
