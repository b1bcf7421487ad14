"""Images translated in tiles: the values of the network run on the image in one piece."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from translate.conversion import tiles
from translate.conversion.feature_maps import Workspace
from translate.conversion.inference import WinogradConvolution, prepare_network
from translate.conversion.tiles import (
    Canvas,
    Statistics,
    reach_of,
    sample_statistics,
    translate_layerwise,
    translate_tilewise,
)
from translate.conversion.torch_engine import reflect
from translate.errors import UserError
from translate.model import set_test_behaviour
from translate.networks.attention import SelfAttention
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANGenerator
from translate.networks.unet import UNet

CPU = torch.device("cpu")
Size = tuple[int, int]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(B, H, W, C) to (B, C, H, W), the values as they are."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)


def canvas_of(image: Any, multiple: int = 1, min_size: int = 1) -> Canvas:
    """An image (H, W, C) of float32 in [-1, 1] as its own pixels."""
    height, width = (max(-(-side // multiple) * multiple, min_size) for side in image.shape[:2])
    return Canvas(image, height, width, as_tensor, lambda images: images[0].permute(1, 2, 0).numpy())


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Noise whose brightness and contrast change from the top left to the bottom right."""
    slope = np.linspace(0, 1, height)[:, None, None] + np.linspace(0, 0.5, width)[None, :, None]
    values = np.random.default_rng(0).uniform(-1, 1, (height, width, channels)) * slope + slope / 2
    return np.clip(values, -1, 1).astype(np.float32)


def whole(network: Any, canvas: Canvas) -> np.ndarray:
    """The image translated in one piece, on its reflected border."""
    height, width = canvas.pixels.shape[:2]
    batch = as_tensor(np.asarray(canvas.pixels)[None])
    output = network(reflect(batch, canvas.height - height, canvas.width - width))
    pixels: np.ndarray = output[0, :, :height, :width].permute(1, 2, 0).numpy()
    return pixels


def layerwise(network: Any, canvas: Canvas, tile: int, memory: int = 2**30) -> np.ndarray:
    return np.concatenate(list(translate_layerwise(network, canvas, tile=tile, device=CPU, memory=memory)))


def tilewise(network: Any, canvas: Canvas, tile: int, multiple: int = 1, min_size: int = 1) -> np.ndarray:
    strips = translate_tilewise(
        network, canvas, tile=tile, device=CPU, memory=2**30, multiple=multiple, min_size=min_size
    )
    return np.concatenate(list(strips))


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert expected.std() > 0.05  # else there is nothing to see
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def resnet(**options: Any) -> ResNet:
    defaults: dict[str, Any] = {"num_blocks": 2, "width": 3, "initialization": "kaiming"}
    return ResNet(in_channels=3, out_channels=2, **defaults | options)


def unet(**options: Any) -> UNet:
    defaults: dict[str, Any] = {"num_downs": 5, "width": 2, "initialization": "kaiming"}
    return UNet(in_channels=3, out_channels=2, **defaults | options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": resnet,
    "resnet, batch norm, repeated border": partial(resnet, norm="batch", padding="replicate"),
    "resnet, batch norm, zeros, resizing": partial(resnet, norm="batch", padding="zero", upsample="resize"),
    "resnet, no norm": partial(resnet, norm="none", gain=0.7),
    "resnet, zeros": partial(resnet, padding="zero"),
    "resnet, repeated border, resizing": partial(resnet, padding="replicate", upsample="resize"),
    "resnet, blur": partial(resnet, downsample="blur", upsample="blur"),
    "resnet, labels": partial(resnet, num_domains=2),
    "resnet, batch norm, labels, zeros": partial(resnet, num_domains=2, norm="batch", padding="zero"),
    "stargan": lambda: StarGANGenerator(in_channels=3, out_channels=2, num_domains=2, num_blocks=2, width=3),
    "unet": unet,
    "unet, instance norm": partial(unet, norm="instance"),
    "unet, instance norm, reflected border": partial(unet, norm="instance", padding="reflect", num_downs=3),
    "unet, no norm, resizing": partial(unet, norm="none", upsample="resize"),
    "resnet, pixel norm, attention": partial(resnet, norm="pixel", attention=True, width=8),
    "unet, attention": partial(unet, attention=True),
    "unet, labels": partial(unet, num_domains=2, num_downs=4, norm="instance"),
}


def make_network(name: str, norm_at_test: str = "running") -> tuple[Any, Any]:
    """A generator with weights and running statistics unlike the first ones, and a function that adds its labels."""
    torch.manual_seed(0)
    network: Any = NETWORKS[name]().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        if isinstance(module, SelfAttention):
            module.gamma.fill_(1.0)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) and module.bias is not None:
            module.bias.normal_(0, 0.3)
    set_test_behaviour(network, norm=norm_at_test, dropout=False)  # type: ignore[arg-type]
    labels = (torch.tensor([[1.0, 0.0]]),) if network.num_domains else ()
    return network, lambda each: lambda images: each(images, *labels)


# --- layer by layer ---


@pytest.mark.parametrize("name", NETWORKS)
def test_layer_by_layer_every_value_is_that_of_one_piece(name: str) -> None:
    network, labeled = make_network(name)
    canvas = canvas_of(noise(51, 77), network.size_multiple, getattr(network, "min_size", 1))
    expected = whole(labeled(network), canvas)
    for each in (network, prepare_network(network, CPU)):
        found = layerwise(labeled(each), canvas, 37)
        assert_same(found, expected)
        levels = [np.round((values + 1) * 127.5).astype(int) for values in (found, expected)]
        assert np.abs(levels[0] - levels[1]).max() <= 1


@pytest.mark.parametrize("name", ["resnet, batch norm, repeated border", "unet"])
def test_batch_norm_by_the_image_is_that_of_one_piece(name: str) -> None:
    network, _ = make_network(name, norm_at_test="image")
    canvas = canvas_of(noise(70, 51), network.size_multiple)
    expected = whole(network, canvas)
    assert np.abs(expected - whole(make_network(name)[0], canvas)).max() > 0.1
    assert_same(layerwise(network, canvas, 37), expected)
    assert_same(layerwise(prepare_network(network, CPU), canvas, 37), expected)


def test_double_precision_agrees_with_what_tiles_compute() -> None:
    network, _ = make_network("unet, instance norm")
    canvas = canvas_of(noise(90, 70), network.size_multiple)
    height, width = canvas.pixels.shape[:2]
    padded = reflect(as_tensor(canvas.pixels[None]), canvas.height - height, canvas.width - width).double()  # type: ignore[index]
    expected = copy.deepcopy(network).double()(padded)[0, :, :height, :width].permute(1, 2, 0).numpy()
    assert_same(layerwise(network, canvas, 40), expected)


@pytest.mark.parametrize("size", [(1, 2), (1, 90), (70, 1), (2, 150), (5, 7), (66, 3)])
@pytest.mark.parametrize("name", ["resnet", "unet", "stargan"])
def test_thin_and_tiny_images_are_those_of_one_piece(name: str, size: Size) -> None:
    network, labeled = make_network(name)
    canvas = canvas_of(noise(*size), network.size_multiple, getattr(network, "min_size", 1))
    found, expected = layerwise(labeled(network), canvas, 33), whole(labeled(network), canvas)
    assert found.shape == (*size, 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_wide_layers_are_prepared_for_tiles_too() -> None:
    torch.manual_seed(0)
    network = ResNet(in_channels=3, out_channels=2, num_blocks=1, width=32, initialization="kaiming").eval()
    prepared = prepare_network(network.requires_grad_(False), CPU)
    assert sum(isinstance(layer, WinogradConvolution) for layer in prepared.modules()) == 2
    canvas = canvas_of(noise(150, 41), 4)
    assert_same(layerwise(prepared, canvas, 67), whole(network, canvas))
    for mode in ("zeros", "reflect", "replicate"):
        layer = nn.Conv2d(128, 128, 3, padding=1, padding_mode=mode).requires_grad_(False)
        network.model[12].conv_block = nn.Sequential(layer)  # the residual block
        prepared = prepare_network(network, CPU)
        assert isinstance(prepared.model[12].conv_block[0], WinogradConvolution)  # type: ignore[index,union-attr]
        assert_same(layerwise(prepared, canvas, 67), whole(network, canvas))


def test_maps_in_files_give_the_same() -> None:
    network, _ = make_network("unet, instance norm")
    canvas = canvas_of(noise(50, 60), network.size_multiple)
    np.testing.assert_array_equal(layerwise(network, canvas, 37, memory=0), layerwise(network, canvas, 37))


def test_strips_come_from_the_top_and_have_the_height_of_a_tile() -> None:
    network, _ = make_network("resnet")
    strips = translate_layerwise(network, canvas_of(noise(90, 41), 4), tile=37, device=CPU, memory=2**30)
    assert [strip.shape for strip in strips] == [(37, 41, 2), (37, 41, 2), (16, 41, 2)]


def test_the_image_is_never_read_as_a_whole() -> None:
    class Counting:
        """Notes which parts are read."""

        def __init__(self, pixels: np.ndarray) -> None:
            self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
            self.read: list[Size] = []

        def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
            part = self.pixels[place]
            self.read.append(part.shape[:2])
            return part

    network, _ = make_network("resnet")
    image = Counting(noise(150, 130))
    assert_same(layerwise(network, canvas_of(image, 4), 40), whole(network, canvas_of(image.pixels, 4)))
    assert max(height for height, _ in image.read) < 60  # a piece of 40 pixels and what the first layers see
    assert max(width for _, width in image.read) < 60


def test_a_network_with_an_unknown_layer_is_refused_either_way() -> None:
    class Waves(nn.Module):
        def forward(self, images: Any) -> Any:
            return torch.fft.fft2(images).real

    canvas = canvas_of(noise(40, 40))
    for run in (partial(layerwise, tile=32), partial(tilewise, tile=32)):
        with pytest.raises(UserError, match=r"fft_fft2.*--tile off") as caught:
            run(Waves(), canvas)
        assert "sampled" not in str(caught.value)  # which would not help


# --- what a pixel depends on ---


def padded_chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("network", "multiple", "reach"),
    [
        (padded_chain(nn.Conv2d(3, 1, 1)), 1, 0),
        (padded_chain(nn.Conv2d(3, 1, 3, padding=1)), 1, 1),
        (padded_chain(nn.Conv2d(3, 2, 5, padding=2), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)), 1, 3),
        (padded_chain(nn.ReflectionPad2d(3), nn.Conv2d(3, 1, 7)), 1, 3),
        (padded_chain(nn.Conv2d(3, 1, 3, 2, 1), nn.Upsample(scale_factor=2)), 2, 2),
        # Pixel 2m sees rows m-1 and m of the small map, which see 2m-3 to 2m+2; 2m+1 sees 2m-1 to 2m+4.
        (padded_chain(nn.Conv2d(3, 1, 4, 2, 1), nn.ConvTranspose2d(1, 1, 4, 2, 1)), 2, 3),
        (resnet(num_blocks=9, width=1).eval(), 4, 84),
        (resnet(num_blocks=6, width=1).eval(), 4, 60),
        (resnet(num_blocks=6, width=1, padding="zero", norm="batch").eval(), 4, 60),
    ],
)
def test_the_reach_of_a_network_by_hand(network: Any, multiple: int, reach: int) -> None:
    canvas = canvas_of(noise(8, 8))
    assert reach_of(network, canvas, multiple, CPU)[0] == reach


@pytest.mark.parametrize("make", [partial(unet, num_downs=3), partial(resnet, num_blocks=1, norm="batch")])
def test_a_pixel_depends_on_nothing_beyond_its_reach_and_on_something_there(make: Callable[[], Any]) -> None:
    with torch.inference_mode(False):
        network = make().eval().requires_grad_(False)
        for parameter in network.parameters():
            parameter.uniform_(0.01, 0.1)
    multiple = network.size_multiple
    reach, _ = reach_of(network, canvas_of(noise(8, 8)), multiple, CPU)
    side = 4 * (reach // multiple) * multiple
    middle = side // 2
    with torch.inference_mode(False):
        images = torch.zeros(1, 3, side, 8 * multiple, requires_grad=True)
        distances = []
        for row in range(middle, middle + multiple):
            (gradient,) = torch.autograd.grad(network(images)[0, :, row].sum(), images)
            seen = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
            distances += [row - int(seen[0]), int(seen[-1]) - row]
    assert max(distances) == reach


# --- tile by tile ---


@pytest.mark.parametrize("size", [(131, 110), (65, 30)])
@pytest.mark.parametrize(
    "make",
    [
        partial(resnet, norm="batch", num_blocks=1),
        partial(resnet, norm="none", num_blocks=1, padding="zero", gain=0.7),
        partial(resnet, norm="batch", num_blocks=0, num_domains=2, padding="replicate", upsample="resize"),
        partial(unet, num_downs=2),
    ],
)
def test_tile_by_tile_without_statistics_every_value_is_that_of_one_piece(
    make: Callable[[], Any], size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "sample_statistics", lambda *_: [])
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    labels = (torch.eye(2)[:1],) if network.num_domains else ()
    canvas = canvas_of(noise(*size), 4)

    def run(images: Any) -> Any:
        return network(images, *labels)

    expected = whole(run, canvas)
    assert_same(tilewise(run, canvas, 64, multiple=4), expected)
    prepared = prepare_network(network, CPU)
    assert_same(tilewise(lambda images: prepared(images, *labels), canvas, 50, multiple=4), expected)


@pytest.mark.parametrize(
    "name", ["resnet", "resnet, blur", "stargan", "resnet, labels", "unet, instance norm, reflected border"]
)
def test_tile_by_tile_with_the_images_own_statistics_every_value_is_that_of_one_piece(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, labeled = make_network(name)
    canvas = canvas_of(noise(130, 141), network.size_multiple)
    space = Workspace(64, canvas.height, canvas.width, CPU, 2**30)
    labeled(network)(canvas.source(space))
    monkeypatch.setattr(tiles, "sample_statistics", lambda *_: space.moments)
    expected = whole(labeled(network), canvas)
    for each in (network, prepare_network(network, CPU)):
        assert_same(tilewise(labeled(each), canvas, 64, multiple=network.size_multiple), expected)


def test_the_statistics_of_tiles_are_on_the_device_of_the_network() -> None:
    known = [(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))]
    with Statistics(known):
        output = nn.InstanceNorm2d(3)(torch.empty(1, 3, 4, 4, device="meta"))
    assert output.device.type == "meta"


def test_known_statistics_take_the_place_of_the_images_own_inside_alone() -> None:
    known = [(torch.tensor([1.0]), torch.tensor([4.0])), (torch.tensor([0.0]), torch.tensor([0.25]))]
    norm, features = nn.InstanceNorm2d(1, eps=0), torch.tensor([[[[3.0, 5.0]]]])
    statistics = Statistics(known)
    for _ in range(2):  # from the first again
        with statistics:
            assert norm(features).tolist() == [[[[1, 2]]]]
            assert norm(features).tolist() == [[[[6, 10]]]]
            assert functional.relu(features).tolist() == features.tolist()
    assert norm(features).tolist() == [[[[-1, 1]]]]


@pytest.mark.parametrize("ramp", [0, 1, 8, 32])
@pytest.mark.parametrize("length", [30, 64, 65, 90, 96, 128, 200])
def test_shares_of_tiles_add_up_to_one(length: int, ramp: int) -> None:
    total = torch.zeros(length)
    for first in range(0, length, 64):
        share = tiles._share(first, 64, ramp, length)
        assert share.min() >= 0
        total[max(first - ramp, 0) : first + 64 + ramp] += share
    torch.testing.assert_close(total, torch.ones(length))


@pytest.fixture
def narrow_border(monkeypatch: pytest.MonkeyPatch) -> None:
    """Borders of 16 pixels at most, so that tiny networks reach beyond them."""
    monkeypatch.setattr(tiles, "WIDEST_BORDER", 16)


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (72, 66), (73, 129), (96, 130), (200, 30), (10, 10)])
def test_where_tiles_are_blended_a_constant_stays_one(narrow_border: None, size: Size) -> None:
    torch.manual_seed(0)
    network = unet(num_downs=3, norm="none").eval().requires_grad_(False)
    canvas = canvas_of(noise(*size), 8)
    assert reach_of(network, canvas, 8, CPU)[0] > 16
    last: Any = network.model.model[3]
    last.weight.zero_()
    last.bias.fill_(2.0)
    output = tilewise(network, canvas, 64, multiple=8)
    assert output.shape == (*size, 2)
    np.testing.assert_allclose(output, np.tanh(2), rtol=1e-6)


def test_where_tiles_differ_one_fades_into_the_next(narrow_border: None) -> None:
    wide = torch.ones(1, 1, 41, 41)

    def network(images: Any) -> Any:
        """Depends on pixels 20 away, and gives in each tile a number of its own."""
        if not isinstance(images, Tensor):
            return functional.conv2d(images, wide, padding=20)
        return images.amax((2, 3), keepdim=True).expand(-1, -1, *images.shape[2:])

    image = np.zeros((192, 10, 1), np.float32)
    image[96:] = 1
    image[160:] = 2
    output = tilewise(network, canvas_of(image), 64)[:, 0, 0]
    # The tiles with their borders of 16 see rows 0 to 80, 48 to 144 and 112 to 192; they meet at 64 and 128.
    expected = np.select([np.arange(192) < 64, np.arange(192) < 128], [0, 1], 2).astype(np.float32)
    expected[56:72] = (np.arange(16) + 0.5) / 16
    expected[120:136] = 1 + (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_blended_tiles_of_a_unet_are_near_the_image_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = unet(num_downs=5, norm="batch").eval().requires_grad_(False)
    monkeypatch.setattr(tiles, "WIDEST_BORDER", 64)
    canvas = canvas_of(noise(300, 140), 32)
    assert reach_of(network, canvas, 32, CPU)[0] > 64
    found, expected = tilewise(network, canvas, 64, multiple=32), whole(network, canvas)
    assert expected.std() > 0.05
    assert np.abs(found - expected).max() < 0.05


class Rows:
    """An image that notes which rows and columns of it are read."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype
        self.read: list[tuple[int, int, int, int]] = []

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        rows, columns = place
        self.read.append((rows.start, rows.stop, columns.start, columns.stop))
        return self.pixels[place]


def test_tiles_are_read_from_the_top_as_strips_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "sample_statistics", lambda *_: [])
    network = padded_chain(nn.Conv2d(3, 1, 9, padding=4))
    image = Rows(noise(200, 100))
    strips = translate_tilewise(network, canvas_of(image), tile=64, device=CPU, memory=0, multiple=1, min_size=1)
    parts = []
    for last in (68, 132, 196, 200):
        parts.append(next(strips))
        assert max(bottom for _, bottom, _, _ in image.read) == last
    assert [part.shape for part in parts] == [(64, 100, 1)] * 3 + [(8, 100, 1)]
    assert image.read == [
        (max(top - 4, 0), min(top + 68, 200), left, right)
        for top in (0, 64, 128, 192)
        for left, right in ((0, 68), (60, 100))
    ]
    assert list(strips) == []
    assert_same(np.concatenate(parts), whole(network, canvas_of(image.pixels)))


def test_blended_strips_hold_back_what_the_next_tiles_have_a_share_in(narrow_border: None) -> None:
    network = padded_chain(nn.Conv2d(3, 1, 41, padding=20))
    strips = translate_tilewise(
        network, canvas_of(noise(150, 40)), tile=64, device=CPU, memory=0, multiple=1, min_size=1
    )
    assert [len(strip) for strip in strips] == [56, 64, 30]


# --- statistics of a sample ---


def normalizing(channels: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, channels, 1), nn.InstanceNorm2d(channels)).eval().requires_grad_(False)


def sampled(network: Any, image: Any, *, multiple: int = 4, border: int = 32) -> list[tuple[np.ndarray, np.ndarray]]:
    moments = sample_statistics(network, canvas_of(image, multiple), 64, border, multiple, CPU, 2**30)
    return [(mean.numpy(), variance.numpy()) for mean, variance in moments]


@pytest.mark.parametrize("size", [(40, 60), (300, 240), (8, 500)])
def test_a_sample_of_an_image_that_repeats_itself_gives_its_statistics(size: Size) -> None:
    image = np.tile(noise(4, 4), (size[0] // 4, size[1] // 4, 1))
    network = normalizing()
    ((mean, variance),) = sampled(network, image)
    values = network[0](as_tensor(image[None]))[0].double()
    np.testing.assert_allclose(mean, values.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, values.var((1, 2), correction=0), rtol=1e-5)
    assert_same(tilewise(network, canvas_of(image), 64, multiple=4), whole(network, canvas_of(image)))


def test_a_sample_of_a_constant_image_gives_its_value_and_no_variance() -> None:
    network: Any = padded_chain(nn.ReflectionPad2d(2), nn.Conv2d(3, 1, 5, bias=False), nn.InstanceNorm2d(1))
    network[1].weight.fill_(1)
    ((mean, variance),) = sampled(network, np.full((260, 300, 3), 0.5, np.float32))
    np.testing.assert_allclose(mean, [25 * 3 * 0.5])
    np.testing.assert_allclose(variance, [0], atol=1e-9)


def test_the_borders_of_squares_do_not_count() -> None:
    """A convolution with zeros around the image is off at its sides alone, which lie in the borders."""
    network: Any = padded_chain(nn.Conv2d(3, 1, 5, padding=2, bias=False), nn.InstanceNorm2d(1))
    network[0].weight.fill_(1)
    ((mean, variance),) = sampled(network, np.full((260, 300, 3), 0.5, np.float32))
    np.testing.assert_allclose(mean, [25 * 3 * 0.5])
    np.testing.assert_allclose(variance, [0], atol=1e-9)


def test_a_sample_has_the_statistics_of_the_image_about_and_is_the_same_each_time() -> None:
    image, network = noise(700, 600), normalizing()
    ((mean, variance),) = sampled(network, image)
    values = network[0](as_tensor(image[None]))[0]
    deviation = values.std((1, 2)).numpy()
    assert (np.abs(mean - values.mean((1, 2)).numpy()) < 0.1 * deviation).all()
    np.testing.assert_allclose(variance**0.5, deviation, rtol=0.1)
    np.testing.assert_array_equal(sampled(network, image)[0][0], mean)


def test_a_sample_reads_a_part_of_a_large_image() -> None:
    image = Rows(noise(1500, 1600, 1))
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.InstanceNorm2d(1)).eval().requires_grad_(False)
    sample_statistics(network, canvas_of(image), 64, 32, 1, CPU, 2**30)
    sides = {(bottom - top, right - left) for top, bottom, left, right in image.read}
    assert sides == {(192, 192)}
    assert len(image.read) == 16  # 20 of 100 pixels would be 13: a grid has four rows at least
    assert len({read[0] for read in image.read}) > 8
    for place, (top, bottom, left, right) in enumerate(image.read):
        assert place // 4 * (1500 - 192) / 4 <= top + 1 <= (place // 4 + 1) * (1500 - 192) / 4 + 1
        assert bottom <= 1500
        assert 0 <= left < right <= 1600


def test_statistics_come_in_the_order_of_the_layers() -> None:
    network, labeled = make_network("resnet")
    canvas = canvas_of(noise(60, 50), 4)
    moments = sample_statistics(labeled(network), canvas, 64, 32, 4, CPU, 2**30)
    channels = [module.num_features for module in network.modules() if isinstance(module, nn.InstanceNorm2d)]
    assert [len(mean) for mean, _ in moments] == channels
