"""The tables of the methods: exact order conditions and self-consistency."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement

import pytest

from odenet.solvers import TABLEAUS, Tableau

BY_NAME = {tableau.name: tableau for tableau in TABLEAUS}
# Their coefficients are printed as decimals or rounded rationals: exact to about 1e-14.
ROUNDED = {"tsit5": 2e-14, "dopri8": 1e-15}

Tree = tuple  # a rooted tree is the tuple of its subtrees, the larger ones first


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with ``order`` nodes (Hairer, Norsett, Wanner: Solving ODEs I, II.2)."""
    return tuple(forests(order - 1, order - 1))


@cache
def forests(total: int, largest: int) -> tuple[tuple[Tree, ...], ...]:
    """All multisets of trees of at most ``largest`` nodes each, ``total`` nodes together."""
    if total == 0:
        return ((),)
    return tuple(
        (*chosen, *rest)
        for count in range(total // largest + 1 if largest else 0)
        for chosen in combinations_with_replacement(trees(largest), count)
        for rest in forests(total - count * largest, largest - 1)
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
    assert [len(trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda m: m.name)
def test_order_conditions_hold_exactly_and_end_at_the_order(tableau):
    slack = ROUNDED.get(tableau.name, 0)
    for order in range(1, tableau.order + 1):
        assert all(abs(defect(tableau, tableau.b, tree)) <= slack for tree in trees(order))
    assert any(abs(defect(tableau, tableau.b, tree)) > 1e-7 for tree in trees(tableau.order + 1))


@pytest.mark.parametrize("tableau", [m for m in TABLEAUS if m.b_embedded], ids=lambda m: m.name)
def test_embedded_solution_is_one_order_lower(tableau):
    slack, weights = ROUNDED.get(tableau.name, 0), tableau.b_embedded
    for order in range(1, tableau.order):
        assert all(abs(defect(tableau, weights, tree)) <= slack for tree in trees(order))
    assert any(abs(defect(tableau, weights, tree)) > 1e-7 for tree in trees(tableau.order))


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda m: m.name)
def test_dense_output_has_its_order_at_every_time(tableau):
    """The condition of a tree with r nodes is sum b_i(theta) phi_i = theta^r / gamma."""
    for order in range(1, tableau.dense_order + 1):
        for tree in trees(order):
            values = stage_weights(tableau, tree)
            for power in range(len(tableau.dense[0])):
                got = sum(row[power] * v for row, v in zip(tableau.dense, values, strict=True))
                expected = Fraction(1, density(tree)) if power + 1 == order else 0
                assert abs(got - expected) <= ROUNDED.get(tableau.name, 0)


def test_fsal_is_derived():
    assert {m.name for m in TABLEAUS if m.fsal} == {"bosh3", "dopri5", "tsit5", "dopri8"}


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
