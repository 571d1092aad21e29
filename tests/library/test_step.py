"""A single step: where the field is evaluated, and what the dense output returns."""

from __future__ import annotations

import pytest
import torch

from odenet import FixedSteps, steps
from odenet.solvers import TABLEAUS, SlopeHistory, rk_step
from odenet.solvers.tables import DOPRI5, RK4

ALL = pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda m: m.name)


def start(k):
    return SlopeHistory((0.0,), (k,))


class Recorder:
    """A stub field that returns chosen slopes and remembers where it was asked."""

    def __init__(self, slopes):
        self.slopes = iter(slopes)
        self.calls = []

    def __call__(self, t, y):
        self.calls.append((t, y.clone()))
        return next(self.slopes)


@ALL
def test_the_field_is_evaluated_at_the_nodes_and_stages_of_the_table(tableau):
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(tableau.stages, 3, dtype=torch.float64, generator=generator)
    y, t, h = torch.ones(3, dtype=torch.float64), 2.0, 0.5
    field = Recorder(slopes[1:])
    step = rk_step(tableau, field, t, t + h, y, start(slopes[0]))
    for i, (at, point) in enumerate(field.calls, start=1):
        assert at == pytest.approx(t + float(tableau.c[i]) * h, abs=1e-15)
        expected = y + h * sum(float(a) * k for a, k in zip(tableau.a[i], slopes, strict=False))
        torch.testing.assert_close(point, expected)
    weights = torch.tensor([float(b) for b in tableau.b], dtype=torch.float64)
    torch.testing.assert_close(step.y1, y + h * weights @ slopes)
    assert len(field.calls) == tableau.stages - 1


@ALL
def test_dense_output_meets_both_ends_of_the_step(tableau):
    def field(t, y):
        return torch.cos(y) + t

    y = torch.tensor([0.3, -1.0], dtype=torch.float64)
    step = rk_step(tableau, field, 0.0, 0.1, y, start(field(0.0, y)))
    inside = step([0.0, 0.05, 0.1])
    assert inside.shape == (3, 2)
    torch.testing.assert_close(inside[0], y, rtol=0, atol=0)
    assert torch.equal(inside[2], step.y1)
    torch.testing.assert_close(step([0.1 - 1e-12])[0], step.y1, rtol=0, atol=1e-11)


@ALL
@pytest.mark.parametrize("theta", [0.3, 0.7])
def test_dense_output_converges_with_its_order(tableau, theta):
    """The local error inside a step of size h falls like h^(dense order + 1)."""

    def field(t, y):
        return y * torch.cos(torch.tensor(t, dtype=y.dtype))

    def error(h):
        y = torch.ones(1, dtype=torch.float64)
        step = rk_step(tableau, field, 0.4, 0.4 + h, y, start(field(0.4, y)))
        t = torch.tensor(0.4 + theta * h, dtype=torch.float64)
        exact = torch.exp(torch.sin(t) - torch.sin(torch.tensor(0.4, dtype=torch.float64)))
        return float((step([0.4 + theta * h])[0] - exact).abs())

    observed = torch.log2(torch.tensor(error(0.1) / error(0.05)))
    assert observed > tableau.dense_order + 1 - 0.35


def test_error_estimate_is_the_difference_of_the_two_solutions():
    def field(t, y):
        return torch.sin(y) * t

    y = torch.tensor([1.0, 2.0], dtype=torch.float64)
    step = rk_step(DOPRI5, field, 0.5, 0.9, y, start(field(0.5, y)))
    embedded = y + step.h * sum(
        float(e) * k for e, k in zip(DOPRI5.b_embedded, step.slopes, strict=True)
    )
    torch.testing.assert_close(step.error(), step.y1 - embedded, rtol=1e-10, atol=1e-14)


def test_a_method_without_estimate_has_no_error():
    step = rk_step(RK4, lambda t, y: y, 0.0, 1.0, torch.ones(1), start(torch.ones(1)))
    with pytest.raises(TypeError, match="no error estimate"):
        step.error()


@pytest.mark.parametrize("end", [0.5, -0.5])
def test_a_step_is_read_within_its_ends_alone(end):
    (step,) = steps(lambda t, y: -y, torch.ones(1), (0.0, end), "rk4", FixedSteps())
    assert step([0.0, end / 2, end]).shape == (3, 1)
    for times in ([], [2 * end], [end / 2, -end]):
        with pytest.raises(ValueError, match="times must lie within"):
            step(times)


def test_a_step_of_scipys_methods_is_read_at_its_ends_alone():
    (step,) = steps(lambda t, y: -y, torch.ones(1), (0.0, 0.5), "scipy_vode")
    assert torch.equal(step([0.0, 0.5]), torch.stack((step.y0, step.y1)))
    with pytest.raises(ValueError, match="no dense output"):
        step([0.25])
