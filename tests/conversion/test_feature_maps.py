"""Feature maps read region by region: the same as the tensor operation, in every region and at every border."""

import errno
import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from translate.conversion import feature_maps
from translate.conversion.feature_maps import FeatureMap, Given, Kept, Padded, Source, Span, Storage, Workspace
from translate.errors import UserError
from translate.networks.attention import attend
from translate.networks.layers import normalize_pixels

CPU = torch.device("cpu")
Operation = Callable[[Any], Any]
CHANNELS = 4


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few pixels, so that tiny maps have many."""
    monkeypatch.setattr(feature_maps, "SMALLEST", 5)


def workspace(height: int, width: int, *, tile: int = 7, memory: int = 2**30) -> Workspace:
    return Workspace(tile, height, width, CPU, memory)


def given(tensor: Tensor, **options: Any) -> Any:
    return Given(tensor, workspace(*tensor.shape[2:], **options))


def regions(height: int, width: int) -> Iterator[tuple[Span, Span]]:
    """All of a map, its corners and sides of one pixel's width, and some at random."""
    yield (0, height), (0, width)
    for row in (0, height - 1):
        yield (row, row + 1), (0, width)
        for column in (0, width - 1):
            yield (row, row + 1), (column, column + 1)
            yield (0, height), (column, column + 1)
    generator = np.random.default_rng(0)
    for _ in range(6):
        rows, columns = (np.sort(generator.choice(length + 1, 2, replace=False)) for length in (height, width))
        yield (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))


def assert_equals(features: FeatureMap, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The map has the tensor's shape and in each region its values."""
    assert features.shape == expected.shape
    for rows, columns in regions(*expected.shape[2:]):
        found, wanted = features.read(rows, columns), expected[:, :, slice(*rows), slice(*columns)]
        assert found.shape == wanted.shape, (rows, columns)
        torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance, msg=lambda text: f"{rows} {columns}: {text}")  # noqa: B023


def drawn(*shape: int) -> Tensor:
    """Weights that are the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def convolution(kernel: int, stride: int, padding: int, *, groups: int = 1) -> Operation:
    weight, bias = drawn(6, CHANNELS // groups, kernel, kernel) / kernel, drawn(6)
    return lambda features: functional.conv2d(features, weight, bias, stride, padding, groups=groups)


def deconvolution(kernel: int, stride: int, padding: int, more: int = 0, *, groups: int = 1) -> Operation:
    weight, bias = drawn(CHANNELS, 6 // groups, kernel, kernel) / kernel, drawn(6)
    return lambda features: functional.conv_transpose2d(features, weight, bias, stride, padding, more, groups)


def residual(features: Any) -> Any:
    return features + functional.conv2d(
        functional.pad(features, [1] * 4, mode="reflect"), drawn(CHANNELS, CHANNELS, 3, 3)
    )


OPERATIONS: dict[str, Operation] = {
    "convolution 1": convolution(1, 1, 0),
    "convolution 3": convolution(3, 1, 1),
    "convolution 3 without padding": convolution(3, 1, 0),
    "convolution 7": convolution(7, 1, 3),
    "convolution 4 of stride 2": convolution(4, 2, 1),
    "convolution 3 of stride 2": convolution(3, 2, 1),
    "convolution 5 of stride 3": convolution(5, 3, 2),
    "convolution 1 of stride 2": convolution(1, 2, 0),
    "convolution 2 of stride 2 padded by more than it sees": convolution(2, 2, 3),
    "convolution in groups": convolution(3, 1, 1, groups=2),
    "deconvolution 3": deconvolution(3, 2, 1, 1),
    "deconvolution 3 without output padding": deconvolution(3, 2, 1),
    "deconvolution 4": deconvolution(4, 2, 1),
    "deconvolution 2": deconvolution(2, 2, 0),
    "deconvolution 5 of stride 3": deconvolution(5, 3, 1, 1),
    "deconvolution 3 of stride 1": deconvolution(3, 1, 1),
    "deconvolution in groups": deconvolution(4, 2, 1, groups=2),
    "reflection": lambda features: functional.pad(features, (2, 5, 8, 1), mode="reflect"),
    "repetition": lambda features: functional.pad(features, (2, 15, 18, 0), mode="replicate"),
    "zeros": lambda features: functional.pad(features, (9, 1, 0, 12)),
    "cut off": lambda features: functional.pad(features, (-2, 1, -1, -3)),
    "enlarged by 2": nn.Upsample(scale_factor=2, mode="nearest"),
    "enlarged by 3": lambda features: functional.interpolate(features, scale_factor=3),
    "concatenation": lambda features: torch.cat([features, features * drawn(1, CHANNELS, 1, 1)], 1),
    "sum": residual,
    "scaled and shifted": lambda features: features * drawn(1, CHANNELS, 1, 1) + drawn(1, CHANNELS, 1, 1),
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "leaky relu": nn.LeakyReLU(0.2),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "dropout that is off": nn.Dropout(0.5).eval(),
    "instance norm": nn.InstanceNorm2d(CHANNELS),
    "instance norm with weights": lambda features: functional.instance_norm(
        features, weight=drawn(CHANNELS), bias=drawn(CHANNELS), eps=0.1
    ),
    "group norm": lambda features: functional.group_norm(features, 2, drawn(CHANNELS), drawn(CHANNELS), eps=0.1),
    "norm of one group": lambda features: functional.group_norm(features, 1),
    "batch norm": lambda features: functional.batch_norm(
        features, drawn(CHANNELS), drawn(CHANNELS).abs(), drawn(CHANNELS, 1)[:, 0], drawn(CHANNELS), eps=0.1
    ),
    "batch norm without weights": lambda features: functional.batch_norm(
        features, drawn(CHANNELS), drawn(CHANNELS).abs() + 0.5
    ),
    "batch norm of the image": nn.BatchNorm2d(CHANNELS, track_running_stats=False).eval(),
    "instance norm of running statistics": nn.InstanceNorm2d(CHANNELS, affine=True, track_running_stats=True).eval(),
    "pixel norm": normalize_pixels,
    "attention": lambda features: attend(*(functional.conv2d(features, drawn(n, CHANNELS, 1, 1)) for n in (2, 2, 3))),
    "a border around a border": lambda features: functional.pad(
        functional.pad(features, (3, 3, 3, 3)), (4, 4, 4, 4), mode="reflect"
    ),
    "down and up": lambda features: deconvolution(4, 2, 1)(
        functional.conv2d(features, drawn(CHANNELS, CHANNELS, 4, 4), None, 2, 1)
    ),
}


@pytest.mark.parametrize("kept", [32, 0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_region_is_that_of_the_tensor(
    name: str, kept: int, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_maps, "KEPT", kept)
    operation = OPERATIONS[name]
    torch.manual_seed(0)
    for height, width in ((13, 22), (30, 10)):
        tensor = torch.randn(1, CHANNELS, height, width) + 0.5
        assert_equals(operation(given(tensor)), operation(tensor.clone()))


def test_maps_of_few_values_are_kept_and_others_computed_again() -> None:
    features = given(torch.randn(1, CHANNELS, 10, 12))
    for channels, kept in ((32, True), (33, False)):
        made = functional.conv2d(features, torch.randn(channels, CHANNELS, 1, 1))
        assert isinstance(made, Kept) == kept


def test_borders_of_a_single_pixel_repeat_it() -> None:
    features = given(torch.full((1, 1, 1, 1), 7.0))
    for mode in ("reflect", "replicate"):
        assert Padded(features, (2, 1, 0, 3), mode).read((0, 4), (0, 4)).eq(7).all()
    assert Padded(features, (2, 1, 0, 3), "constant").read((0, 4), (0, 4)).nonzero().tolist() == [[0, 0, 0, 2]]


def test_borders_far_wider_than_the_map_go_to_and_fro() -> None:
    features = given(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
    padded = Padded(features, (0, 6, 0, 0), "reflect")
    assert padded.read((0, 1), (0, 9)).flatten().tolist() == [1, 2, 3, 2, 1, 2, 3, 2, 1]
    assert padded.read((0, 1), (4, 7)).flatten().tolist() == [1, 2, 3]


def test_regions_wholly_in_the_border_are_zero_repeated_or_reflected() -> None:
    features = given(torch.arange(1.0, 7).view(1, 1, 2, 3))
    for mode, expected in (("constant", [0, 0]), ("replicate", [1, 1]), ("reflect", [6, 5])):
        padded = Padded(features, (2, 0, 1, 0), mode)
        assert padded.read((0, 1), (0, 2)).flatten().tolist() == expected


def test_an_image_goes_on_by_reflection_at_bottom_and_right() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    source = Source(image, 5, 6, workspace(5, 6), lambda pixels: torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert source.shape == (1, 1, 5, 6)
    expected = [[0, 1, 2, 1, 0, 1], [3, 4, 5, 4, 3, 4]]
    assert source.read((0, 5), (0, 6))[0, 0].tolist() == [expected[row % 2] for row in range(5)]
    assert source.read((3, 5), (4, 6))[0, 0].tolist() == [[3, 4], [0, 1]]


# --- statistics ---


@pytest.mark.parametrize(("height", "width", "tile"), [(40, 50, 7), (1, 90, 13), (33, 2, 5), (20, 20, 64)])
def test_statistics_of_pieces_are_those_of_the_whole(height: int, width: int, tile: int, small_pieces: None) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, height, width)) * [[[1]], [[5]], [[0.1]]] + np.linspace(0, 3, width)
    values = values.astype(np.float32)
    features = given(torch.from_numpy(values)[None], tile=tile)
    mean, variance = features.statistics
    assert mean.dtype == variance.dtype == torch.float64
    np.testing.assert_allclose(mean, values.mean((1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance, values.astype(np.float64).var((1, 2)), rtol=1e-6)


def test_statistics_hold_far_from_zero_and_where_nothing_varies(small_pieces: None) -> None:
    generator = np.random.default_rng(0)
    values = np.stack([generator.normal(1000, 1, (60, 50)), np.full((60, 50), 1e4)]).astype(np.float32)
    mean, variance = given(torch.from_numpy(values)[None]).statistics
    np.testing.assert_allclose(mean, values.mean((1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance, values.astype(np.float64).var((1, 2)), rtol=1e-4, atol=1e-6)
    assert variance[1] == 0


def test_statistics_are_noted_in_their_order_and_measured_once() -> None:
    features = given(torch.tensor([[[[1.0, 3.0]]]]))
    assert features.statistics is features.statistics
    other = (features * torch.tensor(2.0)).statistics
    assert [[float(value) for value in pair] for pair in features.workspace.moments] == [[2, 1], [4, 4]]
    assert features.workspace.moments[1] is other


def test_statistics_of_parts_are_of_nothing_else() -> None:
    tensor = torch.randn(1, 2, 20, 24)
    features = given(tensor)
    features.workspace.measured = [((2, 10), (4, 12)), ((12, 20), (0, 8))]
    small: Any = functional.conv2d(features, torch.eye(2)[:, :, None, None], stride=2)
    for made, parts in (
        (features, [tensor[0, :, 2:10, 4:12], tensor[0, :, 12:20, :8]]),
        (small, [tensor[0, :, 2:10:2, 4:12:2], tensor[0, :, 12:20:2, :8:2]]),
    ):
        values = torch.cat([part.flatten(1) for part in parts], 1).double()
        torch.testing.assert_close(made.statistics[0], values.mean(1))
        torch.testing.assert_close(made.statistics[1], values.var(1, correction=0), rtol=1e-6, atol=0)


def test_parts_smaller_than_a_pixel_of_a_small_map_do_not_count_as_zero() -> None:
    features = given(torch.full((1, 1, 64, 64), 3.0))
    features.workspace.measured = [((8, 24), (8, 24)), ((40, 56), (40, 56))]
    small: Any = functional.conv2d(features, torch.ones(1, 1, 1, 1), stride=32)
    assert [float(value) for value in small.statistics] == [3, 0]


def test_small_maps_are_worked_through_in_pieces_of_some_size() -> None:
    space = Workspace(64, 640, 320, CPU, 0)
    assert [rows for rows, _ in space.regions(640, 64)] == [(top, top + 64) for top in range(0, 640, 64) for _ in "12"]
    assert {columns for _, columns in space.regions(640, 64)} == {(0, 32), (32, 64)}
    assert list(space.regions(5, 3)) == [((0, 5), (0, 3))]


# --- where maps are kept ---


def test_what_exceeds_the_memory_lies_in_a_file_that_goes_with_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tensor = torch.randn(1, CHANNELS, 20, 30)
    parent = given(tensor, memory=20 * 30 * CHANNELS * 4)
    first, second = Kept(parent), Kept(parent)
    assert parent.workspace.memory == 0
    assert not isinstance(first.storage.values, np.memmap)
    assert isinstance(second.storage.values, np.memmap)
    assert_equals(first, tensor)
    assert_equals(second, tensor)
    del first, second
    assert list(tmp_path.rglob("*")) == []
    assert parent.workspace.memory == 20 * 30 * CHANNELS * 4


def test_a_network_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def network(features: Any) -> Any:
        features = functional.relu(functional.conv2d(features, torch.randn(3, CHANNELS, 3, 3)))
        raise RuntimeError(f"with {features}")

    with pytest.raises(RuntimeError) as caught:
        network(given(torch.randn(1, CHANNELS, 20, 30), memory=0))
    del caught
    gc.collect()
    assert list(tmp_path.rglob("*")) == []


def test_a_full_disk_is_said_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def allocate(file: int, start: int, size: int) -> None:
        if size > 100:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    space = workspace(4000, 3000, memory=0)
    with pytest.raises(UserError) as caught:
        Storage((4000, 3000, 32), space)
    message = str(caught.value)
    assert "an image of 3000x4000 pixels need 1.4 GiB" in message
    assert "--tile-statistics sampled" in message
    assert "TMPDIR" in message
    assert list(tmp_path.iterdir()) == []
    assert Storage((5, 5, 1), space).values.shape == (5, 5, 1)  # 100 bytes fit


# --- what is not known ---


class Oblong(nn.Module):
    def forward(self, features: Any) -> Any:
        return functional.conv2d(features, torch.ones(1, CHANNELS, 1, 3))


UNKNOWN: dict[str, tuple[Operation, str]] = {
    "fft": (torch.fft.fft2, "fft_fft2"),
    "silu": (nn.SiLU(), "silu"),
    "pooling": (nn.AvgPool2d(2), "avg_pool2d"),
    "layer norm": (nn.LayerNorm(8), "layer_norm"),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), "bilinear"),
    "a size": (lambda features: functional.interpolate(features, size=(30, 40)), "interpolate"),
    "a fraction": (nn.Upsample(scale_factor=1.5), "interpolate"),
    "dilated": (nn.Conv2d(CHANNELS, 1, 3, dilation=2), "dilated"),
    "dilated and transposed": (nn.ConvTranspose2d(CHANNELS, 1, 3, dilation=2), "transposed convolution"),
    "oblong": (Oblong(), "oblong"),
    "padded by name": (nn.Conv2d(CHANNELS, 1, 3, padding="same"), "convolution"),
    "two strides": (nn.Conv2d(CHANNELS, 1, 3, stride=(1, 2)), r"\(1, 2\)"),
    "two paddings": (nn.Conv2d(CHANNELS, 1, 3, padding=(0, 1)), r"\(0, 1\)"),
    "padded by ones": (lambda features: functional.pad(features, [1] * 4, value=1), "pad by"),
    "padded around": (nn.Conv2d(CHANNELS, 1, 3, padding=1, padding_mode="circular"), "circular"),
    "a method": (lambda features: features.mean((2, 3), keepdim=True), ""),
    "an operator": (lambda features: features / 2, ""),
    "a plane": (lambda features: features * torch.ones(20, 8), "several pixels"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_does_not_work_in_pieces_is_refused_by_name_with_a_remedy(name: str) -> None:
    network, word = UNKNOWN[name]
    with pytest.raises(UserError, match=f"{word}.*--tile off"):
        network(given(torch.randn(1, CHANNELS, 20, 8)))


def test_numbers_scale_and_shift() -> None:
    tensor = torch.randn(1, CHANNELS, 9, 8)
    features = given(tensor)
    assert_equals(features * 0.5, tensor * 0.5)
    assert_equals(0.5 * features, tensor * 0.5)
    assert_equals(features + 1, tensor + 1)


# --- chance ---


def test_dropped_features_stay_dropped_however_often_they_are_read() -> None:
    dropped = nn.Dropout(0.5)(given(torch.ones(1, 1, 40, 40)))
    values = dropped.read((0, 40), (0, 40))
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < values.eq(0).float().mean() < 0.6
    for rows, columns in regions(40, 40):
        assert torch.equal(dropped.read(rows, columns), values[:, :, slice(*rows), slice(*columns)])
