"""Which flow is closer: on results whose ratios are known beforehand."""

from dataclasses import replace
from statistics import fmean

import pytest

from replication.chapters.flows import analysis, training
from replication.chapters.flows.trials import energies


def result(kl, *, seconds=1.0, steps=1, error=0.0, first=0):
    """With a divergence for each seed from the first on."""
    flows = [
        {"seed": first + i, "kl": value, "kl_tight": value / (i + 1), "error": error}
        for i, value in enumerate(kl)
    ]
    curve = {"step": [0, steps], "nfe": [20, 26 + first]}
    return {"flows": flows, "seconds": seconds, "curve": curve, "parameters": 5}


def contest(ours, theirs, steps=10):
    """Sizes 2 and 8; the planar flow's divergences by size and budget, one second a step."""
    continuous = {("U1", n): result(ours, steps=steps) for n in (2, 8)}
    planar = {("U1", n, k): result(kl, steps=k) for n in (2, 8) for k, kl in theirs[n].items()}
    return analysis.Contest(continuous, planar)


CONTEST = contest(
    [0.1, 0.4],
    {
        2: {1: [0.8, 3.2], 10: [0.4, 1.6], 50: [0.2, 0.8]},
        8: {1: [0.4, 1.6], 10: [0.1, 0.4], 50: [0.05, 0.05]},
    },
)


def test_ratios_are_geometric_means_over_cells_and_leads_over_seeds():
    assert CONTEST.ratios(50) == pytest.approx([1, (2 / 8) ** 0.5])
    assert CONTEST.leads(50) == pytest.approx({("U1", 2): 2, ("U1", 8): (1 / 16) ** 0.5})


def test_the_second_solve_judges_both_flows_anew():
    apart = contest([0.1, 0.4], {2: {1: [0.1, 0.4]}, 8: {1: [0.2, 0.8]}})
    assert apart.exact().ours(("U1", 2)) == pytest.approx([0.1, 0.2])
    assert apart.exact().theirs(("U1", 8), 1) == pytest.approx([0.2, 0.4])


def test_a_cell_is_won_by_the_continuous_flow_where_the_planar_one_is_farther():
    assert CONTEST.won(1) == [("U1", 2), ("U1", 8)]
    assert CONTEST.won(10) == [("U1", 2)], "equal is not won"
    assert CONTEST.won(50) == [("U1", 2)]


def test_the_share_of_cells_is_taken_seed_by_seed():
    assert CONTEST.shares(1) == [1, 1]
    assert CONTEST.shares(10) == [0.5, 0.5], "equal is not won"
    apart = contest([0.1, 0.4], {2: {1: [0.2, 0.2]}, 8: {1: [0.2, 0.8]}})
    assert apart.shares(1) == [1, 0.5]


@pytest.mark.parametrize(("steps", "leads"), [(10, [4, 1]), (1000, [2, 0.25]), (0.1, [8, 4])])
def test_equal_time_is_read_off_between_the_budgets_and_not_beyond_them(steps, leads):
    there = replace(CONTEST, continuous=contest([0.1, 0.4], {2: {}, 8: {}}, steps).continuous)
    assert list(there.leads(analysis.EQUAL_TIME).values()) == pytest.approx(leads)


def test_between_two_budgets_both_axes_are_logarithmic():
    there = replace(CONTEST, continuous=contest([0.1, 0.4], {2: {}, 8: {}}, 10**0.5).continuous)
    assert there.theirs(("U1", 2), analysis.EQUAL_TIME)[0] == pytest.approx((0.8 * 0.4) ** 0.5)


def test_of_several_trainings_of_a_seed_the_best_counts_and_no_better_than_its_error():
    flows = [
        {"seed": seed, "kl": kl, "error": 0.02}
        for kl, seed in ((0.3, 5), (0.1, 5), (0.01, 6), (0.2, 6))
    ]
    found = analysis.Contest({("U1", 2): {"flows": flows}}, {})
    assert found.ours(("U1", 2)) == [0.1, 0.02]


def test_parts_have_three_seeds_at_most_and_their_results_join_to_one():
    parts = training.parts(energies.Trial(seed=100, seeds=5))
    assert [(part.seed, part.seeds) for part in parts] == [(100, 3), (103, 2)]
    joined = analysis.joined([result([1, 2, 3], seconds=1), result([4, 5], seconds=2, first=3)])
    assert [flow["kl"] for flow in joined["flows"]] == [1, 2, 3, 4, 5]
    assert joined["seconds"] == 1.5 and joined["curve"]["nfe"] == [[20, 26], [20, 29]]
    assert joined["parameters"] == 5


def test_the_flows_of_a_seed_are_taken_together():
    flows = [{"seed": seed, "value": value} for seed, value in ((1, 2.0), (0, 1.0), (1, 4.0))]
    assert analysis.by_seed(flows, lambda flow: flow["value"], fmean) == [1, 3]


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"sizes": [8, 2]}, r"sizes = \[8, 2\] must rise.*try \[2, 8\]"),
        ({"sizes": [8, 8]}, r"each size given once: try \[8\]"),
        ({"layer_iterations": 9}, "layer_iterations = 9 is less than fit_iterations = 10"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong, advice):
    sound = {"sizes": [2, 8], "fit_iterations": 10, "layer_iterations": 10}
    analysis.check_settings(**sound)
    with pytest.raises(ValueError, match=advice):
        analysis.check_settings(**{**sound, **wrong})
