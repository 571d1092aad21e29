"""The ResNet's steps divided: the limit is the flow, the order one, one part the network itself."""

import pytest
import torch
from torch import nn

from odenet.models.classifier import classifier
from replication.chapters.mnist.trials import divided
from replication.classify import error_pct
from replication.data.mnist import Digits

A, B = torch.tensor([[0.0, 1], [-1, 0]]).double(), torch.tensor([[-0.5, 0], [0.3, 0.2]]).double()


def linear(matrix):
    layer = nn.Linear(2, 2, bias=False, dtype=torch.float64)
    layer.weight.data = matrix
    return layer


def test_finer_steps_settle_at_the_flow_of_one_field_after_the_other():
    x = torch.eye(2).double()
    with torch.no_grad():
        end = divided.divided([linear(A), linear(B)], x, 5000)
    exact = x @ torch.matrix_exp(A.T) @ torch.matrix_exp(B.T)
    torch.testing.assert_close(end, exact, rtol=0, atol=1e-3)


def test_order_of_euler_is_one_and_of_what_does_not_settle_zero():
    parts = divided.Trial.parts
    with torch.no_grad():
        distance = divided.distances([linear(A), linear(B)], torch.eye(2).double(), parts, 256)
    assert divided.order(parts, distance) == pytest.approx(1, abs=0.1)
    assert divided.order(parts, [0.3] * len(parts)) == pytest.approx(0, abs=1e-9)
    assert divided.order(parts, [m**-2.0 for m in parts]) == pytest.approx(2)


@pytest.mark.slow
def test_undivided_blocks_err_as_the_trained_network_does(tmp_path, monkeypatch):
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    test = Digits(images, torch.arange(20) % 10)
    monkeypatch.setattr(divided, "load", lambda train_size, test_size: (None, test))
    monkeypatch.setattr(divided, "FINEST", 8)
    model = classifier("resnet", seed=5)
    folder = tmp_path / "mnist/net"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / "weights.pt")
    trial = divided.Trial("net", parts=(1, 2, 4), images=2, test_parts=(1, 2), test_size=20)
    result = divided.run(trial, folder.with_name("trial"))
    assert result["test_error_pct"][0] == error_pct(model, test)
    assert len(result["distance"]) == 3 and result["distance"][0] > result["distance"][2] > 0


def test_more_images_than_there_are_and_too_few_parts_are_refused():
    with pytest.raises(ValueError, match="needs three parts, not .1, 2"):
        divided.Trial("net", parts=(1, 2))
    with pytest.raises(ValueError, match="images must be 1 to test_size, 20, not 21"):
        divided.Trial("net", images=21, test_size=20)
