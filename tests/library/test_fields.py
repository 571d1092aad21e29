"""Vector fields: the time is an input, whatever way it is computed."""

import pytest
import torch
from torch.nn import functional as F

from odenet.models.fields import Autonomous, ConvField, MLPField, TimeConv, TimeLinear

TIMES = (0.0, 0.3, -2.0)


def glued(t: float, y: torch.Tensor, dim: int) -> torch.Tensor:
    """The state with the time as one more entry, or channel, before the others."""
    return torch.cat((torch.full_like(y.narrow(dim, 0, 1), t), y), dim)


@pytest.mark.parametrize("t", TIMES)
def test_linear_layer_equals_gluing_the_time_on(t):
    layer, y = TimeLinear(3, 5).double(), torch.randn(7, 3, dtype=torch.float64)
    assert layer.weight.shape == (5, 4)
    assert torch.allclose(layer(t, y), F.linear(glued(t, y, 1), layer.weight, layer.bias))


@pytest.mark.parametrize("t", TIMES)
def test_convolution_equals_gluing_a_channel_of_time_on_up_to_the_border(t):
    layer, y = TimeConv(3, 5).double(), torch.randn(2, 3, 6, 7, dtype=torch.float64)
    assert layer.weight.shape == (5, 4, 3, 3)
    expected = F.conv2d(glued(t, y, 1), layer.weight, layer.bias, padding=1)
    assert torch.allclose(layer(t, y), expected)


def test_gradients_equal_those_of_gluing():
    layer = TimeConv(2, 2).double()
    y = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    inputs = (y, layer.weight, layer.bias)
    folded = torch.autograd.grad(layer(0.7, y).square().sum(), inputs)
    concatenated = F.conv2d(glued(0.7, y, 1), layer.weight, layer.bias, padding=1)
    expected = torch.autograd.grad(concatenated.square().sum(), inputs)
    assert all(torch.allclose(a, b) for a, b in zip(folded, expected, strict=True))


def test_convolutional_field_is_norm_relu_conv_twice_then_norm():
    field, y = ConvField(4).double(), torch.randn(3, 4, 6, 6, dtype=torch.float64)
    x = y
    for norm, conv in zip(field.norms[:2], field.convs, strict=True):
        x = F.conv2d(glued(0.4, norm(x).relu(), 1), conv.weight, conv.bias, padding=1)
    assert torch.allclose(field(0.4, y), field.norms[2](x))


def test_fields_leave_their_input_as_it_was():
    y = torch.randn(3, 4, 6, 6)
    before = y.clone()
    ConvField(4)(0.5, y)
    assert torch.equal(y, before)


def test_convolutional_field_of_the_paper_has_75392_parameters():
    assert sum(p.numel() for p in ConvField(64).parameters()) == 75_392


def test_mlp_field_shows_the_time_to_every_layer():
    field, y = MLPField(2, 8, 2).double(), torch.randn(5, 2, dtype=torch.float64)
    first, second = field.layers
    hidden = torch.tanh(F.linear(glued(0.3, y, 1), first.weight, first.bias))
    assert torch.allclose(
        field(0.3, y), F.linear(glued(0.3, hidden, 1), second.weight, second.bias)
    )


@pytest.mark.parametrize("widths", [(), (2,), (2, 8, 3)])
def test_mlp_field_that_changes_the_size_of_the_state_is_refused(widths):
    with pytest.raises(ValueError, match="begin and end with the state's size"):
        MLPField(*widths)


def test_autonomous_field_ignores_the_time():
    field, y = Autonomous(torch.nn.Linear(2, 2)), torch.randn(4, 2)
    assert torch.equal(field(0.0, y), field(5.0, y))


@pytest.mark.parametrize("channels", [-1, 0, 48])
def test_channels_that_make_no_equal_groups_are_refused(channels):
    with pytest.raises(ValueError, match="channels must be 1 to 32 or a multiple of 32"):
        ConvField(channels)
