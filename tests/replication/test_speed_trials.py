"""What chapter 09 times: all libraries do the same work, and the clock is fair to them."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from odenet.adjoint import GRADIENTS
from odenet.compiled import CannotCompile
from replication.chapters.speed import (
    analysis as speed_ratios,
)
from replication.chapters.speed import (
    jax_ways as speed_jax,
)
from replication.chapters.speed import (
    trials as speed,
)
from replication.chapters.speed import (
    ways as speed_ways,
)
from replication.chapters.speed.cache import own_cache
from replication.chapters.speed.tasks import TASKS, task

QUICK = {"tolerances": (1e-4,), "rounds": 1, "seconds": 0.0, "reference": 1e-7}
SMALL = [name for name in TASKS if name != "mnist"]


@pytest.fixture
def eager(monkeypatch):
    """Compiled solves by the rules themselves: what they compute is tested with them."""
    monkeypatch.setattr(speed_ways, "Compiled", lambda rule="checkpoint": GRADIENTS[rule])


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("name", SMALL)
def test_all_ways_compute_the_same(name, gradient, eager):
    result = speed.run(speed.Trial(name, 2, gradient, **QUICK), Path())
    errors = {row["way"]: row["error"] for row in result["rows"]}
    if gradient:
        assert {"odenet backprop", "odenet checkpoint, compiled"} < set(errors)
    else:
        assert errors.pop("evaluations alone") is None
        assert {"odenet", "odenet compiled", "SciPy"} <= set(errors)
    assert all(0 < error < 5e-3 for error in errors.values())
    assert set(result["first"]) >= set(errors) and not result["missing"]


def test_each_round_of_each_way_is_kept(eager):
    result = speed.run(speed.Trial("small", 1, compiled=(), **QUICK), Path())
    assert all(len(row["seconds"]) == speed.ROUNDS for row in result["rows"])
    assert {"odenet", "odenet compiled", "evaluations alone"} <= set(result["euler"])


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_the_compiler_has_a_folder_of_its_own_while_it_is_timed(monkeypatch, before):
    name = "TORCHINDUCTOR_CACHE_DIR"
    monkeypatch.setenv(name, "elsewhere")
    if before is None:
        monkeypatch.delenv(name)
    with pytest.raises(KeyboardInterrupt), own_cache():
        folder = Path(os.environ[name])
        assert folder.is_dir() and folder.name != "elsewhere"
        raise KeyboardInterrupt
    assert os.environ.get(name) == before


def test_a_way_that_cannot_be_compiled_is_left_out_with_its_reason(monkeypatch):
    class Uncompiled:
        keeps = False

        def __call__(self, *_):
            raise CannotCompile("no compiler here")

    monkeypatch.setattr(speed_ways, "Compiled", lambda rule="checkpoint": Uncompiled())
    result = speed.run(speed.Trial("small", 1, **QUICK), Path())
    assert result["missing"] == {"odenet compiled": "no compiler here"}
    kept = {row["way"] for row in result["rows"]}
    assert "odenet" in kept and "odenet compiled" not in kept | set(result["euler"])


def test_as_many_evaluations_alone_as_in_our_solve(eager):
    work = task("small", 1, 0)
    calls = []
    work.field.register_forward_hook(lambda *_: calls.append(1))
    ways = speed_ways.forward_ways("small", work)
    ways["odenet"](1e-4)
    solved = len(calls)
    ways["evaluations alone"](1e-4)  # counts them in a solve of its own
    del calls[:]
    ways["evaluations alone"](1e-4)
    assert len(calls) == solved > 10


def test_calls_take_turns_until_each_was_timed_enough(monkeypatch):
    monkeypatch.setattr(speed.time, "perf_counter", itertools.count().__next__)  # a second a look
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = speed.interleaved(calls, rounds=9, enough=5.0)
    assert order == list("ab" * 5)
    assert times == {"a": [1] * 5, "b": [1] * 5}


def test_a_time_is_a_mean_over_the_calls_of_a_turn(monkeypatch):
    step = speed.TURN / 3.5
    seconds = itertools.count(step=step)
    monkeypatch.setattr(speed.time, "perf_counter", seconds.__next__)
    made = []
    times = speed.interleaved({"quick": lambda: made.append(1)}, rounds=3, enough=1.0)
    assert len(made) == 3 * 4
    assert times["quick"] == pytest.approx([step] * 3)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no choice of cores here")
def test_one_core_is_given_back():
    before = torch.get_num_threads(), os.sched_getaffinity(0)
    with pytest.raises(KeyError), speed.one_core():
        assert torch.get_num_threads() == len(os.sched_getaffinity(0)) == 1
        raise KeyError
    assert (torch.get_num_threads(), os.sched_getaffinity(0)) == before


def test_a_task_is_the_same_for_the_same_seed_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    first, again, other = task("flow", 1, 0), task("flow", 1, 0), task("flow", 1, 1)
    assert torch.equal(first.y0, again.y0) and not torch.equal(first.y0, other.y0)
    assert all(map(torch.equal, first.parameters, again.parameters))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_trace_of_the_flow_is_that_of_its_jacobian():
    work = task("flow", 1, 0)
    state = work.y0[:3]
    jacobian = torch.func.jacrev(lambda z: work.field(0.0, torch.cat((z, state[:, 2:]), 1)))
    slopes = jacobian(state[:, :2])[:, :2]  # of each point's slope, for each point
    traces = torch.stack([slopes[i, :, i].trace() for i in range(3)])
    torch.testing.assert_close(work.field(0.0, state)[:, 2], -traces)


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match="unknown task 'large'; known: small"):
        task("large", 1, 0)


@pytest.mark.skipif(not speed_jax.INSTALLED, reason="diffrax is not installed")
@pytest.mark.parametrize("name", TASKS)
def test_the_fields_in_jax_are_those_in_pytorch(name):
    work = task(name, 1, 0)
    arrays = [x.detach().numpy() for x in (work.y0, *work.parameters)]
    with torch.no_grad():
        expected = work.field(0.3, work.y0).numpy()
    found = np.asarray(speed_jax.SLOPES[name](0.3, arrays[0], arrays[1:]))
    np.testing.assert_allclose(found, expected, atol=2e-5)


RESULT = {
    "rows": [
        {"way": "fast", "tolerance": 1e-3, "seconds": [1.0, 2.0, 1.0, 1.0, 1.0]},
        {"way": "slow", "tolerance": 1e-3, "seconds": [3.0, 6.0, 3.0]},
        {"way": "slow", "tolerance": 1e-5, "seconds": [9.0]},
    ],
    "first": {"fast": 10.0, "slow": 4.0},
}


def test_ratios_are_taken_round_by_round():
    assert speed_ratios.ratio(RESULT, "slow", "fast", 1e-3).tolist() == [3, 3, 3]
    assert speed_ratios.ratio(RESULT, "slow", "other", 1e-3) is None
    assert speed_ratios.ratio(RESULT, "slow", "fast", 1e-5) is None


def test_compiling_pays_after_as_many_solves_as_it_took_of_their_gain():
    assert speed_ratios.payback(RESULT, "fast", "slow", 1e-3) == 10 / (3 - 1)
    assert speed_ratios.payback(RESULT, "slow", "fast", 1e-3) == float("inf")
    assert speed_ratios.payback(RESULT, "other", "slow", 1e-3) is None


@pytest.mark.parametrize(
    ("quartiles", "verdict"),
    [((0.8, 0.9, 1.0), "yes"), ((0.9, 1.0, 1.1), "on the edge"), ((1.1, 1.2, 1.3), "no")],
)
def test_a_goal_is_met_or_missed_where_both_quartiles_say_so(quartiles, verdict):
    assert speed_ratios.judged(quartiles, 1.0) == verdict
