"""The discriminator of several scales: what each sees, and what becomes of their answers."""

import pytest
import torch

from translate.errors import UserError
from translate.networks.autoencoder import Autoencoder
from translate.networks.multiscale import MultiscaleDiscriminator
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.stargan import StarGANDiscriminator
from translate.training.parts import parts_of, select


def small(**settings):
    return MultiscaleDiscriminator(**{"in_channels": 1, "num_layers": 1, "width": 2, "norm": "none"} | settings)


def test_each_scale_sees_half_of_the_one_before():
    images = torch.arange(16.0).view(1, 1, 4, 4)
    (_, whole), (_, half), (_, quarter) = small().looks(images)
    assert torch.equal(whole, images)
    # The mean of the pixels that lie in the image, of 3x3 about every second one.
    assert half.flatten().tolist() == pytest.approx([2.5, 4, 8.5, 10])
    assert quarter.flatten().tolist() == pytest.approx([6.25])


@pytest.mark.parametrize(("height", "halves"), [(32, (16, 8)), (33, (17, 9))])
def test_the_logits_are_those_of_a_patchgan_of_its_own_on_each_size(height, halves):
    network, images = small(), torch.randn(2, 1, height, 40)
    judged = network(images)
    assert tuple(seen.shape[2] for _, seen in network.looks(images)) == (height, *halves)
    assert [logits.shape[2:] for logits in judged] == [(14, 18), (6, 8), (2, 3)]
    for logits, (judge, seen) in zip(judged, network.looks(images), strict=True):
        assert type(judge) is PatchGAN
        assert torch.equal(logits, judge(seen))
    assert len({judge.model[0].weight.sum().item() for judge, _ in network.looks(images)}) == 3


def test_domains_are_told_by_the_mean_of_the_scales():
    network, images = small(num_domains=4, num_scales=2), torch.randn(3, 1, 16, 16)
    judged, domains = network(images)
    each = [judge(seen) for judge, seen in network.looks(images)]
    assert [torch.equal(one, other) for one, (other, _) in zip(judged, each, strict=True)] == [True, True]
    torch.testing.assert_close(domains, (each[0][1] + each[1][1]) / 2)
    assert domains.shape == (3, 4)


@pytest.mark.parametrize(("num_scales", "num_layers"), [(1, 1), (2, 1), (3, 1), (2, 3)])
def test_the_smallest_image_is_one_that_leaves_the_coarsest_scale_a_logit(num_scales, num_layers):
    network = small(num_scales=num_scales, num_layers=num_layers)
    size = network.min_size
    assert network(torch.zeros(1, 1, size, size))[-1].shape[2:] == (1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, size - 1, size - 1))


def test_its_settings_are_those_of_every_patchgan():
    with pytest.raises(UserError, match=r"discriminator\.num_scales=0 must be at least 1"):
        small(num_scales=0)
    with pytest.raises(UserError, match=r"discriminator\.num_layers=9 is not one"):
        small(num_layers=9)
    alone = PatchGAN(in_channels=1, num_layers=2, width=2, norm="batch", spectral_norm=True)
    network = small(num_scales=2, num_layers=2, norm="batch", spectral_norm=True, initialization="orthogonal", gain=1.0)
    assert [{name: tensor.shape for name, tensor in judge.state_dict().items()} for judge in network.scales] == [
        {name: tensor.shape for name, tensor in alone.state_dict().items()}
    ] * 2


def test_its_parts_can_be_named_for_finetuning():
    networks = {"generator": torch.nn.Linear(1, 1), "discriminator": small(num_scales=2, num_domains=3)}
    names = [f"discriminator.scale_{scale}.{part}" for scale in (1, 2) for part in ("layer_1", "layer_2", "layer_3")]
    parts = parts_of(networks)
    assert parts.keys() >= {*names, "discriminator.scale_1.domain_head"}
    assert set().union(*parts.values()) == {
        f"{name}.{key}" for name, network in networks.items() for key, _ in network.named_parameters()
    }
    chosen = select("finetune.freeze", ["discriminator.scale_2"], networks, ["generator"])
    assert {name.split(".")[2] for name in chosen} == {"1"}
    assert chosen == select("finetune.freeze", ["discriminator.scale_2.*"], networks, ["generator"])
    (first,) = {name.rpartition(".")[0] for name in select("f", ["*.scale_1.layer_1"], networks, ["discriminator"])}
    assert first == "discriminator.scales.0.model.0"


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (PatchGAN(in_channels=1, num_layers=2, width=2, norm="instance"), 3),
        (PixelDiscriminator(in_channels=1, width=2, norm="instance"), 2),
        (StarGANDiscriminator(in_channels=1, num_layers=2, width=2), 2),
        (StarGANDiscriminator(in_channels=1, num_layers=2, width=2, image_size=16, num_domains=3), 2),
        (small(num_scales=2, norm="instance"), 4),
    ],
    ids=["patchgan", "pixel", "stargan", "stargan with domains", "multiscale"],
)
def test_a_discriminator_gives_what_its_layers_make_of_images_but_the_logits(network, count):
    images = torch.randn(2, 1, 16, 16)
    features = network.features(images)
    assert len(features) == count
    assert all(each.ndim == 4 for each in features)
    judge, seen = network.looks(images)[-1] if hasattr(network, "looks") else (network, images)
    torch.testing.assert_close(features[-1], judge.logit_layers[:-1](seen))
    *_, before, last = judge.features(seen)
    assert before.shape != last.shape


def test_an_autoencoder_has_no_features():
    assert not hasattr(Autoencoder(in_channels=1, num_layers=1, width=2, code=2), "features")
