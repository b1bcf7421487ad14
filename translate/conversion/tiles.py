"""Translating an image in tiles without seams: layer by layer over the whole image, or tile by tile.

Layer by layer (`exact`), every value is what it would be in one piece, whatever the network: statistics of
normalisation are those of the whole image, a U-Net's bottleneck sees all of it. Tile by tile (`sampled`), each tile
brings a border as wide as what its pixels depend on, and statistics are estimated beforehand from a sample of
squares spread over the image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from translate.conversion.engine import Pixels
from translate.conversion.feature_maps import FUNCTIONS, NORMALIZATIONS, FeatureMap, Moments, Source, Workspace

SAMPLE_SIDE, SAMPLE_BORDER = 128, 32
"""Pixels per side of the squares that statistics are estimated from, and of their borders, which are not counted: what
lies further away has little influence on a mean."""
SAMPLE_SHARE = 0.2
"""Of an image's pixels, what the squares with their borders come to,"""
FEWEST, MOST = 4, 16
"""within these numbers of squares per row and column."""
WIDEST_BORDER = 256
"""Pixels of border at most: a U-Net's pixels depend on far more, ever so little. Tiles are blended there instead."""

Network = Callable[[Any], Any]
"""A network with its labels, if it takes some: from images (B, C, H, W) or a feature map to the same."""


@dataclass(frozen=True)
class Canvas:
    """An image (H, W, C) to be translated, and how its pixels become what the network sees.

    Attributes:
        pixels: the image.
        height: its height, continued by reflection to what the network takes.
        width: the same of its width.
        normalize: from pixels (1, H, W, C) to a tensor (1, C, H, W) on the device in [-1, 1].
        denormalize: from a tensor (1, C, H, W) to pixels (H, W, C).
    """

    pixels: Pixels
    height: int
    width: int
    normalize: Callable[[np.ndarray], Tensor]
    denormalize: Callable[[Tensor], np.ndarray]

    def source(self, workspace: Workspace) -> Source:
        """The image as a feature map."""
        return Source(self.pixels, self.height, self.width, workspace, self.normalize)


def translate_layerwise(
    network: Network, canvas: Canvas, *, tile: int, device: torch.device, memory: int
) -> Iterator[np.ndarray]:
    """Translate layer by layer: strips (rows, W, C) from top to bottom. `memory` bytes of features stay in memory."""
    workspace = Workspace(tile, canvas.height, canvas.width, device, memory)
    result: FeatureMap = network(canvas.source(workspace))
    height, width = canvas.pixels.shape[:2]
    for top in range(0, height, tile):
        rows = top, min(top + tile, height)
        pieces = [
            canvas.denormalize(result.read(rows, (left, min(left + tile, width)))) for left in range(0, width, tile)
        ]
        yield np.concatenate(pieces, axis=1)


def translate_tilewise(
    network: Network,
    canvas: Canvas,
    *,
    tile: int,
    device: torch.device,
    memory: int,
    multiple: int,
    min_size: int,
) -> Iterator[np.ndarray]:
    """Translate tile by tile: strips (rows, W, C) from top to bottom. `memory` is as for `translate_layerwise`;
    `multiple` and `min_size` are those of the sizes that the network takes.
    """
    reach, is_normalized = reach_of(network, canvas, multiple, device)
    border = _rounded(min(reach, WIDEST_BORDER), multiple)
    ramp = 0 if border >= reach else border // 2  # where tiles differ, one fades into the next
    tile = _rounded(max(tile, 2 * ramp, min_size), multiple)
    height, width = canvas.height, canvas.width
    source = canvas.source(Workspace(tile, height, width, device, 0))
    inner = min(border, SAMPLE_BORDER)
    statistics = Statistics(
        sample_statistics(network, canvas, tile, inner, multiple, device, memory) if is_normalized else []
    )
    done = 0
    waiting: Tensor | None = None  # rows from `done` on that the next tiles have a share in
    for top in range(0, height, tile):
        rows = max(top - ramp, 0), min(top + tile + ramp, height)
        strip: Tensor | None = None
        for left in range(0, width, tile):
            columns = max(left - ramp, 0), min(left + tile + ramp, width)
            seen = [
                (max(first - border, 0), min(first + tile + border, length))
                for first, length in ((top, height), (left, width))
            ]
            with statistics:
                output: Tensor = network(source.read(*seen)).cpu()  # (1, C, H, W)
            output = output[
                :, :, rows[0] - seen[0][0] : rows[1] - seen[0][0], columns[0] - seen[1][0] : columns[1] - seen[1][0]
            ]
            if strip is None:
                strip = output.new_zeros(1, output.shape[1], rows[1] - rows[0], width)
            share = _share(top, tile, ramp, height)[:, None] * _share(left, tile, ramp, width)
            strip[..., slice(*columns)] += output * share
        assert strip is not None
        if waiting is not None:
            strip[:, :, : waiting.shape[2]] += waiting
        end = height if top + tile >= height else top + tile - ramp
        finished, waiting = strip[:, :, : end - done], strip[:, :, end - done :]
        real = canvas.pixels.shape[0] - done
        if real > 0:
            yield canvas.denormalize(finished[:, :, :real, : canvas.pixels.shape[1]])
        done = end


class Statistics(TorchFunctionMode):
    """Inside, a network normalises by known statistics, one after another, instead of each image's own."""

    def __init__(self, known: Sequence[Moments]) -> None:
        super().__init__()
        self.known = known
        self._next: Iterator[Moments] = iter(())

    def __enter__(self) -> "Statistics":
        self._next = iter(self.known)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(
        self, function: Callable[..., Any], _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> Any:
        if function not in NORMALIZATIONS:
            return function(*arguments, **(options or {}))
        return FUNCTIONS[function](Normalized(arguments[0], self._next), *arguments[1:], **(options or {}))


@dataclass(frozen=True)
class Normalized:
    """Features (B, C, H, W) in the place of a feature map, for the functions that normalise one."""

    features: Tensor
    known: Iterator[Moments]

    @property
    def statistics(self) -> Moments:
        return next(self.known)

    def affine(self, scale: Tensor, shift: Tensor) -> Tensor:
        return self.features * scale.to(self.features) + shift.to(self.features)


def sample_statistics(
    network: Network, canvas: Canvas, tile: int, border: int, multiple: int, device: torch.device, memory: int
) -> list[Moments]:
    """What a network's normalisations see in squares spread over the image, one at a random place of each cell of a
    grid. The squares are translated side by side, layer by layer; their borders do not count."""
    length = _rounded(SAMPLE_SIDE + 2 * border, multiple)
    sides = [min(length, whole) for whole in (canvas.height, canvas.width)]
    affordable = (SAMPLE_SHARE * canvas.height * canvas.width / (sides[0] * sides[1])) ** 0.5
    count = min(max(int(affordable), FEWEST), MOST)
    source = canvas.source(Workspace(tile, canvas.height, canvas.width, device, 0))
    generator = np.random.default_rng(0)
    rows = []
    for row in range(count):
        squares = []
        for column in range(count):
            places = [
                int((cell + generator.random()) / count * (whole - side)) // multiple * multiple
                for cell, whole, side in zip((row, column), (canvas.height, canvas.width), sides, strict=True)
            ]
            squares.append(
                source.read_pixels(*((place, place + side) for place, side in zip(places, sides, strict=True)))
            )
        rows.append(np.concatenate(squares, axis=1))
    mosaic = replace(canvas, pixels=np.concatenate(rows), height=count * sides[0], width=count * sides[1])
    workspace = Workspace(tile, mosaic.height, mosaic.width, device, memory)
    inner = [
        [
            (place * side + border * (side == length), (place + 1) * side - border * (side == length))
            for place in range(count)
        ]
        for side in sides
    ]
    workspace.measured = [(row, column) for row in inner[0] for column in inner[1]]
    network(mosaic.source(workspace))
    return workspace.moments


def _share(first: int, tile: int, ramp: int, length: int) -> Tensor:
    """How much of each pixel in [first - ramp, first + tile + ramp) belongs to this tile; neighbours' add up to 1."""
    places = torch.arange(max(first - ramp, 0), min(first + tile + ramp, length)) + 0.5
    share = torch.ones(len(places))
    if ramp and first:
        share = ((places - first + ramp) / (2 * ramp)).clamp(max=1)
    if ramp and first + tile < length:
        share = torch.minimum(share, (first + tile + ramp - places) / (2 * ramp))
    return share


def reach_of(network: Network, canvas: Canvas, multiple: int, device: torch.device) -> tuple[int, bool]:
    """Pixels to either side of a pixel that it depends on, statistics aside; and whether there are statistics."""
    side = 64 * multiple
    sketch = Workspace(side, side, side, device, 0, is_sketch=True)
    middle = side // 2
    result: FeatureMap = network(Source(canvas.pixels, side, side, sketch, canvas.normalize))
    # Which pixel of a stride's period it is makes a difference.
    spans = [(place, result.reach((place, place + 1))) for place in range(middle, middle + multiple)]
    return max(max(place - first, end - 1 - place) for place, (first, end) in spans), bool(sketch.moments)


def _rounded(length: int, multiple: int) -> int:
    """The next multiple."""
    return -(-length // multiple) * multiple
