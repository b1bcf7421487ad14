"""Orthogonal regularisation of filters whose products are known."""

import pytest
import torch
from torch import nn

from translate.objectives.orthogonal import orthogonal_penalty


def layer(*filters, kind=nn.Conv2d):
    made = kind(2, len(filters), 1, bias=False)
    weight = torch.tensor(filters)[:, :, None, None]
    made.weight.data = weight.transpose(0, 1) if kind is nn.ConvTranspose2d else weight
    return made


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_what_two_filters_have_in_common_costs_and_their_length_does_not(kind):
    assert orthogonal_penalty(layer([3.0, 0.0], [0.0, 5.0], kind=kind)).item() == 0
    # The product of both is 3 * 1 + 0 * 2, twice off the diagonal.
    assert orthogonal_penalty(layer([3.0, 0.0], [1.0, 2.0], kind=kind)).item() == 2 * 3**2
    assert orthogonal_penalty(layer([3.0, 0.0], [1.0, 2.0], [0.0, 1.0], kind=kind)).item() == 2 * (3**2 + 2**2)


def test_layers_are_added_up_and_what_is_no_filter_is_left_out():
    network = nn.Sequential(layer([3.0, 0.0], [1.0, 2.0]), nn.BatchNorm2d(2), nn.Linear(2, 1))
    assert orthogonal_penalty(network).item() == 18


def test_its_gradient_is_right():
    network = layer([3.0, 0.0], [1.0, 2.0]).double()
    weight = network.weight.detach().clone().requires_grad_(True)
    orthogonal_penalty(network).backward()
    filters = weight.flatten(1)
    products = filters @ filters.T
    expected = 4 * (products - products.diagonal().diag()) @ filters  # of sum over a != b of (w_a . w_b)^2
    torch.testing.assert_close(network.weight.grad.flatten(1), expected.detach())
