"""The page "Coming from torchdiffeq", sentence by sentence and row by row.

torchdiffeq is not asked here: what is tested is what the page says of odenet, by known values.
"""

import math
import re
import warnings
from pathlib import Path

import pytest
import torch
from problems import TS, Y0, Field, decay
from torch import nn

from odenet import (
    METHODS,
    Adaptive,
    FixedSteps,
    SolveError,
    Solver,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    solve,
)
from odenet.torchdiffeq import ADAPTIVE, FIXED, SCIPY

PAGE = (Path(__file__).parents[2] / "book/torchdiffeq.md").read_text()
SPAN = torch.tensor([0.0, 1.0], dtype=torch.float64)
ENDS = math.exp(-1)
START = torch.zeros((), dtype=torch.float64)


def ones(*shape, grad=False):
    return torch.ones(shape, dtype=torch.float64, requires_grad=grad)


class Decay(nn.Module):
    """dy/dt = -rate y, which notes its calls."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.times = []

    def forward(self, t, y):
        self.times.append(t.detach())
        return -self.rate * y


class Watched(Decay):
    """Notes the steps, forwards and backwards."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def callback_step(self, t, y, dt):
        self.seen.append(("step", float(t), float(dt), y))

    def callback_accept_step(self, t, y, dt):
        self.seen.append(("accept", float(t), float(dt), y))

    def callback_reject_step(self, t, y, dt):
        self.seen.append(("reject", float(t), float(dt), y))

    def callback_step_adjoint(self, t, y, dt):
        self.seen.append(("step_adjoint", float(t), float(dt), y))

    def callback_accept_step_adjoint(self, t, y, dt):
        self.seen.append(("accept_adjoint", float(t), float(dt), y))

    def callback_reject_step_adjoint(self, t, y, dt):
        self.seen.append(("reject_adjoint", float(t), float(dt), y))


def nfe(**settings):
    field = Decay()
    odeint(field, ones(1), settings.pop("t", SPAN), **settings)
    return len(field.times)


def accepted(t=SPAN, **settings):
    """Starts and lengths of the accepted steps."""
    field = Watched()
    odeint(field, ones(1), t, **settings)
    return [(s, dt) for name, s, dt, _ in field.seen if name == "accept"]


# What is the same: the call


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_the_time_is_a_tensor_in_the_real_precision_of_the_state(dtype):
    times = []
    odeint(lambda t, y: (times.append(t), -y)[1], torch.ones(2, dtype=dtype), SPAN)
    assert {t.dtype for t in times} == {dtype.to_real()} and {t.shape for t in times} == {()}


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_states_are_tensors_or_tuples_real_or_complex_as_are_parameters(interface):
    class Turn(nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(1j, dtype=torch.complex128))

        def forward(self, t, state):
            x, z = state
            return -x, self.rate * z

    field = Turn()
    x, z = interface(field, (ones(3), torch.ones((), dtype=torch.complex128)), SPAN)
    torch.testing.assert_close(x[-1], ENDS * ones(3))
    assert z[-1].item() == pytest.approx(complex(math.cos(1), math.sin(1)), abs=1e-6)
    z[-1].real.backward()  # e^(rate t), whose derivative is conjugated
    assert field.rate.grad.item() == pytest.approx(complex(math.cos(1), -math.sin(1)), abs=1e-6)


def test_times_rise_or_fall_and_are_the_first_dimension():
    up = odeint(decay, Y0, TS)
    assert up.shape == (len(TS), *Y0.shape)
    torch.testing.assert_close(odeint(decay, up[-1], TS.flip(0)).flip(0), up, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "scipy_solver"])
def test_a_single_time_gives_the_start(method):
    assert torch.equal(odeint(decay, Y0, TS[:1], method=method), Y0[None])


def test_a_slope_of_another_precision_is_brought_to_the_states():
    ys = odeint(lambda t, y: -y.double(), torch.ones(2), SPAN)
    assert ys.dtype == torch.float32 and ys[-1, 0].item() == pytest.approx(ENDS, rel=1e-6)


def test_tolerances_are_numbers_tensors_or_tuples_and_one_may_be_zero():
    def both(t, state):
        return -state[0], -state[1]

    pair = (ones(2), ones(3))
    for tolerance in (1e-6, torch.tensor(1e-6), (1e-6, torch.full((3,), 1e-6))):
        ys = odeint(both, pair, SPAN, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(ys[1][-1], ENDS * ones(3), rtol=0, atol=1e-5)
    for tolerances in ({"rtol": 0, "atol": 1e-6}, {"rtol": torch.full((2,), 1e-6), "atol": 0}):
        ys = odeint(decay, ones(2), SPAN, **tolerances)
        torch.testing.assert_close(ys[-1], ENDS * ones(2), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="one of rtol and atol must be above zero"):
        odeint(decay, ones(2), SPAN, rtol=0, atol=0)


def test_the_error_of_a_tuple_is_the_largest_of_its_parts():
    def field(t, state):  # a large part that rests, and a small one that does not
        return torch.zeros_like(state[0]), -20 * (state[1] - torch.sin(10 * t))

    def flat(parts):
        return torch.cat([part.reshape(-1) for part in parts]).square().mean().sqrt()

    start = (ones(10_000), 0 * ones(1))
    exact = odeint(field, start, SPAN, rtol=1e-11, atol=1e-11)[1][-1]
    same = {"rtol": 1e-6, "atol": 1e-6}
    largest = odeint(field, start, SPAN, **same)[1][-1]
    averaged = odeint(field, start, SPAN, **same, options={"norm": flat})[1][-1]
    assert (largest - exact).abs() < 1e-6 < (averaged - exact).abs() / 10


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_gradients_reach_state_parameters_and_times(interface):
    field, y0, ts = Decay(), ones(1, grad=True), SPAN.clone().requires_grad_()
    interface(field, y0, ts)[-1].sum().backward()
    assert y0.grad.item() == pytest.approx(ENDS, rel=1e-6)
    assert field.rate.grad.item() == pytest.approx(-ENDS, rel=1e-6)
    torch.testing.assert_close(ts.grad, torch.tensor([ENDS, -ENDS]).double(), rtol=1e-5, atol=0)


# What is the same: methods


def named(head):
    """The names in the row of the table of methods that begins so; options are not among them."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| {head}"))
    return re.findall(r"`(\w+)`", row.split("|")[2].partition(", as its option")[0])


def order(method):
    """That with which the error falls, on a field that depends on time and state."""

    def field(t, y):
        return -y * torch.cos(t)

    sizes, exact = (0.05, 0.025), math.exp(-math.sin(1))
    ends = [
        odeint(field, ones(1), SPAN, method=method, options={"step_size": h})[-1].item()
        for h in sizes
    ]
    return math.log2(abs(ends[0] - exact) / abs(ends[1] - exact))


@pytest.mark.parametrize("method", named("steps between"))
def test_methods_with_fixed_steps_have_their_order(method):
    known = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3}
    assert order(method) == pytest.approx(known.get(method, 4), abs=0.3)


@pytest.mark.parametrize("method", named("adaptive steps"))
def test_adaptive_methods_keep_to_the_tolerance(method):
    tight = {"method": method, "rtol": 1e-7, "atol": 1e-7}
    assert odeint(decay, ones(1), SPAN, **tight)[-1].item() == pytest.approx(ENDS, abs=1e-5)
    assert nfe(**tight) > nfe(method=method, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", named("SciPy's"))
def test_scipys_solvers_are_an_option(solver):
    end = odeint(decay, ones(1), SPAN, method="scipy_solver", options={"solver": solver})[-1]
    assert end.item() == pytest.approx(ENDS, abs=1e-6)


def test_rk4_is_the_rule_of_three_eighths_and_fixed_adams_is_implicit_adams():
    ours = odeint(Field(), Y0, TS, method="rk4")
    torch.testing.assert_close(ours, solve(Field(), Y0, TS, Solver("rk4_38", FixedSteps())).ys)
    assert not torch.equal(ours, solve(Field(), Y0, TS, Solver("rk4", FixedSteps())).ys)
    both = (odeint(Field(), Y0, TS, method=name) for name in ("fixed_adams", "implicit_adams"))
    assert torch.equal(*both)


# What is the same: options


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("dopri5", "stepsize"),
        ("dopri5", "step_size"),
        ("rk4", "first_step"),
        ("rk4", "jump_t"),
        ("scipy_solver", "min_step"),
        ("scipy_solver", "safety"),
        ("scipy_vode", "ifactor"),
        ("scipy_lsoda", "dfactor"),
    ],
)
def test_an_option_that_a_method_does_not_know_is_a_warning(method, option):
    with pytest.warns(UserWarning, match=f"no option '{option}'") as warned:
        odeint(decay, Y0, TS, method=method, options={option: 0.1})
    assert warned[0].filename == __file__  # the line to be changed


def test_an_option_that_is_none_is_as_if_it_were_not_given():
    names = ("jump_t", "step_t", "norm", "first_step", "max_step", "max_num_steps", "stepsize")
    unset = odeint(decay, Y0, TS, options=dict.fromkeys(names))
    assert torch.equal(unset, odeint(decay, Y0, TS))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("first_step", -1.0),
        ("ifactor", 0.5),
        ("dfactor", 2.0),
        ("max_num_steps", 1.5),
        ("jump_t", math.nan),
        ("step_size", -0.1),
    ],
)
def test_an_error_of_an_option_calls_it_as_it_was_given(option, value):
    method = "rk4" if option == "step_size" else "dopri5"
    with pytest.raises((TypeError, ValueError), match=rf"\b{option}\b"):
        odeint(decay, Y0, TS, method=method, options={option: value})


def test_first_step_is_the_first_attempt():
    assert accepted(options={"first_step": 0.01})[0] == (0.0, 0.01)


@pytest.mark.parametrize("least", [0.25, 0.2])
def test_an_attempt_of_the_least_length_is_accepted(least):
    tight = {"rtol": 1e-13, "atol": 1e-13, "options": {"min_step": least, "max_num_steps": 99}}
    lengths = [dt for _, dt in accepted(**tight)]
    assert lengths == pytest.approx([least] * round(1 / least))


def test_no_attempt_is_longer_than_max_step():
    steps = accepted(rtol=0.1, atol=0.1, options={"max_step": 0.125})
    assert max(dt for _, dt in steps) <= 0.125 * (1 + 1e-9)


def test_max_num_steps_counts_from_one_output_to_the_next():
    long = torch.tensor([0.0, 10.0], dtype=torch.float64)
    with pytest.raises(SolveError, match="max_num_steps"):
        odeint(decay, ones(1), long, options={"max_num_steps": 9})
    ts = torch.linspace(0, 10, 101, dtype=torch.float64)
    for limit in (9, 9.0, torch.tensor(9)):
        assert len(odeint(decay, ones(1), ts, options={"max_num_steps": limit})) == 101


def test_the_next_length_follows_from_the_error_by_the_factors():
    loose = {"rtol": 1e-1, "atol": 1e-1}
    steps = accepted(**loose, options={"first_step": 1e-3, "ifactor": 2.0})
    assert [dt for _, dt in steps[:4]] == pytest.approx([1e-3, 2e-3, 4e-3, 8e-3])
    assert nfe(options={"safety": 0.3}) > nfe()

    def rejected(dfactor):
        field = Watched()
        settings = {"first_step": 1.0, "dfactor": dfactor}
        odeint(field, ones(1), SPAN, options=settings)
        return sum(name == "reject" for name, *_ in field.seen)

    assert rejected(0.9) > rejected(0.2)


def test_a_norm_takes_the_error_as_the_state_is():
    seen = []

    def norm(error):
        seen.append(error)
        return max(x.abs().max() for x in error) if isinstance(error, tuple) else error.abs().max()

    odeint(decay, ones(3), SPAN, options={"norm": norm})
    assert {tuple(x.shape) for x in seen} == {(3,)}
    seen.clear()
    odeint(lambda t, s: (-s[0], -s[1]), (ones(3), ones(2)), SPAN, options={"norm": norm})
    assert {tuple(len(x) for x in parts) for parts in seen} == {(3, 2)}


def pulse(t, y):
    return torch.where(t < 0.3, 1.0, -1.0) * torch.ones_like(y)


@pytest.mark.parametrize("option", ["jump_t", "step_t"])
@pytest.mark.parametrize("ts", [SPAN, SPAN.flip(0)], ids=["rising", "falling"])
def test_a_step_ends_at_each_jump(option, ts):
    for jump in (torch.tensor([0.3], dtype=torch.float64), [0.3]):
        end = odeint(pulse, 0 * ones(1), ts, options={option: jump})[-1].item()
        assert end == pytest.approx(-0.4 if ts[1] > 0 else 0.4, abs=1e-12)


def test_fixed_steps_end_where_step_size_or_grid_constructor_say():
    def grid(func, y0, t):
        return torch.tensor([0.0, 0.1, 0.4, 1.0], dtype=t.dtype)

    def starts(**options):
        field = Watched()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of callbacks that fixed steps do not call
            odeint(field, ones(1), SPAN, method="rk4", options=options)
        return [t for _, t, *_ in field.seen]

    assert starts(step_size=0.3) == pytest.approx([0.0, 0.3, 0.6, 0.9])
    assert starts(grid_constructor=grid) == pytest.approx([0.0, 0.1, 0.4])
    with pytest.raises(ValueError, match="together"):
        starts(step_size=0.3, grid_constructor=grid)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2", "rk4"])
def test_perturb_calls_the_field_beside_the_ends_of_a_step(method):
    field = Decay()
    ts = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    odeint(field, ones(1), ts, method=method, options={"perturb": True})
    assert not {0.0, 0.3, 1.0} & {t.item() for t in field.times}
    end = odeint(pulse, 0 * ones(1), ts, method=method, options={"perturb": True})[-1]
    assert end.item() == pytest.approx(-0.4)


# What is the same: the adjoint


def backward_calls(**settings):
    field = Decay()
    ys = odeint_adjoint(field, ones(1), SPAN, **settings)
    before = len(field.times)
    ys[-1].sum().backward()
    return len(field.times) - before


def test_the_backward_solve_has_settings_of_its_own():
    usual = backward_calls()
    assert backward_calls(adjoint_rtol=1e-3, adjoint_atol=1e-3) < usual
    assert backward_calls(rtol=1e-3, atol=1e-3) < usual  # by default as forwards
    assert backward_calls(adjoint_method="bosh3") > 2 * usual
    assert backward_calls(options={"max_step": 0.01}) > 600
    assert backward_calls(options={"max_step": 0.01}, adjoint_options={}) < 200
    with pytest.raises(ValueError, match="adjoint_options"):
        backward_calls(options={"max_step": 0.01}, adjoint_method="bosh3")


def test_adjoint_params_are_what_is_differentiated_and_a_plain_function_needs_them():
    rate = ones(1, grad=True)
    with pytest.raises(ValueError, match="adjoint_params"):
        odeint_adjoint(lambda t, y: -rate * y, ones(1), SPAN)
    ys = odeint_adjoint(lambda t, y: -rate * y, ones(1), SPAN, adjoint_params=(rate,))
    ys[-1].sum().backward()
    assert rate.grad.item() == pytest.approx(-ENDS, rel=1e-6)


class Forced(Decay):
    """The gradient of its parameter is quick where the state is not."""

    def forward(self, t, y):
        self.times.append(t)
        return (self.rate - 1) * torch.cos(50 * t) * torch.ones_like(y)


def test_backward_tolerances_are_in_units_of_the_loss_and_count_each_gradient():
    def calls(scale=1.0, **settings):
        field = Forced()
        ys = odeint_adjoint(field, ones(1), SPAN, **settings)
        before = len(field.times)
        (scale * ys[-1].sum()).backward()
        return len(field.times) - before

    assert calls(1e-6) < calls() / 2
    assert calls(adjoint_options={"norm": "seminorm"}) < calls() / 2


def test_a_norm_of_the_backward_solve_is_given_all_parts():
    class Pair(Decay):
        def forward(self, t, state):
            return -self.rate * state[0], -state[1]

    shapes = []

    def norm(parts):
        shapes.append([tuple(x.shape) for x in parts])
        assert parts[0] == 0
        return max(x.abs().max() for x in parts)

    ys = odeint_adjoint(Pair(), (ones(3), ones(2)), SPAN, adjoint_options={"norm": norm})
    ys[0][-1].sum().backward()
    assert shapes[0] == [(), (3,), (2,), (3,), (2,), ()]


# What is the same: events and callbacks


def ball(t, state):
    return state[1], torch.full_like(state[1], -9.8)


@pytest.mark.parametrize("reverse_time", [False, True])
@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_a_ball_falls_forwards_and_backwards(interface, reverse_time):
    settings = {"adjoint_params": ()} if interface is odeint_adjoint else {}
    time, (height, _) = odeint_event(
        ball,
        (ones(1), 0 * ones(1)),
        START,
        event_fn=lambda t, state: state[0],
        reverse_time=reverse_time,
        odeint_interface=interface,
        **settings,
    )
    assert abs(time.item()) == pytest.approx(math.sqrt(2 / 9.8), rel=1e-7)
    assert (time < 0) == reverse_time and height[-1].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("reverse_time", [False, True])
def test_an_event_is_looked_for_late_in_time(reverse_time):
    late = torch.tensor(2.0**24)  # to which single precision cannot add 1
    time, _ = odeint_event(
        lambda t, y: torch.ones_like(y),
        torch.zeros(1),
        late,
        event_fn=lambda t, y: y.abs() - 4,
        reverse_time=reverse_time,
    )
    assert time.item() - late.item() == (-4 if reverse_time else 4)


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_event_fn_stops_a_solve_at_its_first_crossing(interface):
    def half(t, y):
        return torch.stack((y[0] - 0.1, y[0] - 0.5))

    time, states = interface(Decay(), ones(1), SPAN, event_fn=half)
    assert time.item() == pytest.approx(math.log(2), rel=1e-6)
    assert states[-1].item() == pytest.approx(0.5)


def test_fixed_steps_need_a_size_to_search():
    def search(**settings):
        return odeint_event(
            decay, ones(1), START, event_fn=lambda t, y: y - 0.5, method="rk4", **settings
        )

    with pytest.raises(ValueError, match="step_size"):
        search()
    time, _ = search(options={"step_size": 0.1})
    assert time.item() == pytest.approx(math.log(2), abs=1e-5)


def test_callbacks_see_the_steps_forwards_and_backwards():
    field = Watched()
    start = (ones(2), ones(1))
    field.forward = lambda t, state: (-field.rate * state[0], -state[1])
    options = {"first_step": 1.0}  # which is refused
    odeint_adjoint(field, start, SPAN, options=options)[0][-1].sum().backward()
    name, t, dt, state = field.seen[0]
    assert (name, t, dt) == ("step", 0.0, 1.0) and torch.equal(state[0], start[0])
    assert len(state) == 2
    names = {name for name, *_ in field.seen}
    assert names == {
        f"{kind}{of}" for kind in ("step", "accept", "reject") for of in ("", "_adjoint")
    }


def test_a_callback_that_a_method_does_not_call_is_a_warning():
    with pytest.warns(UserWarning, match="callback_accept_step") as warned:
        odeint(Watched(), ones(1), SPAN, method="rk4")
    assert warned[0].filename == __file__  # the line to be changed


# What is the same: errors


@pytest.mark.parametrize(
    "call",
    [
        lambda: odeint(lambda t, y: y * y, ones(1), 2 * SPAN),
        lambda: odeint(decay, ones(1), [0.0, 1.0]),
        lambda: odeint(decay, ones(1), torch.tensor([0.0, 1.0, 0.5])),
        lambda: odeint(decay, ones(1), SPAN[None]),
        lambda: odeint(decay, ones(1), 10 * SPAN, options={"max_num_steps": 3}),
    ],
)
def test_errors_are_assertion_errors_too(call):
    with pytest.raises(AssertionError):
        call()


# What differs


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "dopri8"])
def test_the_last_step_ends_at_the_last_time(method):
    start, length = accepted(method=method)[-1]
    assert start + length == 1.0


@pytest.mark.parametrize("method", ["bosh3", "dopri5", "tsit5", "dopri8"])
def test_outputs_between_adaptive_steps_are_as_exact_as_their_ends(method):
    ts = torch.linspace(0, 3, 50, dtype=torch.float64)
    errors = odeint(decay, ones(1), ts, method=method, rtol=1e-6, atol=1e-6) - (-ts).exp()[:, None]
    assert errors.abs().max() < 5e-6
    lands = {t for t, _ in accepted(ts, method=method, rtol=1e-6, atol=1e-6)} >= set(
        ts[:-1].tolist()
    )
    assert lands == (method == "dopri8")


@pytest.mark.parametrize("options", [{}, {"interp": "linear"}, {"interp": "cubic"}])
def test_outputs_between_fixed_steps_are_the_methods_dense_output(options):
    ts = torch.tensor([0.0, 0.05, 1.0], dtype=torch.float64)
    ys = odeint(decay, ones(1), ts, method="rk4", options={"step_size": 0.1, **options})
    assert ys[1].item() == pytest.approx(math.exp(-0.05), abs=2e-6)  # a straight line errs by 1e-3


def test_a_step_cut_at_a_jump_does_not_shorten_those_after_it():
    jump = torch.tensor([1.0 + 1e-3], dtype=torch.float64)
    constant = {"first_step": 1.0, "jump_t": jump, "max_step": 1.0}
    field = Watched()
    field.forward = lambda t, y: 0 * field.rate * y
    odeint(field, ones(1), 4 * SPAN, options=constant)
    lengths = [dt for name, _, dt, _ in field.seen if name == "accept"]
    assert min(lengths) < 0.5 and lengths[lengths.index(min(lengths)) + 1] == pytest.approx(1.0)


def test_the_adjoint_goes_on_with_the_length_that_it_had():
    def per_piece(outputs):
        field = Decay()
        ys = odeint_adjoint(field, ones(1), torch.linspace(0, 1, outputs, dtype=torch.float64))
        before = len(field.times)
        ys.sum().backward()
        return (len(field.times) - before) / (outputs - 1)

    assert per_piece(101) < 7.1  # a step of DOPRI5 is seven evaluations, a search two more


@pytest.mark.slow
def test_a_solve_that_does_not_come_to_an_end_is_given_up():
    with pytest.raises(SolveError, match="more than 10000 attempts") as error:
        odeint(lambda t, y: -1e9 * (y - torch.cos(t)), ones(1), SPAN, rtol=1e-3, atol=1e-3)
    assert error.value.t < 0.1


def test_fixed_steps_that_end_in_nan_are_an_error():
    with pytest.raises(SolveError, match="not finite"):
        odeint(lambda t, y: math.nan * y, ones(1), SPAN, method="rk4")


def test_a_failed_solve_says_why_when_and_after_how_much_work():
    with pytest.raises(SolveError) as error:
        odeint(lambda t, y: y * y, ones(1), 2 * SPAN)
    assert error.value.t == pytest.approx(1, abs=1e-3) and abs(error.value.dt) < 1e-12
    assert error.value.counts.nfe > 0 and error.value.reason


def test_two_crossings_in_one_step_are_seen():
    time, _ = odeint_event(
        lambda t, y: torch.ones_like(y),
        0 * ones(1),
        START,
        event_fn=lambda t, y: (y - 0.32) * (y - 0.55),
        method="rk4",
        options={"step_size": 1.0},
    )
    assert time.item() == pytest.approx(0.32)


def test_a_ball_leaves_the_ground():
    event = {"event_fn": lambda t, state: state[0]}
    time, _ = odeint_event(ball, (0 * ones(1), 3 * ones(1)), START, **event)
    assert time.item() == pytest.approx(2 * 3 / 9.8)


def test_the_time_of_an_event_is_found_to_rounding():
    loose = {"rtol": 1e-2, "atol": 1e-2, "event_fn": lambda t, y: y - math.pi}
    time, _ = odeint_event(lambda t, y: torch.ones_like(y), 0 * ones(1), START, **loose)
    assert time.item() == pytest.approx(math.pi, abs=1e-14)


def test_events_of_dopri8_are_less_exact_than_its_tolerance():
    def error(method):
        tight = {"rtol": 1e-9, "atol": 1e-9, "method": method, "event_fn": lambda t, y: y - 0.3}
        return abs(odeint_event(decay, ones(1), START, **tight)[0].item() + math.log(0.3))

    assert error("dopri5") < 2e-9 < error("dopri8") < 1e-6


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_odeint_itself_differentiates_the_time_of_an_event(interface):
    field = Decay()
    time, _ = interface(field, ones(1), SPAN, event_fn=lambda t, y: y - 0.5)
    time.backward()
    assert field.rate.grad.item() == pytest.approx(-math.log(2), rel=1e-6)


def test_gradients_by_time_are_of_the_computed_solution_or_of_the_exact_one():
    ts = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
    for interface, expected in ((odeint, -1.0), (odeint_adjoint, -0.5)):
        end = interface(Decay(), ones(1), ts, method="euler")[-1]  # 1 - t
        assert torch.autograd.grad(end.sum(), ts)[0][1].item() == expected


def test_scipys_solvers_have_gradients_by_the_adjoint_alone():
    field = Decay()
    for func in (field, field.forward, lambda t, y: field(t, y)):
        with pytest.warns(UserWarning, match="odeint_adjoint"):
            assert not odeint(func, ones(1), SPAN, method="scipy_solver").requires_grad
    with pytest.warns(UserWarning, match="odeint_adjoint"):
        odeint(decay, ones(1), SPAN.clone().requires_grad_(), method="scipy_solver")
    with torch.no_grad():  # where no one asks for a gradient
        odeint(field, ones(1), SPAN, method="scipy_solver")
    odeint_adjoint(field, ones(1), SPAN, method="scipy_solver")[-1].sum().backward()
    assert field.rate.grad.item() == pytest.approx(-ENDS, rel=1e-5)


def test_a_field_that_is_another_one_backwards_is_an_error():
    class Conditioned(Decay):
        condition = 1.0

        def forward(self, t, y):
            return -self.condition * self.rate * y

    field = Conditioned()
    ys = odeint_adjoint(field, ones(1), SPAN)
    field.condition = 2.0
    with pytest.raises(RuntimeError, match="condition"):
        ys[-1].sum().backward()


def test_a_backward_state_that_is_lost_is_a_warning():
    class Fast(Decay):
        def forward(self, t, y):
            return -40 * self.rate * y

    ys = odeint_adjoint(Fast(), ones(1), SPAN, rtol=1e-4, atol=1e-4)
    with pytest.warns(RuntimeWarning, match="worth nothing"):
        ys[-1].sum().backward()


def test_a_field_that_writes_is_refused_and_one_that_returns_its_memory_is_copied():
    memory = 0 * ones(1)
    with pytest.raises(ValueError, match="writes into its argument"):
        odeint(lambda t, y: y.neg_(), ones(1), SPAN)
    end = odeint(lambda t, y: torch.neg(y, out=memory), ones(1), SPAN)[-1]
    assert end.item() == pytest.approx(ENDS, rel=1e-6)


def test_a_parameter_that_is_given_twice_has_its_gradient_once():
    field = Decay()
    ys = odeint_adjoint(field, ones(1), SPAN, adjoint_params=(field.rate, field.rate))
    ys[-1].sum().backward()
    assert field.rate.grad.item() == pytest.approx(-ENDS, rel=1e-6)


def test_a_tensor_tolerance_of_a_tuple_broadcasts_with_each_state():
    def both(t, state):
        return -state[0], -state[1]

    each = torch.tensor([1e-9, 1e-3])
    odeint(both, (ones(2), ones(3, 2)), SPAN, rtol=each)
    with pytest.raises(ValueError, match="a tuple has one for each state"):
        odeint(both, (ones(1), ones(1)), SPAN, rtol=each)


def test_slopes_broadcast_with_the_state():
    end = odeint(lambda t, y: torch.ones(()), torch.ones(2), SPAN)[-1]
    torch.testing.assert_close(end, torch.full((2,), 2.0))


def test_the_states_are_a_list_and_differ_in_precision():
    x, y = odeint(lambda t, s: [-s[0], -s[1]], [torch.ones(2), ones(3)], SPAN)
    assert (x.dtype, y.dtype) == (torch.float32, torch.float64)
    assert y[-1, 0].item() == pytest.approx(ENDS, rel=1e-6)


def test_the_length_that_a_callback_sees_is_positive_in_falling_time():
    assert all(dt > 0 for _, dt in accepted(SPAN.flip(0)))


def test_callbacks_of_the_backward_solve_see_one_vector():
    field = Watched()
    odeint_adjoint(field, ones(3), SPAN)[-1].sum().backward()
    states = [state for name, _, _, state in field.seen if name == "step_adjoint"]
    assert {tuple(state.shape) for state in states} == {(3 + 3 + 1,)}


def test_a_second_derivative_through_the_adjoint_is_refused_and_odeint_has_it():
    def second(interface, **settings):
        y0 = ones(1, grad=True)  # y = y0 / (1 + y0 t)
        end = interface(lambda t, y: -y * y, y0, SPAN, **settings)[-1]
        (first,) = torch.autograd.grad(end.sum(), y0, create_graph=True)
        return torch.autograd.grad(first.sum(), y0)[0].item()

    with pytest.raises(RuntimeError, match="differentiable once"):
        second(odeint_adjoint, adjoint_params=())
    assert second(odeint) == pytest.approx(-2 / 2**3, rel=1e-5)


@pytest.mark.parametrize("method", ["explicit_adams", "implicit_adams"])
def test_adams_methods_have_order_four_and_begin_with_classic_steps(method):
    assert order(method) == pytest.approx(4, abs=0.3)
    short = torch.linspace(0, 0.3, 4, dtype=torch.float64)
    classic = solve(Field(), Y0, short, Solver("rk4", FixedSteps())).ys
    torch.testing.assert_close(odeint(Field(), Y0, short, method=method), classic)
    limited = odeint(Field(), Y0, TS, method=method, options={"max_order": 2, "max_iters": 1})
    assert torch.equal(limited, odeint(Field(), Y0, TS, method=method))


def test_implicit_adams_makes_two_corrections():
    long = torch.linspace(0, 1, 41, dtype=torch.float64)
    shorter = nfe(t=long[:40], method="implicit_adams", rtol=0.5, atol=0.5)
    assert nfe(t=long, method="implicit_adams", rtol=0.5, atol=0.5) - shorter == 3  # and the slope


def test_odeint_dense_takes_tuples_and_other_methods():
    y = odeint_dense(lambda t, s: (-s[0], s[1]), (ones(2), ones(1)), *SPAN, method="tsit5")
    falls, grows = y(torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(falls[1], math.exp(-0.5) * ones(2), rtol=1e-6, atol=0)
    assert grows[0].item() == pytest.approx(math.exp(0.25), rel=1e-6)


def test_odeint_dense_reaches_ends_that_are_no_tensors():
    assert odeint_dense(lambda t, y: -y, ones(1), 0.0, 0.7)(0.7).item() == pytest.approx(
        math.exp(-0.7), rel=1e-6
    )


@pytest.mark.parametrize(
    ("method", "option"),
    [("dopri5", {"dtype": torch.float32}), ("scipy_solver", {"eps": 1e-3, "grid_points": SPAN})],
)
def test_options_without_effect_are_accepted(method, option):
    same = odeint(decay, Y0, TS, method=method)
    assert torch.equal(odeint(decay, Y0, TS, method=method, options=option), same)


# What is not taken over, and what more there is


def test_methods_that_are_not_taken_over_are_refused_with_those_that_are():
    section = PAGE.split("## What is not taken over")[1].split("A name")[0]
    names = re.findall(r"`(\w+)`", section)
    assert len(names) == 9
    for name in names:
        with pytest.raises(ValueError, match=rf"unknown method '{name}'; known: .*scipy_solver"):
            odeint(decay, Y0, TS, method=name)


def test_the_page_names_every_method_of_odeint():
    assert all(f"`{name}`" in PAGE for name in (*FIXED, *ADAPTIVE, *SCIPY))


@pytest.mark.parametrize("method", ["tsit5", "scipy_vode", "scipy_lsoda"])
def test_more_methods_are_here(method):
    assert odeint(decay, ones(1), SPAN, method=method)[-1].item() == pytest.approx(ENDS, abs=1e-6)


@pytest.mark.parametrize("method", ["scipy_vode", "scipy_lsoda", "scipy_solver"])
@pytest.mark.filterwarnings("ignore:.*Excess work:UserWarning")
def test_max_num_steps_limits_scipys_steps(method):
    with pytest.raises(SolveError, match="gave up|more than 3 attempts"):
        odeint(decay, ones(1), 100 * SPAN, method=method, options={"max_num_steps": 3})


def test_names_of_solver_differ():
    assert {"rk4", "rk4_38", "heun"} <= set(METHODS)
    assert "heun2" not in METHODS and "adaptive_heun" not in METHODS
    for control in (FixedSteps(4), Adaptive()):
        assert solve(decay, ones(1), SPAN, Solver("heun", control)).y1.item() < 0.4
