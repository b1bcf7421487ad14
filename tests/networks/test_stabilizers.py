"""What steadies networks from inside: scaled weights, pixel norm, deviation within a batch, self-attention."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from translate.errors import UserError
from translate.networks.attention import SelfAttention, attend
from translate.networks.autoencoder import Autoencoder
from translate.networks.layers import Deconvolution, normalize_pixels
from translate.networks.minibatch import MinibatchStddev
from translate.networks.parametrized import Equalized, equalize, fold, scaling_of, settle
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet

SIDES = {"in_channels": 3, "out_channels": 3}
GENERATORS = {
    "resnet": lambda **options: ResNet(**SIDES, num_blocks=2, width=2, **options),
    "unet": lambda **options: UNet(**SIDES, num_downs=4, width=2, **options),
    "stargan": lambda **options: StarGANGenerator(**SIDES, num_blocks=1, width=2, **options),
}
SETTINGS = [(name, {"spectral_norm": True}) for name in GENERATORS]
SETTINGS += [(name, {"equalized": True}) for name in ("resnet", "unet")]


@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_folding_leaves_plain_weights_that_translate_the_same(name, options):
    torch.manual_seed(0)
    network, images = GENERATORS[name](**options), torch.rand(2, 3, 16, 16) * 2 - 1
    network(images)  # a pass in training moves the vectors of spectral norm
    assert scaling_of(network) == next(iter(options))
    with torch.no_grad():
        expected = network.eval()(images)
        fold(network.train())
        assert (network.eval()(images) - expected).abs().max() < 1e-6
    plain = GENERATORS[name]()
    assert scaling_of(network) is None
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert {type(module) for module in network.modules()} == {type(module) for module in plain.modules()}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_normalised_generator_has_largest_singular_values_of_1(name):
    network = GENERATORS[name](spectral_norm=True)
    settle(network)
    settle(network)
    fold(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_weights_that_have_been_replaced_settle_at_their_own_norm():
    layer = spectral_norm(nn.Conv2d(2, 2, 1, bias=False))
    layer.parametrizations.weight.original.data = torch.diag(torch.tensor([0.5, 4.0])).view(2, 2, 1, 1)
    settle(layer)
    torch.testing.assert_close(layer.weight.flatten(1), torch.diag(torch.tensor([0.125, 1.0])))


def test_equalised_weights_are_drawn_wide_and_scaled_when_they_are_used():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(8, 64, 4))
    equalize(layer)
    original = layer[0].parametrizations.weight.original
    assert original.std().item() == pytest.approx(1, rel=0.02)
    torch.testing.assert_close(layer[0].weight, original / 8)  # sqrt(2 / (8 * 4 * 4))
    assert Equalized(8)(torch.tensor(3.0)).item() == 1.5


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(64, 64, 3), Deconvolution(64, 64, 4, stride=2, padding=1)], ids=["down", "up"]
)
def test_an_equalised_layer_doubles_the_variance_which_a_rectifier_halves(layer):
    torch.manual_seed(0)
    equalize(layer)
    with torch.no_grad():
        output = layer.eval()(torch.randn(4, 64, 16, 16))[:, :, 2:-2, 2:-2]
    assert output.var().item() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("make", "owner"),
    [
        (GENERATORS["resnet"], "generator"),
        (GENERATORS["unet"], "generator"),
        *((lambda kind=kind, **options: kind(in_channels=3, **options), "discriminator") for kind in
          (PatchGAN, PixelDiscriminator, Autoencoder)),
    ],
)  # fmt: skip
def test_equalised_weights_go_neither_with_spectral_norm_nor_with_another_distribution(make, owner):
    with pytest.raises(UserError, match=rf"{owner}\.equalized=true scales weights that {owner}\.spectral_norm=true"):
        make(spectral_norm=True, equalized=True)
    with pytest.raises(UserError, match=rf"{owner}\.initialization=xavier does not go with {owner}\.equalized=true"):
        make(equalized=True, initialization="xavier")
    assert scaling_of(make(equalized=True)) == "equalized"


def test_pixel_norm_divides_by_the_root_of_the_mean_square():
    features = torch.tensor([[3.0, 0.0], [4.0, 0.0]]).view(1, 2, 1, 2)
    expected = torch.tensor([[3.0, 0.0], [4.0, 0.0]]).view(1, 2, 1, 2) / 12.5**0.5
    torch.testing.assert_close(normalize_pixels(features), expected)
    assert normalize_pixels(torch.full((1, 4, 1, 1), 1e-4)).flatten()[0].item() == pytest.approx(0.5**0.5)


def test_pixel_norm_is_a_norm_of_generators_and_keeps_the_bias_before_it():
    unit = ResNet(**SIDES, num_blocks=1, width=2, norm="pixel").model[:3](torch.randn(1, 3, 8, 8))
    torch.testing.assert_close(unit.square().mean(1), torch.ones(1, 8, 8), rtol=1e-3, atol=0)
    assert UNet(**SIDES, num_downs=3, width=2, norm="pixel").model.model[0].bias is not None


def test_the_deviation_within_a_batch_is_one_more_channel():
    features = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).view(2, 2, 1, 1).expand(2, 2, 3, 3)
    output = MinibatchStddev()(features)
    assert output.shape == (2, 3, 3, 3)
    torch.testing.assert_close(output[:, :2], features)
    torch.testing.assert_close(output[:, 2], torch.full((2, 3, 3), 0.5), rtol=0, atol=1e-4)  # the mean of 1 and 0


def test_one_image_does_not_deviate_and_is_no_batch_to_learn_from():
    assert MinibatchStddev().eval()(torch.ones(1, 2, 3, 3))[0, 2].max().item() == pytest.approx(1e-4)
    with pytest.raises(UserError, match=r"minibatch_stddev=true compares the images of a batch, and batch_size=1 has"):
        MinibatchStddev()(torch.ones(1, 2, 3, 3))


def test_logits_see_how_varied_a_batch_is_and_domains_do_not():
    torch.manual_seed(0)
    judge = PatchGAN(in_channels=1, num_domains=2, num_layers=1, width=2, norm="none", minibatch_stddev=True, gain=1)
    image = torch.randn(1, 1, 8, 8)
    alike, varied = image.repeat(2, 1, 1, 1), torch.cat([image, torch.randn(1, 1, 8, 8)])
    (logits, domains), (others, same) = judge(alike), judge(varied)
    assert (logits[0] - others[0]).abs().max() > 1e-3
    torch.testing.assert_close(domains[0], same[0])


def test_attention_is_the_mean_of_values_in_shares_of_a_softmax():
    query, key = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), torch.tensor([0.0, 3.0]).log1p().view(1, 1, 1, 2)
    value = torch.tensor([[10.0, 20.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    # The first place compares equal to both; the second sees the other with e^log(4) against e^0.
    expected = torch.tensor([[15.0, 18.0], [0.5, 0.2]]).view(1, 2, 1, 2)
    torch.testing.assert_close(attend(query, key, value), expected)


def test_attention_begins_as_if_it_were_not_there_and_learns_its_share():
    layer, features = SelfAttention(16), torch.randn(2, 16, 3, 5)
    assert torch.equal(layer(features), features)
    layer(features).square().sum().backward()
    assert layer.gamma.grad.abs() > 0
    layer.gamma.data.fill_(2.0)
    keys, queries, values = (each(features).flatten(2) for each in (layer.key, layer.query, layer.value))
    assert keys.shape == (2, 2, 15)
    shares = (keys.mT @ queries).softmax(1)  # (B, i, j): of place i in what j sees
    expected = features + 2 * layer.output((values @ shares).view(2, 2, 3, 5))
    torch.testing.assert_close(layer(features), expected)


@pytest.mark.parametrize(
    ("make", "stages", "size"),
    [
        (GENERATORS["resnet"], 9, 4),
        (GENERATORS["unet"], 9, 2),
        (lambda **options: UNet(**SIDES, num_downs=2, width=8, **options), 5, 8),
        (lambda **options: PatchGAN(in_channels=3, num_layers=2, width=8, norm="none", **options), 5, 4),
        (lambda **options: PatchGAN(in_channels=3, num_domains=2, num_layers=1, width=8, **options), 5, 8),
    ],
)
def test_attention_has_its_place_in_a_network_and_a_name(make, stages, size):
    network, plain = make(attention=True), make()
    assert {"attention"} == network.stages.keys() - plain.stages.keys()
    assert len(network.stages) == stages
    (layer,) = network.stages["attention"]
    seen = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[2:]))
    network(torch.rand(2, 3, 16, 16))
    assert seen == [(size, size)]
    named = [parameter for layers in network.stages.values() for layer in layers for parameter in layer.parameters()]
    assert {id(parameter) for parameter in named} == {id(parameter) for parameter in network.parameters()}


@pytest.mark.parametrize(
    "make",
    [
        *(GENERATORS.values()),
        lambda **options: PatchGAN(in_channels=3, num_layers=1, width=2, **options),
        lambda **options: StarGANDiscriminator(in_channels=3, num_layers=1, width=2, **options),
    ],
)
def test_what_is_off_leaves_no_trace(make):
    network = make()
    assert scaling_of(network) is None
    assert not any("parametriz" in name or "gamma" in name for name in network.state_dict())
    assert not any(isinstance(module, SelfAttention | MinibatchStddev) for module in network.modules())
