"""Networks prepared for inference: the same results, names and weights as before."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, instance_norm, pad

from translate.conversion.inference import (
    Convolution,
    InstanceNorm,
    RowConvolution,
    TransposedConvolution,
    WinogradConvolution,
    normalize_images,
    prepare_network,
)
from translate.model import set_test_behaviour
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANGenerator
from translate.networks.unet import UNet

CPU = torch.device("cpu")
GENERATORS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "resnet": (lambda: ResNet(in_channels=3, out_channels=3, num_blocks=2, width=32), (128, 132)),
    "resnet with batch norm": (
        lambda: ResNet(in_channels=3, out_channels=1, num_blocks=1, width=8, norm="batch", upsample="resize"),
        (36, 64),
    ),
    "resnet that blurs": (
        lambda: ResNet(in_channels=3, out_channels=3, num_blocks=1, width=32, downsample="blur", upsample="blur"),
        (68, 36),
    ),
    "resnet with zero padding and labels": (
        lambda: ResNet(in_channels=1, out_channels=3, num_domains=2, num_blocks=2, width=32, padding="zero"),
        (60, 40),
    ),
    "smallest resnet": (lambda: ResNet(in_channels=3, out_channels=3, num_blocks=1, width=4, norm="none"), (8, 8)),
    "unet": (lambda: UNet(in_channels=3, out_channels=3, num_downs=5, width=16), (64, 96)),
    "unet with instance norm, labels and resizing": (
        lambda: UNet(
            in_channels=3,
            out_channels=2,
            num_domains=2,
            num_downs=3,
            width=32,
            norm="instance",
            upsample="resize",
            padding="reflect",
        ),
        (40, 88),
    ),
    "stargan": (
        lambda: StarGANGenerator(in_channels=3, out_channels=3, num_domains=2, num_blocks=2, width=32),
        (52, 40),
    ),
}


def make_network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A generator with weights and running statistics unlike the first ones, and two images for it."""
    torch.manual_seed(0)
    make, size = GENERATORS[name]
    network = make().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            module.bias.normal_()
    channels = next(module for module in network.modules() if isinstance(module, nn.Conv2d)).in_channels
    labels = (torch.eye(2),) if network.num_domains else ()
    channels -= 2 if isinstance(network, StarGANGenerator) else 0
    return network, (torch.rand(2, channels, *size) * 2 - 1, *labels)


@torch.inference_mode()
def error_of(network: nn.Module, inputs: tuple[Tensor, ...], exact: Tensor) -> float:
    return float((network(*inputs) - exact).abs().max())


@pytest.mark.parametrize("norm", ["running", "image"])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_prepared_generator_is_as_close_to_the_exact_result_as_the_plain_one(name: str, norm: str) -> None:
    network, inputs = make_network(name)
    set_test_behaviour(network, norm=norm, dropout=False)  # type: ignore[arg-type]
    exact = copy.deepcopy(network).double()(*(each.double() for each in inputs))
    plain = error_of(network, inputs, exact)
    prepared = prepare_network(network, CPU)
    assert Convolution in {type(layer) for layer in prepared.modules()}
    assert error_of(prepared, inputs, exact) < 2 * plain + 2e-6 < 1e-4


def test_every_kind_of_layer_is_replaced_where_it_pays() -> None:
    network, _ = make_network("resnet")
    kinds = [type(layer) for layer in prepare_network(network, CPU).modules()]
    assert kinds.count(WinogradConvolution) == 4  # two residual blocks of 128 channels
    assert kinds.count(RowConvolution) == 1
    assert kinds.count(Convolution) == 3
    assert kinds.count(TransposedConvolution) == 2
    assert kinds.count(InstanceNorm) == 9
    assert not {nn.Conv2d, nn.InstanceNorm2d} & set(kinds)


@pytest.mark.parametrize("name", ["resnet", "resnet with batch norm"])
def test_names_and_memory_of_weights_stay(name: str) -> None:
    network, _ = make_network(name)
    prepared = prepare_network(network, CPU)
    before, after = network.state_dict(), prepared.state_dict()
    assert list(before) == list(after)
    assert all(before[name].data_ptr() == after[name].data_ptr() for name in before)
    assert len(list(prepared.buffers())) == len(list(network.buffers()))  # nothing is held besides
    assert type(prepared) is type(network)


def test_the_plain_network_still_works_beside_the_prepared_one() -> None:
    network, inputs = make_network("stargan")
    with torch.inference_mode():
        before = network(*inputs)
        prepare_network(network, CPU)
        torch.testing.assert_close(network(*inputs), before, rtol=0, atol=1e-5)
    assert nn.Conv2d in {type(layer) for layer in network.modules()}


def test_a_network_prepared_twice_gives_the_same() -> None:
    network, inputs = make_network("resnet")
    once = prepare_network(network, CPU)
    assert torch.equal(prepare_network(once, CPU)(*inputs), once(*inputs))


def test_networks_of_others_and_other_devices_stay_as_they_are() -> None:
    class Own(ResNet):
        """May do anything with its features."""

    own = Own(in_channels=3, out_channels=3, num_blocks=1, width=2)
    assert prepare_network(own, CPU) is own
    network, _ = make_network("resnet")
    assert prepare_network(network, torch.device("cuda")) is network


def test_dropout_stays_active_where_it_was() -> None:
    torch.manual_seed(0)
    network = ResNet(in_channels=3, out_channels=3, num_blocks=1, width=4, dropout=0.5)
    set_test_behaviour(network, norm="running", dropout=True)
    prepared = prepare_network(network, CPU)
    image = torch.rand(1, 3, 16, 16)
    assert not torch.equal(prepared(image), prepared(image))
    set_test_behaviour(prepared, norm="running", dropout=False)
    assert torch.equal(prepared(image), prepared(image))


def test_images_of_a_batch_come_out_as_if_alone() -> None:
    network, (images,) = make_network("resnet")
    prepared = prepare_network(network, CPU)
    with torch.inference_mode():
        alone = torch.cat([prepared(image[None]) for image in images])
        torch.testing.assert_close(prepared(images), alone, rtol=0, atol=1e-5)


def test_threads_share_a_prepared_network() -> None:
    network, (images,) = make_network("resnet")
    prepared = prepare_network(network, CPU)
    inputs = [images * scale for scale in (0.2, 0.4, 0.6, 0.8)]
    expected = [prepared(each) for each in inputs]
    with ThreadPoolExecutor(4) as threads:
        assert all(map(torch.equal, threads.map(prepared, inputs), expected))


@pytest.mark.parametrize(("border", "mode"), [(0, "zeros"), (1, "zeros"), (1, "reflect"), (1, "replicate")])
@pytest.mark.parametrize("size", [(32, 32), (9, 131), (70, 18), (20, 24)])
def test_winograd_convolutions_are_exact_for_every_border_and_size(
    border: int, mode: Literal["zeros", "reflect", "replicate"], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(128, 128, 3, padding=border, padding_mode=mode)
    layer = prepared_layer(network)
    assert type(layer) is WinogradConvolution
    features = torch.randn(2, 128, *size)
    exact = copy.deepcopy(network).double()(features.double())
    torch.testing.assert_close(layer(features).double(), exact, rtol=0, atol=1e-5)


def test_winograd_convolutions_of_whole_numbers_give_whole_numbers() -> None:
    network = nn.Conv2d(128, 128, 3, padding=1, bias=False)
    nn.init.ones_(network.weight)
    result = prepared_layer(network)(torch.ones(1, 128, 32, 32))
    torch.testing.assert_close(result[:, :, 1:-1, 1:-1], torch.full((1, 128, 30, 30), 9.0 * 128), rtol=1e-5, atol=0)
    torch.testing.assert_close(result[0, :, 0, 0], torch.full((128,), 4.0 * 128), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [(2, 4), (8, 8), (9, 8), (20, 24)])
def test_strided_and_transposed_convolutions_are_exact_for_few_and_many_pixels(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 5, *size)
    down = nn.Conv2d(5, 7, 4, stride=2, padding=1)
    expected = conv2d(features, down.weight, down.bias, stride=2, padding=1)
    torch.testing.assert_close(prepared_layer(down)(features), expected, rtol=0, atol=1e-5)
    for kernel in (3, 4):
        up = nn.ConvTranspose2d(5, 7, kernel, stride=2, padding=1, output_padding=4 - kernel)
        expected = conv_transpose2d(features, up.weight, up.bias, stride=2, padding=1, output_padding=4 - kernel)
        torch.testing.assert_close(prepared_layer(up)(features), expected, rtol=0, atol=1e-5)


def test_convolutions_into_few_channels_are_exact() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 3, 7, padding=3)
    features = torch.randn(2, 6, 13, 17)
    expected = conv2d(pad(features, (3, 3, 3, 3)), layer.weight, layer.bias)
    torch.testing.assert_close(prepared_layer(layer)(features), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 2), (37, 21), (3, 1500), (600, 600)])
def test_statistics_of_images_are_exact_far_from_zero_and_for_many_pixels(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 16, *size) + 10 * torch.randn(1, 16, 1, 1)
    weight, bias = torch.rand(16), torch.randn(16)
    expected = instance_norm(features.double(), weight=weight.double(), bias=bias.double(), eps=1e-5)
    result = normalize_images(features, weight, bias, 1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=5e-5)


def prepared_layer(layer: nn.Module) -> nn.Module:
    """`layer` as it is in a prepared network."""
    network = ResNet(in_channels=3, out_channels=3, num_blocks=0, width=2).requires_grad_(False)
    network.model.append(copy.deepcopy(layer).requires_grad_(False))
    return list(prepare_network(network, CPU).modules())[-1]
