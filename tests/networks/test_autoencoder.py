"""The auto-encoder that judges by energy."""

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.networks.autoencoder import Autoencoder
from translate.networks.layers import normalize_spectrally
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.stargan import StarGANDiscriminator


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_the_energy_is_the_error_of_the_reconstruction(distance):
    network = Autoencoder(in_channels=2, num_layers=2, width=2, code=3, distance=distance)
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.constant_(network.output.bias, 0.5)  # whatever it sees, it draws 0.5
    images = torch.stack([torch.full((2, 8, 8), 1.0), torch.full((2, 8, 8), -1.0)])
    expected = [0.5, 1.5] if distance == "l1" else [0.25, 2.25]
    assert network(images).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (4, 7)])
def test_it_takes_any_size(size):
    network = Autoencoder(in_channels=1, num_layers=2, width=2, code=3, num_domains=5)
    energies, domains = network(torch.randn(3, 1, *size))
    assert energies.shape == (3,)
    assert domains.shape == (3, 5)
    assert network.encode(torch.randn(3, 1, *size)).shape == (3, 3 * (size[0] // 4) * (size[1] // 4))
    assert list(network.stages) == ["encoder", "decoder_1", "decoder_2", "decoder_3", "domain_head"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, r"num_layers=0 must be at least 1"),
        ({"distance": "cosine"}, r"distance='cosine' is not one"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Autoencoder(in_channels=1, **settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda **more: PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", **more),
        lambda **more: PixelDiscriminator(in_channels=1, width=2, norm="none", **more),
        lambda **more: StarGANDiscriminator(in_channels=1, num_layers=1, width=2, **more),
        lambda **more: Autoencoder(in_channels=1, num_layers=1, width=2, code=2, norm="none", **more),
    ],
    ids=["patchgan", "pixel", "stargan", "autoencoder"],
)
def test_every_discriminator_can_be_normalised_spectrally(make):
    torch.manual_seed(0)
    network = make(spectral_norm=True)
    for _ in range(50):
        network(torch.randn(1, 1, 8, 8))
    convolutions = [module for module in network.eval().modules() if isinstance(module, torch.nn.Conv2d)]
    assert convolutions
    for convolution in convolutions:
        assert torch.linalg.matrix_norm(convolution.weight.flatten(1), 2).item() == pytest.approx(1, rel=1e-3)


def test_spectral_normalisation_begins_with_the_weights_that_were_drawn():
    layer = torch.nn.Conv2d(1, 2, 3)
    drawn = layer.weight.detach().clone()
    normalize_spectrally(layer)
    assert torch.equal(layer.parametrizations.weight.original, drawn)


def test_channels_that_are_not_judged_do_not_count_in_the_energy():
    network = Autoencoder(in_channels=3, num_layers=1, width=2, code=2, norm="none")
    nn.init.zeros_(network.output.weight)
    nn.init.zeros_(network.output.bias)
    images = torch.cat([torch.full((1, 1, 4, 4), 5.0), torch.full((1, 2, 4, 4), 0.5)], 1)
    assert network(images).item() == pytest.approx((25 + 2 * 0.25) / 3)
    network.judged_channels = 2
    assert network(images).item() == pytest.approx(0.25)
