"""`make times`: a command's time and work, and what README.md says of them."""

import json
import re
import sys
import textwrap

import pytest

from replication.benchmarks import commands, costs
from replication.runner.profiles import checkout

WORK = "import time; began = time.process_time()\nwhile time.process_time() - began < 0.3: pass"


def test_time_and_work_of_a_command_are_measured(tmp_path):
    command = f"'{sys.executable}' -c '{WORK}' & sleep 1; wait"
    row = commands.measured(command, tmp_path, commands.new_shell(), tmp_path / "log")
    assert row["command"] == command
    assert 0.3 <= row["core_seconds"] and row["seconds"] >= 1


def test_a_command_that_fails_is_an_error_with_what_it_printed(tmp_path):
    with pytest.raises(RuntimeError, match=r"`echo no compiler; exit 3` ends with status 3:\nno c"):
        commands.measured("echo no compiler; exit 3", tmp_path, {}, tmp_path / "log")


def test_a_new_shell_has_nothing_that_make_sets(monkeypatch):
    makefile = (checkout() / "Makefile").read_text()
    ours = {"MAKEFLAGS", *re.findall(r"^export (\w+)", makefile, re.M)}
    for name in ours:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CHROMIUM", "/bin/chromium")
    shell = commands.new_shell()
    assert {"ODENET_CACHE", "PYTHONPATH"} < ours and not ours & set(shell)
    assert {"PATH", "CHROMIUM"} <= set(shell)


def test_all_commands_are_targets_of_the_makefile():
    makefile = (checkout() / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}: " in makefile for command in commands.COMMANDS)


def test_lines_of_code_have_no_comments_and_docstrings():
    text = '''
        """What it
        is."""

        import sys  # why

        # why
        def function(a,
                     b):
            """Docstring."""
            return """two
            lines"""
        name = 1
        "of the name"
    '''
    assert costs.code_lines(textwrap.dedent(text)) == 1 + 2 + 2 + 1


def test_a_trial_of_two_chapters_is_counted_once():
    one = {"trial": "mnist/one", "seconds": 60, "threads": 2}
    other = {"trial": "mnist/other", "seconds": 30, "threads": 1}
    assert costs.core_seconds([{"trials": [one, other]}, {"trials": [one]}, {}]) == 150


def test_the_readme_has_a_row_for_each_command(tmp_path):
    records = tmp_path / "book/records"
    records.mkdir(parents=True)
    assert "`make times` measures what each command takes" in costs.shown(tmp_path)
    about = {"started": "2026-01-02T03:04", "processor": "a processor", "versions": {"torch": "2"}}
    row = {"command": "make test", "seconds": 90, "core_seconds": 660}
    (records / "times.json").write_text(json.dumps(about | {"rows": [row]}))
    trial = {"trial": "mnist/one", "seconds": 3600, "threads": 2}
    (records / "03_mnist.json").write_text(json.dumps({"trials": [trial]}))
    shown = costs.shown(tmp_path).splitlines()
    assert "| `make test` | 1.5 | 11 |" in shown
    assert "| `make replicate PROFILE=paper` | – | 120 |" in shown
    assert "Measured on 2026-01-02, on a processor, torch 2;" in shown[-1]
