"""Feature maps of images too large for memory: a network runs on them layer by layer, a piece at a time.

A `FeatureMap` stands in for a tensor. Functions of torch called with one make another that knows how to compute any
region of itself from regions of its parents, so that a network's own `forward` describes what is to be done. Where a
normalisation asks for statistics they are measured over the whole map, which is what makes the result that of the
image in one piece. Maps of few values per pixel are kept; of others regions are computed again each time.
"""

import math
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from translate.conversion.engine import Pixels, reflected
from translate.conversion.inference import WinogradConvolution, normalize_images
from translate.errors import UserError
from translate.networks.attention import attend
from translate.networks.layers import normalize_pixels

KEPT = 32
"""Maps of at most so many values per pixel of the image are kept: of a ResNet all but those at full size."""
SMALLEST = 32
"""Regions are at least so wide, however few pixels of a small map belong to a tile."""

Span = tuple[int, int]
"""Rows or columns: the first, and one behind the last."""
Moments = tuple[Tensor, Tensor]
"""Mean and variance (C,) of a map's channels."""


@dataclass
class Workspace:
    """How maps are worked through, and where they are kept.

    Attributes:
        tile: pixels of the image per side of a piece.
        image_height: height of the image, which says how much smaller a map is.
        image_width: its width.
        device: where pieces are computed.
        memory: bytes of maps that may be kept in memory; what exceeds it goes into files.
        is_sketch: nothing is computed, only how maps depend on one another.
        measured: parts of the image that statistics are of; empty for all of it.
        moments: the statistics that were asked for, in their order.
    """

    tile: int
    image_height: int
    image_width: int
    device: torch.device
    memory: int
    is_sketch: bool = False
    measured: Sequence[tuple[Span, Span]] = ()
    moments: list[Moments] = field(default_factory=list)

    def regions(self, height: int, width: int) -> Iterator[tuple[Span, Span]]:
        """The pieces of a map, row after row."""
        sides = [
            max(self.tile * length // whole, SMALLEST)
            for length, whole in ((height, self.image_height), (width, self.image_width))
        ]
        for top in range(0, height, sides[0]):
            for left in range(0, width, sides[1]):
                yield (top, min(top + sides[0], height)), (left, min(left + sides[1], width))

    def measured_regions(self, height: int, width: int) -> Iterator[tuple[Span, Span]]:
        """The pieces of a map that its statistics are of."""
        if not self.measured:
            yield from self.regions(height, width)
        for (top, bottom), (left, right) in self.measured:
            first, row = left * width // self.image_width, top * height // self.image_height
            yield (
                (row, max(bottom * height // self.image_height, row + 1)),
                (first, max(right * width // self.image_width, first + 1)),
            )

    def is_kept(self, channels: int, height: int, width: int) -> bool:
        """Whether a map of this size is kept rather than computed again."""
        return not self.is_sketch and channels * height * width <= KEPT * self.image_height * self.image_width


class Storage:
    """Values (H, W, C), in memory as long as there is some, else in a temporary file; gone with the last reference.

    Raises:
        UserError: the disk is too full.
    """

    def __init__(self, shape: tuple[int, int, int], workspace: Workspace) -> None:
        self._workspace = workspace
        self._bytes = 0
        size = 4 * math.prod(shape)
        if size <= workspace.memory:
            self._bytes = size
            workspace.memory -= size
            self.values = np.empty(shape, np.float32)
            return
        try:
            with tempfile.TemporaryFile(prefix="translate-") as file:  # without a name: gone with its last user
                if hasattr(os, "posix_fallocate"):  # or a full disk would be found when it is too late to say so
                    os.posix_fallocate(file.fileno(), 0, size)
                self.values = np.memmap(file, np.float32, "w+", shape=shape)
        except OSError as error:
            raise UserError(
                f"exact statistics of an image of {workspace.image_width}x{workspace.image_height} pixels need "
                f"{size / 2**30:.1f} GiB more than {tempfile.gettempdir()} has ({error.strerror}): use "
                "--tile-statistics sampled, or let the environment variable TMPDIR name a folder on a larger disk"
            ) from error

    def __del__(self) -> None:
        self._workspace.memory += self._bytes


class FeatureMap(ABC):
    """Features (1, C, H, W) of which regions can be read; functions of torch make further maps of it.

    Raises:
        UserError: a function is called on it that is not known to work piece by piece.
    """

    def __init__(self, shape: Sequence[int], workspace: Workspace) -> None:
        self.shape = torch.Size((1, *shape))
        self.workspace = workspace

    @abstractmethod
    def read(self, rows: Span, columns: Span) -> Tensor:
        """The features (1, C, rows, columns) of a region that lies inside."""

    @abstractmethod
    def reach(self, rows: Span) -> Span:
        """The rows of the image, as if it had no border, that these rows depend on when statistics are given."""

    @cached_property
    def statistics(self) -> Moments:
        """Mean and variance over all pixels, measured piece by piece."""
        mean = squares = torch.zeros(self.shape[1], dtype=torch.float64)
        if self.workspace.is_sketch:
            self.workspace.moments.append((mean, mean))
            return mean, mean
        count = 0
        for rows, columns in self.workspace.measured_regions(*self.shape[2:]):
            piece = self.read(rows, columns)
            more = piece[0, 0].numel()
            variances, means = (each.cpu().double() for each in torch.var_mean(piece, (0, 2, 3), correction=0))
            # Chan et al. 1979: the union of two samples
            change = means - mean
            squares = squares + variances * more + change.square() * (count * more / (count + more))
            count += more
            mean = mean + change * (more / count)
        self.workspace.moments.append((mean, squares / count))
        return self.workspace.moments[-1]

    def kept(self) -> "FeatureMap":
        """This map computed as a whole and kept, if it has few values per pixel; otherwise itself."""
        return Kept(self) if self.workspace.is_kept(*self.shape[1:]) else self

    def size(self, dimension: int) -> int:
        return self.shape[dimension]

    def dim(self) -> int:
        return 4

    def __len__(self) -> int:
        return 1

    def __add__(self, other: "FeatureMap | Tensor | float") -> "FeatureMap":
        return Sum(self, other).kept() if isinstance(other, FeatureMap) else self.affine(1.0, other)

    def __sub__(self, other: "FeatureMap | Tensor | float") -> "FeatureMap":
        return self + -other

    def __truediv__(self, _: object) -> "FeatureMap":
        raise unknown("division")

    def __mul__(self, factor: "Tensor | float") -> "FeatureMap":
        return self.affine(factor, 0.0)

    def __neg__(self) -> "FeatureMap":
        return self * -1.0

    __radd__, __rmul__ = __add__, __mul__

    def affine(self, scale: "Tensor | float", shift: "Tensor | float") -> "FeatureMap":
        """Every pixel times `scale` plus `shift`, numbers or tensors with one value per channel."""
        factor, term = (torch.as_tensor(each, device=self.workspace.device) for each in (scale, shift))
        if any(each.numel() not in (1, self.shape[1]) for each in (factor, term)):
            raise unknown("arithmetic with a tensor of several pixels")
        return Pointwise(self, lambda piece: piece * factor + term)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise unknown(name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> "FeatureMap":
        known = FUNCTIONS.get(function)
        if known is None:
            raise unknown(getattr(function, "__name__", str(function)))
        return known(*arguments, **(options or {}))


class Source(FeatureMap):
    """The image itself, normalised; beyond its bottom and right it goes on by reflection up to `height` and `width`."""

    def __init__(
        self, pixels: Pixels, height: int, width: int, workspace: Workspace, normalize: Callable[[np.ndarray], Tensor]
    ) -> None:
        super().__init__((pixels.shape[2], height, width), workspace)
        self.pixels, self.normalize = pixels, normalize

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self.normalize(self.read_pixels(rows, columns)[None])

    def read_pixels(self, rows: Span, columns: Span) -> np.ndarray:
        """The pixels (rows, columns, C) of a region."""
        places = [
            reflected(np.arange(*span), size) for span, size in zip((rows, columns), self.pixels.shape[:2], strict=True)
        ]
        top, left = (int(place.min()) for place in places)
        piece = self.pixels[top : int(places[0].max()) + 1, left : int(places[1].max()) + 1]
        if not all(_is_plain(place) for place in places):
            piece = piece[np.ix_(places[0] - top, places[1] - left)]
        return piece

    def reach(self, rows: Span) -> Span:
        return rows


class Given(FeatureMap):
    """A tensor, such as label planes that are the same everywhere."""

    def __init__(self, tensor: Tensor, workspace: Workspace) -> None:
        super().__init__(tensor.shape[1:], workspace)
        self.tensor = tensor

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self.tensor[:, :, slice(*rows), slice(*columns)]

    def reach(self, rows: Span) -> Span:
        return rows


class Kept(FeatureMap):
    """A map computed once as a whole."""

    def __init__(self, parent: FeatureMap) -> None:
        super().__init__(parent.shape[1:], parent.workspace)
        _, channels, height, width = self.shape
        self.storage = Storage((height, width, channels), self.workspace)
        self.values = torch.from_numpy(self.storage.values)
        for rows, columns in self.workspace.regions(height, width):
            self.values[slice(*rows), slice(*columns)] = parent.read(rows, columns)[0].permute(1, 2, 0)

    def read(self, rows: Span, columns: Span) -> Tensor:
        piece = self.values[slice(*rows), slice(*columns)].permute(2, 0, 1)[None]
        return piece.to(self.workspace.device)

    def reach(self, rows: Span) -> Span:
        raise AssertionError("where reach is asked for, in a sketch, nothing is kept")


class Pointwise(FeatureMap):
    """What a function of single pixels makes of another map."""

    def __init__(self, parent: FeatureMap, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__(parent.shape[1:], parent.workspace)
        self.parent, self.function = parent, function

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self.function(self.parent.read(rows, columns))

    def reach(self, rows: Span) -> Span:
        return self.parent.reach(rows)


class Sum(FeatureMap):
    """Two maps, added."""

    def __init__(self, first: FeatureMap, second: FeatureMap) -> None:
        super().__init__(first.shape[1:], first.workspace)
        self.parents = first, second

    def read(self, rows: Span, columns: Span) -> Tensor:
        first, second = (parent.read(rows, columns) for parent in self.parents)
        return first + second

    def reach(self, rows: Span) -> Span:
        return _union(parent.reach(rows) for parent in self.parents)


class Concatenation(FeatureMap):
    """The channels of several maps, one after another."""

    def __init__(self, parents: Sequence[FeatureMap]) -> None:
        channels = sum(parent.shape[1] for parent in parents)
        super().__init__((channels, *parents[0].shape[2:]), parents[0].workspace)
        self.parents = parents

    def read(self, rows: Span, columns: Span) -> Tensor:
        return torch.cat([parent.read(rows, columns) for parent in self.parents], 1)

    def reach(self, rows: Span) -> Span:
        return _union(parent.reach(rows) for parent in self.parents)


class Padded(FeatureMap):
    """A map with a border of `width` pixels: zeros, the outermost pixels repeated, or reflected."""

    def __init__(self, parent: FeatureMap, widths: Sequence[int], mode: str) -> None:
        left, right, top, bottom = widths
        _, channels, height, width = parent.shape
        super().__init__((channels, top + height + bottom, left + width + right), parent.workspace)
        self.parent, self.top, self.left, self.mode = parent, top, left, mode

    def read(self, rows: Span, columns: Span) -> Tensor:
        wanted = [
            np.arange(first - border, end - border) for (first, end), border in ((rows, self.top), (columns, self.left))
        ]
        sizes = self.parent.shape[2:]
        if self.mode == "reflect":
            places = [reflected(place, size) for place, size in zip(wanted, sizes, strict=True)]
        else:
            places = [place.clip(0, size - 1) for place, size in zip(wanted, sizes, strict=True)]
        spans = [(int(place.min()), int(place.max()) + 1) for place in places]
        piece = self.parent.read(*spans)
        for dimension, (place, (first, _)) in enumerate(zip(places, spans, strict=True), start=2):
            if not _is_plain(place):
                piece = piece.index_select(dimension, torch.from_numpy(place - first).to(piece.device))
            if self.mode == "constant" and (outside := wanted[dimension - 2] != place).any():
                mask = torch.from_numpy(outside).to(piece.device)
                piece = piece.masked_fill(mask[:, None] if dimension == 2 else mask, 0)
        return piece

    def reach(self, rows: Span) -> Span:
        return self.parent.reach((rows[0] - self.top, rows[1] - self.top))


class Convolution(FeatureMap):
    """What `convolve` computes, a convolution without padding."""

    def __init__(
        self, parent: FeatureMap, channels: int, kernel: int, stride: int, convolve: Callable[[Tensor], Tensor]
    ) -> None:
        height, width = ((length - kernel) // stride + 1 for length in parent.shape[2:])
        super().__init__((channels, height, width), parent.workspace)
        self.parent, self.kernel, self.stride, self.convolve = parent, kernel, stride, convolve

    def read(self, rows: Span, columns: Span) -> Tensor:
        return self.convolve(self.parent.read(self._seen(rows), self._seen(columns)))

    def reach(self, rows: Span) -> Span:
        return self.parent.reach(self._seen(rows))

    def _seen(self, span: Span) -> Span:
        return span[0] * self.stride, (span[1] - 1) * self.stride + self.kernel


class Deconvolution(FeatureMap):
    """A transposed convolution."""

    def __init__(
        self, parent: FeatureMap, weight: Tensor, bias: Tensor | None, stride: int, padding: int, more: int, groups: int
    ) -> None:
        self.kernel, self.stride, self.padding = weight.shape[2], stride, padding
        height, width = ((length - 1) * stride - 2 * padding + self.kernel + more for length in parent.shape[2:])
        super().__init__((weight.shape[1] * groups, height, width), parent.workspace)
        self.parent, self.weight, self.bias, self.groups = parent, weight, bias, groups

    def read(self, rows: Span, columns: Span) -> Tensor:
        spans = [
            (max(first, 0), min(end, length))
            for (first, end), length in zip((self._seen(rows), self._seen(columns)), self.parent.shape[2:], strict=True)
        ]
        piece = functional.conv_transpose2d(
            self.parent.read(*spans), self.weight, self.bias, self.stride, groups=self.groups
        )
        top, left = (
            wanted[0] - (seen[0] * self.stride - self.padding)
            for wanted, seen in zip((rows, columns), spans, strict=True)
        )
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        return piece[:, :, top : top + height, left : left + width]

    def reach(self, rows: Span) -> Span:
        return self.parent.reach(self._seen(rows))

    def _seen(self, span: Span) -> Span:
        first = -((self.kernel - 1 - span[0] - self.padding) // self.stride)  # rounded up
        return first, (span[1] - 1 + self.padding) // self.stride + 1


class Enlarged(FeatureMap):
    """A map with every pixel repeated `factor` times in both directions."""

    def __init__(self, parent: FeatureMap, factor: int) -> None:
        _, channels, height, width = parent.shape
        super().__init__((channels, height * factor, width * factor), parent.workspace)
        self.parent, self.factor = parent, factor

    def read(self, rows: Span, columns: Span) -> Tensor:
        piece = self.parent.read(self._seen(rows), self._seen(columns))
        piece = functional.interpolate(piece, scale_factor=float(self.factor), mode="nearest")
        top, left = (span[0] % self.factor for span in (rows, columns))
        return piece[:, :, top : top + rows[1] - rows[0], left : left + columns[1] - columns[0]]

    def reach(self, rows: Span) -> Span:
        return self.parent.reach(self._seen(rows))

    def _seen(self, span: Span) -> Span:
        return span[0] // self.factor, (span[1] - 1) // self.factor + 1


class Attended(FeatureMap):
    """What every place sees of all others, whose keys and values are kept: an eighth of a layer's channels."""

    def __init__(self, query: FeatureMap, key: FeatureMap, value: FeatureMap) -> None:
        super().__init__((value.shape[1], *query.shape[2:]), query.workspace)
        self.query = query
        self.key, self.value = (each if isinstance(each, Kept) else Kept(each) for each in (key, value))

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The keys and values of all places."""
        rows, columns = ((0, length) for length in self.key.shape[2:])
        return self.key.read(rows, columns), self.value.read(rows, columns)

    def read(self, rows: Span, columns: Span) -> Tensor:
        return attend(self.query.read(rows, columns), *self.seen)

    def reach(self, rows: Span) -> Span:
        raise AssertionError("a sketch is made for tiles that know nothing of one another")


def _is_plain(places: np.ndarray) -> bool:
    """Whether each place follows the one before."""
    return bool((np.diff(places) == 1).all())


def unknown(what: str) -> UserError:
    """The error for a network that cannot be run piece by piece."""
    return UserError(
        f"this network uses {what}, which cannot be computed in tiles: use --tile off on a machine with more memory"
    )


def _union(spans: Iterator[Span]) -> Span:
    firsts, ends = zip(*spans, strict=True)
    return min(firsts), max(ends)


def _pair(value: Any) -> int:
    """The one number that a setting of both directions holds."""
    numbers = set(value) if isinstance(value, tuple | list) else {value}
    if len(numbers) != 1:
        raise unknown(f"a layer with {value}")
    return int(numbers.pop())


def _convolve(
    features: FeatureMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> FeatureMap:
    if _pair(dilation) != 1 or isinstance(padding, str) or weight.shape[2] != weight.shape[3]:
        raise unknown("a dilated or oblong convolution")
    border = _pair(padding)
    padded = _pad(features, [border] * 4) if border else features
    step = _pair(stride)
    return Convolution(
        padded,
        len(weight),
        weight.shape[2],
        step,
        lambda piece: functional.conv2d(piece, weight, bias, step, groups=groups),
    ).kept()


def _convolve_fast(features: FeatureMap, layer: WinogradConvolution) -> FeatureMap:
    border, mode = int(layer.padding[0]), layer.padding_mode
    padded = _pad(features, [border] * 4, "constant" if mode == "zeros" else mode) if border else features
    return Convolution(padded, layer.out_channels, 3, 1, layer.convolve).kept()


def _deconvolve(
    features: FeatureMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> FeatureMap:
    more = _pair(output_padding)
    if _pair(dilation) != 1 or weight.shape[2] != weight.shape[3] or more > _pair(padding):
        raise unknown("a dilated, oblong or far padded transposed convolution")
    return Deconvolution(features, weight, bias, _pair(stride), _pair(padding), more, groups).kept()


def _pad(features: FeatureMap, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> FeatureMap:
    if len(pad) != 4 or value or mode not in ("constant", "reflect", "replicate"):
        raise unknown(f"pad by {pad}, mode={mode}, value={value}")
    return Padded(features, pad, mode)


def _concatenate(maps: Sequence[FeatureMap | Tensor], dim: int = 0) -> FeatureMap:
    assert dim == 1
    workspace = next(each.workspace for each in maps if isinstance(each, FeatureMap))
    return Concatenation([each if isinstance(each, FeatureMap) else Given(each, workspace) for each in maps])


def _enlarge(
    features: FeatureMap, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **_: Any
) -> FeatureMap:
    factor = _pair(scale_factor) if scale_factor is not None else 0
    if size is not None or mode != "nearest" or factor < 1 or factor != scale_factor:
        raise unknown(f"interpolate with mode={mode}, size={size}, scale_factor={scale_factor}")
    return Enlarged(features, factor)


def _drop(features: FeatureMap, p: float = 0.5, training: bool = True, inplace: bool = False) -> FeatureMap:
    if not training or not p or features.workspace.is_sketch:
        return features
    # Drawn once: a region that is read again has to show the same.
    return Kept(Pointwise(features, lambda piece: functional.dropout(piece, p)))


def _normalize_image(
    features: FeatureMap,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> FeatureMap:
    if not use_input_stats:
        return _normalize_batch(features, running_mean, running_var, weight, bias, eps=eps)
    mean, variance = features.statistics
    return _normalized(features, mean, variance, weight, bias, eps)


def _normalize_batch(
    features: FeatureMap,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> FeatureMap:
    if training or running_mean is None or running_var is None:
        running_mean, running_var = features.statistics
    return _normalized(features, running_mean, running_var, weight, bias, eps)


def _normalize_groups(
    features: FeatureMap, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> FeatureMap:
    means, variances = (each.view(num_groups, -1) for each in features.statistics)
    mean = means.mean(1, keepdim=True)
    variance = (variances + (means - mean).square()).mean(1, keepdim=True)
    mean, variance = (each.expand_as(means).flatten() for each in (mean, variance))
    return _normalized(features, mean, variance, weight, bias, eps)


def _normalized(
    features: FeatureMap, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> FeatureMap:
    mean, variance = mean.cpu().double(), variance.cpu().double()
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.cpu()
    shift = -mean * scale
    if bias is not None:
        shift = shift + bias.cpu()
    return features.affine(scale.float()[:, None, None], shift.float()[:, None, None])


def _pointwise(function: Callable[..., Tensor]) -> Callable[..., FeatureMap]:
    def apply(features: FeatureMap, *arguments: Any, inplace: bool = False, **options: Any) -> FeatureMap:
        return Pointwise(features, lambda piece: function(piece, *arguments, **options))

    return apply


NORMALIZATIONS: dict[Any, Callable[..., Any]] = {
    functional.instance_norm: _normalize_image,
    functional.batch_norm: _normalize_batch,
    functional.group_norm: _normalize_groups,
    normalize_images: lambda features, weight, bias, eps: _normalize_image(features, None, None, weight, bias, eps=eps),
}
FUNCTIONS: dict[Any, Callable[..., FeatureMap]] = {
    functional.conv2d: _convolve,
    WinogradConvolution.forward: lambda layer, features: _convolve_fast(features, layer),
    functional.conv_transpose2d: _deconvolve,
    functional.pad: _pad,
    functional.interpolate: _enlarge,
    functional.dropout: _drop,
    **NORMALIZATIONS,
    functional.relu: _pointwise(functional.relu),
    functional.leaky_relu: _pointwise(functional.leaky_relu),
    torch.tanh: _pointwise(torch.tanh),
    torch.sigmoid: _pointwise(torch.sigmoid),
    torch.relu: _pointwise(torch.relu),
    torch.cat: _concatenate,
    normalize_pixels: _pointwise(normalize_pixels),
    attend: lambda query, key, value: Attended(query, key, value).kept(),
}
