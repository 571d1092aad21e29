"""The latent ODE and the recurrent baselines: directions, likelihoods and roll-outs."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from odenet.models.latent import RNN, LatentODE, gaussian_nll


def curves(n: int, observed: int) -> SimpleNamespace:
    """Points seen at so many of the first 100 of 200 times, another choice for each curve."""
    generator = torch.Generator().manual_seed(0)
    ts = torch.arange(200) / 10
    index = torch.rand(n, 100, generator=generator).argsort(1)[:, :observed].sort(1).values
    values = torch.randn(n, observed, 2, generator=generator)
    return SimpleNamespace(ts=ts, index=index, times=ts[index], values=values)


CURVES = curves(6, observed=10)
WINDOW = CURVES.ts[:100]


def test_sizes_are_the_papers():
    model = LatentODE()
    assert [p.shape for p in model.field.parameters()] == [(20, 4), (20,), (4, 20), (4,)]
    assert [p.shape for p in model.decoder.parameters()] == [(20, 4), (20,), (2, 20), (2,)]
    assert model.recognition.carry.weight.shape == (25, 25)


def test_recurrent_matrix_starts_orthogonal():
    matrix = RNN(gap=False).recurrence.carry.weight
    assert torch.allclose(matrix @ matrix.T, torch.eye(25), atol=1e-5)


def test_recognition_reads_the_first_observation_last():
    model = LatentODE()
    seen = []
    model.recognition.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.encode(CURVES.times, CURVES.values)
    (inputs,) = seen
    assert torch.equal(inputs[:, -1, :2], CURVES.values[:, 0])
    assert torch.equal(inputs[:, -1, 2], CURVES.times[:, 0])  # the gap to time 0
    assert torch.equal(inputs[:, 0, 2], CURVES.times[:, -1] - CURVES.times[:, -2])


def test_recognition_without_times_sees_the_values_alone():
    timed, untimed = LatentODE(), LatentODE(timed=False)
    later = CURVES.times + 0.5
    assert untimed.recognition.read.weight.shape == (25, 2)
    for model, told in ((timed, True), (untimed, False)):
        before, after = (model.encode(times, CURVES.values)[0] for times in (CURVES.times, later))
        assert torch.equal(before, after) is not told


def test_solve_of_the_window_takes_25_steps_of_rk4():
    curves, stats = LatentODE()(CURVES.times, CURVES.values, WINDOW)
    assert curves.shape == (6, 100, 2)
    assert (stats.forward.accepted, stats.forward.nfe) == (25, 100)


def loss(model: LatentODE, kl_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and the divergence from the prior of each curve's posterior."""
    value, _ = model.loss(
        CURVES.times,
        CURVES.values,
        ts=WINDOW,
        index=CURVES.index,
        noise=0.1,
        kl_weight=kl_weight,
        generator=torch.Generator().manual_seed(1),
    )
    mean, log_variance = model.encode(CURVES.times, CURVES.values)
    posterior = Normal(mean, (log_variance / 2).exp())
    return value, kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)


def test_loss_weighs_the_divergence_from_a_standard_normal_prior():
    model = LatentODE()
    without, kl = loss(model, 0.0)
    assert torch.allclose(loss(model, 1.0)[0] - without, kl.mean(), rtol=1e-4, atol=2e-2)


def test_loss_without_divergence_is_the_likelihood_at_the_observed_points():
    model = LatentODE()
    mean, log_variance = model.encode(CURVES.times, CURVES.values)
    draw = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    path, _ = model.latent(mean + draw * (log_variance / 2).exp(), WINDOW)
    decoded = model.decoder(path)[torch.arange(6)[:, None], CURVES.index]
    expected = -Normal(decoded, 0.1).log_prob(CURVES.values).sum((1, 2)).mean()
    assert torch.allclose(loss(model, 0.0)[0], expected)


def test_gaussian_nll_is_in_nats():
    nll = gaussian_nll(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0))
    assert nll.item() == pytest.approx(math.log(2 * math.pi) / 2)


def test_gap_tells_the_rnn_when_the_next_observation_comes():
    later = CURVES.times + torch.arange(10)
    plain, told = RNN(gap=False), RNN(gap=True)
    assert torch.equal(plain(CURVES.times, CURVES.values)[0], plain(later, CURVES.values)[0])
    assert not torch.equal(told(CURVES.times, CURVES.values)[0], told(later, CURVES.values)[0])


def told(model: RNN | LatentODE) -> torch.Tensor:
    """What the recurrence of a model sees of the curves."""
    encodes = isinstance(model, LatentODE)
    seen, part = [], model.recognition if encodes else model.recurrence
    part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    (model.encode if encodes else model)(CURVES.times, CURVES.values)
    return seen[0]


def test_an_rnn_with_gap_and_clock_is_told_what_the_encoder_is():
    backward, forward = told(LatentODE()).flip(1), told(RNN(gap=True, clock=True))
    assert torch.equal(forward[..., :2], backward[:, :-1, :2])
    assert torch.equal(forward[..., 2], backward[:, 1:, 2])  # each gap from its other end
    assert torch.equal(forward[..., 3], backward[:, :-1, 3])
    assert torch.equal(told(RNN(gap=True)), forward[..., :3])


def test_rnn_predicts_each_observation_from_those_before_it_alone():
    model = RNN(gap=True)
    changed = CURVES.values.clone()
    changed[:, 4] += 1
    before, after = (model(CURVES.times, v)[0] for v in (CURVES.values, changed))
    differs = (before - after).abs().amax((0, 2)) > 0
    assert differs.tolist() == [False] * 4 + [True] * 5


@pytest.mark.parametrize("clock", [False, True])
def test_first_steps_of_the_roll_out_are_predictions_after_the_last_observation(clock):
    model, stride = RNN(gap=True, clock=clock), 0.5
    times, values = CURVES.times[:1], CURVES.values[:1]
    after = (times[:, -1:] + stride * torch.arange(1, 3)).double().float()
    rolled = model.extrapolate(times, values, after[0], stride)
    first = model(torch.cat((times, after[:, :1]), 1), torch.cat((values, values[:, :1]), 1))[0]
    assert torch.allclose(rolled[:, 0], first[:, -1], atol=1e-4)
    fed_back = torch.cat((values, rolled[:, :1], values[:, :1]), 1)
    second = model(torch.cat((times, after), 1), fed_back)[0]
    assert torch.allclose(rolled[:, 1], second[:, -1], atol=1e-4)


def test_roll_out_is_a_straight_line_between_steps():
    model, last = RNN(gap=False), CURVES.times[:1, -1]
    ts = last + torch.tensor([0.5, 0.75, 1.0])
    left, middle, right = model.extrapolate(CURVES.times[:1], CURVES.values[:1], ts, 0.5)[0]
    assert torch.allclose(middle, (left + right) / 2, atol=1e-5)


@pytest.mark.parametrize("gap", [True, False])
def test_a_curve_that_was_seen_once_leaves_the_rnn_nothing_to_predict(gap):
    model, one = RNN(gap), curves(3, observed=1)
    mean, log_std = model(one.times, one.values)
    assert mean.shape == log_std.shape == (3, 0, 2)
    loss = model.loss(one.times, one.values)
    loss.backward()
    assert loss.item() == 0 and not model.head.weight.grad.any()
    assert model.extrapolate(one.times, one.values, CURVES.ts[100:], 0.1).shape == (3, 100, 2)


@pytest.mark.parametrize("ts", [[9.0, 12.0], [12.0, 11.0]])
def test_a_roll_out_to_before_the_last_observation_or_back_is_refused(ts):
    late = CURVES.times + 9.5 - CURVES.times[:, -1:]
    with pytest.raises(ValueError, match="ts must rise from the last observation on, .* at 9.5"):
        RNN(gap=True).extrapolate(late, CURVES.values, torch.tensor(ts), 0.1)


def test_a_roll_out_starts_at_the_last_observation():
    last, values = CURVES.times[:1, -1], CURVES.values[:1]
    rolled = RNN(gap=True).extrapolate(CURVES.times[:1], values, last, 0.1)
    assert torch.allclose(rolled[:, 0], values[:, -1])


@pytest.mark.parametrize("stride", [0.0, -0.1, math.nan])
def test_a_stride_that_leads_nowhere_is_refused(stride):
    with pytest.raises(ValueError, match="stride must be above 0"):
        RNN(gap=True).extrapolate(CURVES.times, CURVES.values, CURVES.ts[100:], stride)


@pytest.mark.parametrize(
    ("times", "values"), [((3, 0), (3, 0, 2)), ((10,), (3, 10, 2)), ((3, 9), (3, 10, 2))]
)
def test_observations_of_other_shapes_are_refused(times, values):
    seen = torch.zeros(times), torch.zeros(values)
    for model in (LatentODE(), LatentODE(timed=False)):
        with pytest.raises(ValueError, match=r"times must be \(batch, observed\)"):
            model(*seen, WINDOW)
    for model in (RNN(gap=True), RNN(gap=False)):
        with pytest.raises(ValueError, match=r"times must be \(batch, observed\)"):
            model.loss(*seen)
        with pytest.raises(ValueError, match=r"times must be \(batch, observed\)"):
            model.extrapolate(*seen, CURVES.ts[100:], 0.1)


def test_places_that_all_curves_share_may_be_given_once():
    model, index = LatentODE(), torch.arange(0, 100, 10)
    times, values = WINDOW[index].repeat(6, 1), CURVES.values

    def loss(index):
        generator, weights = torch.Generator().manual_seed(1), {"noise": 0.1, "kl_weight": 1.0}
        seen = {"ts": WINDOW, "index": index, "generator": generator}
        return model.loss(times, values, **seen, **weights)[0]

    assert loss(index[None]) == loss(index) == loss(index.repeat(6, 1))


LOSS = {"index": CURVES.index, "noise": 0.1, "kl_weight": 1.0, "generator": torch.Generator()}


@pytest.mark.parametrize("noise", [0.0, -0.1, math.nan])
def test_noise_that_is_no_standard_deviation_is_refused(noise):
    with pytest.raises(ValueError, match="noise, a standard deviation, must be above 0"):
        LatentODE().loss(CURVES.times, CURVES.values, ts=WINDOW, **LOSS | {"noise": noise})


@pytest.mark.parametrize("call", [LatentODE.forward, partial(LatentODE.loss, **LOSS)])
def test_a_latent_path_begins_at_time_0(call):
    with pytest.raises(ValueError, match=r"ts must begin at 0, the time of z\(0\), got 0.1"):
        call(LatentODE(), CURVES.times, CURVES.values, ts=CURVES.ts[1:])
