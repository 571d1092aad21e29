"""`make bench`: all libraries do the same work, the clock is fair, the page says what it found."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import odenet.compile
from replication.benchmarks import jax_fields, speed, speed_page
from replication.benchmarks.tasks import TASKS, task

INSTALLED = [name for name in speed.PEERS if speed.find_spec(name)]


@pytest.fixture
def eager(monkeypatch):
    """Compiled functions run as they are: what they compute is tested with the library."""
    monkeypatch.setattr(odenet.compile, "_compiled", lambda function, *_: function)


@pytest.fixture
def loose(monkeypatch):
    """Tasks at a tolerance that takes few steps."""
    easy = {"tolerance": 1e-3, "exact": ("dopri8", 1e-6)}
    monkeypatch.setattr(speed, "task", lambda name, n: replace(task(name, n), **easy))


@pytest.mark.parametrize("outputs", [1, 3])
def test_all_ways_compute_the_same(outputs, eager, loose):
    rows = speed.measured("small", outputs, 2, set(INSTALLED) - {"diffrax"})
    ways = {(row["gradient"], row["way"]) for row in rows}
    ours = {(True, f"odenet {rule} compile") for rule in ("checkpoint", "adjoint")}
    assert ways > ours | {(False, "odenet"), (False, "odenet compile"), (False, "SciPy")}
    for row in rows:
        assert 0 < row["error"] < 0.05, row["way"]
        assert len(row["seconds"]) == 2 and row["first_seconds"] > 0
        assert row["evaluations"] > 7


@pytest.mark.slow
@pytest.mark.skipif("diffrax" not in INSTALLED, reason="diffrax is not installed")
def test_diffrax_computes_the_same(loose):
    work = speed.task("small", 1)
    truth = speed.exact(work)
    calls = speed.calls("small", work, ["diffrax"])
    for gradient in (False, True):
        row = speed.first(calls[gradient, "diffrax"], work.field, truth[gradient])
        assert 0 < row["error"] < 0.05 and row["evaluations"] is None


def test_a_way_that_fails_is_left_out_with_its_reason(monkeypatch, loose, capsys):
    def broken(function, *structure):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(odenet.compile, "_compiled", broken)
    rows = speed.measured("small", 1, 1, ())
    reasons = {row["way"]: row["reason"] for row in rows if "reason" in row}
    failed = {f"odenet {rule}compile" for rule in ("", "checkpoint ", "adjoint ")}
    assert reasons.keys() == failed
    assert all("no compiler here" in reason for reason in reasons.values())
    measured = {row["way"] for row in rows if "seconds" in row}
    assert measured >= {"odenet", "odenet adjoint", "SciPy"} and not measured & failed
    assert "small, odenet compile fails: ValueError" in capsys.readouterr().out


def test_each_round_has_a_turn_of_every_way_in_another_order(monkeypatch):
    monkeypatch.setattr(speed.time, "perf_counter", itertools.count().__next__)  # a second a look
    order = []
    calls = [(lambda name=name: order.append(name), []) for name in "abcd"]
    speed.take_turns(calls, rounds=9)
    rounds = ["".join(order[i : i + 4]) for i in range(0, len(order), 4)]
    assert len(rounds) == 9 and len(set(rounds)) > 4
    assert {"".join(sorted(turns)) for turns in rounds} == {"abcd"}
    assert [times for _, times in calls] == [[1] * 9] * 4


def test_a_way_that_took_long_has_no_more_turns(monkeypatch):
    looks = itertools.count(step=speed.ENOUGH / 2)
    monkeypatch.setattr(speed.time, "perf_counter", looks.__next__)
    times = []
    speed.take_turns([(lambda: None, times)], rounds=9)
    assert len(times) == 2


def test_a_time_is_a_mean_over_the_calls_of_a_turn(monkeypatch):
    step = speed.TURN / 3.5
    monkeypatch.setattr(speed.time, "perf_counter", itertools.count(step=step).__next__)
    made, times = [], []
    speed.take_turns([(lambda: made.append(1), times)], rounds=3)
    assert len(made) == 3 * 4
    assert times == pytest.approx([step] * 3, rel=1e-3)


def test_the_record_is_written_shown_and_says_what_is_missing(monkeypatch, capsys):
    row = {"task": "small", "outputs": 1, "gradient": True, "way": "odenet"}
    row |= {"first_seconds": 1.0, "error": 1e-5, "evaluations": 44, "seconds": [0.001, 0.003]}
    broken = {"way": "other", "reason": "none"}
    asked, written, find = [], {}, speed.find_spec
    monkeypatch.setattr(speed, "find_spec", lambda name: name != "torchode" and find(name))
    monkeypatch.setattr(speed, "measured", lambda *given: asked.append(given) or [row, broken])
    monkeypatch.setattr(speed, "prepare", lambda folder: None)
    monkeypatch.setattr(speed, "write", lambda path, content: written.update({path.name: content}))
    speed.main()
    record = json.loads(written["speed.json"])
    assert [given[:2] for given in asked] == speed.CASES
    assert (False, "torchode") not in speed.calls("small", task("small", 1), asked[0][3])
    assert record["rows"] == [row] * 5 and record["failed"] == [broken] * 5
    assert {"versions", "missing", "processor", "threads", "started"} < set(record)
    absent = [name for name in speed.PEERS if name not in INSTALLED]
    assert set(record["missing"]) == {"torchode", *absent} and "torchode" not in record["versions"]
    shown = capsys.readouterr().out
    assert "torchode is not installed: skipped; `make peers` installs it\n" in shown
    assert "0.002" in shown


def test_a_task_is_the_same_for_the_same_seed_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    first, again, other = task("flow", 1, 0), task("flow", 1, 0), task("flow", 1, 1)
    assert torch.equal(first.y0, again.y0) and not torch.equal(first.y0, other.y0)
    assert all(map(torch.equal, first.parameters, again.parameters))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_trace_of_the_flow_is_that_of_its_jacobian():
    work = task("flow", 1)
    state = work.y0[:3]
    jacobian = torch.func.jacrev(lambda z: work.field(0.0, torch.cat((z, state[:, 2:]), 1)))
    slopes = jacobian(state[:, :2])[:, :2]  # of each point's slope, for each point
    traces = torch.stack([slopes[i, :, i].trace() for i in range(3)])
    torch.testing.assert_close(work.field(0.0, state)[:, 2], -traces)


@pytest.mark.skipif("diffrax" not in INSTALLED, reason="diffrax is not installed")
@pytest.mark.parametrize("name", TASKS)
def test_the_fields_in_jax_are_those_in_pytorch(name):
    work = task(name, 1)
    arrays = [x.detach().numpy() for x in (work.y0, *work.parameters)]
    with torch.no_grad():
        expected = work.field(0.3, work.y0).numpy()
    found = np.asarray(jax_fields.SLOPES[name](0.3, arrays[0], arrays[1:]))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def rows(**times):
    """Two tasks, of which each way takes these milliseconds, and more in slow rounds."""
    return speed_page.by_key(
        [
            {
                "task": name,
                "outputs": 1,
                "gradient": gradient,
                "way": way.replace("_", " "),
                "first_seconds": 10.0,
                "error": 1e-5,
                "seconds": [ms / 1e3 * slow for slow in (1, 2, 1, 3)],
            }
            for name in ("flow", "mnist")
            for gradient in (False, True)
            for way, ms in times.items()
        ]
    )


def page(**times):
    about = {"started": "2026-01-02T03:04", "processor": "a processor", "versions": {"jax": "1"}}
    return speed_page.page({"rows": list(rows(**times).values()), **about})


def test_ratios_are_taken_round_by_round():
    found = list(speed_page.ratios(rows(a=3, b=1), [(False, "a", "b"), (True, "a", "c")]))
    assert found == [speed_page.Ratio(name, name, 3, 3, 3) for name in ("flow", "mnist")]


@pytest.mark.parametrize(
    ("quartiles", "counts"),
    [
        ([(0.8, 0.9), (0.7, 0.8)], [(2, "below")]),
        ([(0.9, 1.1), (0.7, 0.8), (0.7, 0.8)], [(2, "below"), (1, "level with")]),
        ([(1.1, 1.2), (1.2, 1.3), (0.7, 0.8)], [(2, "above"), (1, "below")]),
    ],
)
def test_faster_and_slower_is_what_both_quartiles_say(quartiles, counts):
    found = [speed_page.Ratio("x", "x", low, (low + high) / 2, high) for low, high in quartiles]
    assert speed_page.count(found, "below", "above") == counts


def test_the_page_says_who_is_faster_and_why():
    fast = page(odenet=2, odenet_compile=1, torchdiffeq_odeint=3, diffrax=4)
    assert "**Without compiling, odenet is faster than torchdiffeq in all 2 comparisons.**" in fast
    assert "torchdiffeq takes between 1.5 (quartiles 1.5 to 1.5; flow) and 1.5" in fast
    assert "`compile=True` is faster than the eager solve in all 2 comparisons" in fast
    assert "odenet is faster than diffrax, jitted, in all 2 comparisons" in fast
    assert "one program of all" not in fast and "there odenet is ahead" in fast
    slow = page(odenet=3, odenet_compile=4, torchdiffeq_odeint=1, diffrax=2)
    assert "odenet is slower than torchdiffeq in all 2" in slow
    assert "`compile=True` is slower than the eager solve in all 2" in slow
    assert "odenet is slower than diffrax, jitted, in all 2" in slow
    assert "one program of all" in slow and "there diffrax is ahead" in slow


def test_the_page_says_what_was_not_measured():
    said = page(odenet=1)
    for words in ("torchdiffeq was not", "Nothing was compiled", "diffrax was not"):
        assert words in said


def test_compiling_pays_after_as_many_solves_as_it_took_of_their_gain():
    fast = page(odenet=3, odenet_compile=1)
    assert "compiles, for 10 s, which pays after 3,300 solves of one shape.\n" in fast
    assert "which pays never.\n" in page(odenet=1, odenet_compile=3)
    some = page(odenet=3, odenet_compile=1, odenet_checkpoint=1, odenet_checkpoint_compile=1)
    assert "for 10 to 20 s, which pays after 3,300 solves of one shape; where the comp" in some
    assert "is not the faster one, it never pays.\n" in some


def test_the_compiled_gradient_waits_for_the_compiled_solve_too():
    both = rows(odenet_compile=1, odenet_checkpoint=5, odenet_checkpoint_compile=1)
    assert set(speed_page.paybacks(both)) == {(20.0, 20 / ((5 - 1) * 1.5e-3))}


def test_a_task_has_a_line_of_its_own_and_what_was_not_measured_is_empty():
    table = [line for line in page(odenet=2, SciPy=1).splitlines() if line.startswith("|")]
    assert table[2:5] == [
        "| **flow** |  |  |  |",
        "| odenet | 3 |  | 1.0e-05 |",
        "| SciPy | 1.5 |  | 1.0e-05 |",
    ]


def test_times_are_drawn_in_milliseconds_filled_without_gradient_and_hollow_with_it():
    ways = {"odenet": 2, "odenet_backprop": 4}
    ax = speed_page.drawn(rows(**ways)).axes[0]
    bar, solve, _, gradient = ax.lines
    assert bar.get_xdata() == pytest.approx([2, 4.5])
    assert (solve.get_xdata()[0], gradient.get_xdata()[0]) == pytest.approx((3, 6))
    assert solve.get_markerfacecolor() != gradient.get_markerfacecolor() == "none"


def test_the_page_and_its_figure_show_the_committed_record(monkeypatch):
    written = {}
    monkeypatch.setattr(speed_page, "write", written.__setitem__)
    speed_page.main()
    assert len(written) == 2
    for path, content in written.items():
        assert path.read_text() == content, f"{path.name} is behind: make bench"
