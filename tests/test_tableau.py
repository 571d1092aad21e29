"""The tables of the methods: exact order conditions and self-consistency."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement

import pytest

from odenet.solvers import TABLEAUS, Tableau

BY_NAME = {tableau.name: tableau for tableau in TABLEAUS}

Tree = tuple  # a rooted tree is the sorted tuple of its subtrees


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with ``order`` nodes (Hairer, Norsett, Wanner: Solving ODEs I, II.2)."""
    if order == 1:
        return ((),)
    return tuple({tuple(sorted(forest)) for forest in forests(order - 1)})


@cache
def forests(nodes: int) -> tuple[tuple[Tree, ...], ...]:
    if nodes == 0:
        return ((),)
    smaller = [(n, t) for n in range(1, nodes + 1) for t in trees(n)]
    return tuple(
        tuple(t for _, t in chosen)
        for count in range(1, nodes + 1)
        for chosen in combinations_with_replacement(smaller, count)
        if sum(n for n, _ in chosen) == nodes
    )


def nodes(tree: Tree) -> int:
    return 1 + sum(map(nodes, tree))


def density(tree: Tree) -> int:
    product = nodes(tree)
    for subtree in tree:
        product *= density(subtree)
    return product


def stage_weights(tableau: Tableau, tree: Tree) -> list[Fraction]:
    """The elementary weight of the tree at each stage."""
    weights = [Fraction(1)] * tableau.stages
    for subtree in tree:
        inner = stage_weights(tableau, subtree)
        sums = [
            sum((a * w for a, w in zip(row, inner, strict=False)), Fraction(0)) for row in tableau.a
        ]
        weights = [w * s for w, s in zip(weights, sums, strict=True)]
    return weights


def defect(tableau: Tableau, weights, tree: Tree) -> Fraction:
    values = stage_weights(tableau, tree)
    return sum(b * v for b, v in zip(weights, values, strict=True)) - Fraction(1, density(tree))


def test_number_of_trees_is_the_known_one():
    assert [len(trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda m: m.name)
def test_order_conditions_hold_exactly_and_end_at_the_order(tableau):
    for order in range(1, tableau.order + 1):
        assert all(defect(tableau, tableau.b, tree) == 0 for tree in trees(order))
    assert any(defect(tableau, tableau.b, tree) for tree in trees(tableau.order + 1))


@pytest.mark.parametrize("name", ["bosh3", "dopri5"])
def test_embedded_solution_is_one_order_lower(name):
    tableau = BY_NAME[name]
    for order in range(1, tableau.order):
        assert all(defect(tableau, tableau.b_embedded, tree) == 0 for tree in trees(order))
    assert any(defect(tableau, tableau.b_embedded, tree) for tree in trees(tableau.order))


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda m: m.name)
def test_dense_output_has_its_order_at_every_time(tableau):
    """The condition of a tree with r nodes is sum b_i(theta) phi_i = theta^r / gamma."""
    for order in range(1, tableau.dense_order + 1):
        for tree in trees(order):
            values = stage_weights(tableau, tree)
            for power in range(len(tableau.dense[0])):
                got = sum(row[power] * v for row, v in zip(tableau.dense, values, strict=True))
                assert got == (Fraction(1, density(tree)) if power + 1 == order else 0)


def test_fsal_is_derived():
    assert {m.name for m in TABLEAUS if m.fsal} == {"bosh3", "dopri5"}


def test_dopri5_error_estimate_is_two_thirds_of_the_published_pair():
    published = [
        Fraction(x) for x in "5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40".split()
    ]
    dopri5 = BY_NAME["dopri5"]
    ours = [b - e for b, e in zip(dopri5.b, dopri5.b_embedded, strict=True)]
    theirs = [b - e for b, e in zip(dopri5.b, published, strict=True)]
    assert ours == [Fraction(2, 3) * e for e in theirs]


@pytest.mark.parametrize(
    ("table", "dense", "message"),
    [
        ("0 |\n1/2 | 1/3\n | 0 1", "1 -1\n0 1", "stage 2"),
        ("0 |\n1/2 | 1/2\n | 0 1/2", "1 -1\n0 1", "weights"),
        ("0 |\n1/2 | 1/2\n | 0 1", "1 -1\n0 2", "dense output"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(table, dense, message):
    with pytest.raises(ValueError, match=message):
        Tableau.parse("wrong", order=2, dense_order=2, source="", table=table, dense=dense)
