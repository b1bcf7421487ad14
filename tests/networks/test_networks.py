"""Sizes, names and numbers of the networks, against facts of the reference implementation."""

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.networks.layers import BatchNorm, Deconvolution, initialize
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.unet import UNet


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "settings", "parameters", "keys"),
    [
        (UNet, {"num_downs": 8, "norm": "instance"}, 54_409_603, 32),
        (UNet, {"num_downs": 8, "norm": "batch"}, 54_413_955, 82),
        (UNet, {"num_downs": 7, "norm": "instance"}, 41_825_667, 28),
        (UNet, {"num_downs": 7, "norm": "batch"}, 41_828_995, 70),
        (ResNet, {"num_blocks": 9, "norm": "instance"}, 11_378_179, 48),
        (ResNet, {"num_blocks": 9, "norm": "batch"}, 11_383_427, 140),
        (ResNet, {"num_blocks": 6, "norm": "instance"}, 7_837_699, 36),
        (ResNet, {"num_blocks": 6, "norm": "batch"}, 7_841_411, 104),
    ],
)
def test_generators_have_the_reference_parameters(network, settings, parameters, keys):
    with torch.device("meta"):
        generator = network(in_channels=3, out_channels=3, **settings)
    assert count(generator) == parameters
    assert len(generator.state_dict()) == keys


@pytest.mark.parametrize(
    ("num_layers", "parameters", "side"),
    [(1, 139_585, 126), (2, 666_433, 62), (3, 2_768_705, 30), (4, 6_964_033, 14), (5, 11_159_361, 6)],
)
def test_patchgan_has_the_reference_parameters_and_map(num_layers, parameters, side):
    with torch.device("meta"):
        discriminator = PatchGAN(in_channels=6, num_layers=num_layers)
        logits = discriminator(torch.empty(1, 6, 256, 256))
    assert count(discriminator) == parameters
    assert logits.shape == (1, 1, side, side)


@pytest.mark.parametrize(("num_layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_patchgan_sees_patches_of_the_documented_size(num_layers, field):
    discriminator = PatchGAN(in_channels=1, num_layers=num_layers, width=1, norm="none").double()
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
    image = torch.zeros(1, 1, 512, 512, dtype=torch.float64, requires_grad=True)
    logits = discriminator(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert int((image.grad[0, 0].abs().sum(0) > 0).sum()) == field


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4, 5])
def test_patchgan_works_at_its_least_size_and_not_below(num_layers):
    discriminator = PatchGAN(in_channels=1, num_layers=num_layers, width=1, norm="none")
    size = discriminator.min_size
    assert discriminator(torch.zeros(1, 1, size, size)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        discriminator(torch.zeros(1, 1, size - 2**num_layers, size - 2**num_layers))


def test_pixel_discriminator_judges_each_pixel_alone():
    discriminator = PixelDiscriminator(in_channels=2, width=4, norm="none")
    image = torch.randn(1, 2, 5, 7)
    changed = image.clone()
    changed[0, :, 2, 3] += 1
    difference = (discriminator(changed) - discriminator(image)).abs()[0, 0]
    assert difference[2, 3] > 0
    difference[2, 3] = 0
    assert difference.max() == 0


@pytest.mark.parametrize("num_downs", [2, 3, 5, 6])
@pytest.mark.parametrize("upsample", ["deconv", "resize"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_unet_keeps_the_size_and_maps_channels(num_downs, upsample, norm):
    generator = UNet(in_channels=2, out_channels=5, num_downs=num_downs, width=2, upsample=upsample, norm=norm)
    size = generator.size_multiple
    assert generator(torch.zeros(2, 2, size, 2 * size)).shape == (2, 5, size, 2 * size)


def test_unet_refuses_sizes_that_do_not_fit():
    with pytest.raises(UserError, match="multiples of 8"):
        UNet(in_channels=1, out_channels=1, num_downs=3, width=1)(torch.zeros(1, 1, 12, 16))


@pytest.mark.parametrize("padding", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("upsample", ["deconv", "resize"])
def test_resnet_keeps_sizes_that_are_multiples_of_4(padding, upsample):
    generator = ResNet(in_channels=1, out_channels=3, num_blocks=1, width=2, padding=padding, upsample=upsample)
    assert generator(torch.zeros(1, 1, 12, 20)).shape == (1, 3, 12, 20)


def test_dropout_is_where_the_reference_has_it():
    block = ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1, dropout=0.5).model[10].conv_block
    assert [type(layer).__name__ for layer in block][4:6] == ["Dropout", "ReflectionPad2d"]
    unet = UNet(in_channels=1, out_channels=1, num_downs=8, width=1, dropout=0.5)
    assert sum(isinstance(module, nn.Dropout) for module in unet.modules()) == 3
    assert unet.state_dict().keys() == UNet(in_channels=1, out_channels=1, num_downs=8, width=1).state_dict().keys()


@pytest.mark.parametrize(
    ("initialization", "spread"),
    [("normal", 0.02), ("xavier", 0.02 * (2 / (64 * 9 + 64 * 9)) ** 0.5), ("kaiming", (2 / (64 * 9)) ** 0.5)],
)
def test_initialization_has_its_spread(initialization, spread):
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 64, 3)
    initialize(convolution, initialization, 0.02)
    assert convolution.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert convolution.bias.abs().max() == 0


def test_orthogonal_initialization_is_orthogonal():
    convolution = nn.Conv2d(4, 8, 3)
    initialize(convolution, "orthogonal", 0.5)
    rows = convolution.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, 0.25 * torch.eye(8))
    deconvolution = nn.ConvTranspose2d(8, 4, 3)
    initialize(deconvolution, "orthogonal", 1.0)
    filters = deconvolution.weight.transpose(0, 1).flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(4))


def test_batch_norm_scales_start_around_one():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(10_000)
    initialize(norm, "normal", 0.02)
    assert norm.weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_batch_norm_per_image_ignores_the_rest_of_the_batch():
    norm = BatchNorm(3).eval()
    norm.per_image_at_test = True
    images = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(norm(images)[1:2], norm(images[1:2]))
    assert norm(images).mean((2, 3)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet(in_channels=1, out_channels=1, num_downs=1), "num_downs=1"),
        (lambda: UNet(in_channels=1, out_channels=1, norm="group"), "norm='group' is not one of batch, instance, none"),
        (lambda: UNet(in_channels=1, out_channels=1, upsample="bilinear"), "upsample='bilinear'"),
        (lambda: ResNet(in_channels=1, out_channels=1, padding="wrap"), "padding='wrap'"),
        (lambda: ResNet(in_channels=1, out_channels=1, initialization="zeros"), "initialization='zeros'"),
        (lambda: PatchGAN(in_channels=1, num_layers=6), "num_layers=6 is not one of 1, 2, 3, 4, 5"),
    ],
)
def test_choices_that_do_not_exist_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("kernel", "bias", "size"), [(4, True, (1, 1)), (4, False, (2, 3)), (3, True, (1, 2)), (3, False, (4, 4))]
)
def test_small_deconvolutions_in_training_equal_the_library_and_so_do_their_gradients(kernel, bias, size):
    layer = Deconvolution(3, 5, kernel, stride=2, padding=1, output_padding=4 - kernel, bias=bias).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found = []
    for training in (True, False):
        layer.train(training)
        output = layer(features)
        assert output.shape == (2, 5, 2 * size[0], 2 * size[1])
        found.append([output, *torch.autograd.grad(output.square().sum(), [features, *layer.parameters()])])
    torch.testing.assert_close(*found)
