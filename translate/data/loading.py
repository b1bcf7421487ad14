"""From an image file to the tensor of one side: read, matched to what the side is, resized, remembered, varied."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from translate.data.augmentation import Transform
from translate.data.check import drop_alpha, match_channels
from translate.data.image import ImageError, read_image
from translate.pixels import Side, convert_dtype


@dataclass(frozen=True)
class Picture:
    """Where an image lies: a whole file, or one half of a file that holds two side by side."""

    name: str
    path: Path
    half: Literal["left", "right"] | None = None

    def read(self) -> np.ndarray:
        """(H, W, C) pixels, without transparency.

        Raises:
            ImageError: the file cannot be read any more.
        """
        return self.cut(read_pixels(self.path))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of the file's (H, W, C) pixels that is this picture."""
        if self.half is None:
            return image
        middle = image.shape[1] // 2
        return image[:, :middle] if self.half == "left" else image[:, middle:]


class Cache:
    """Decoded and resized images, up to a number of bytes; what does not fit is made again each time."""

    def __init__(self, gib: float) -> None:
        self.room = int(gib * 2**30)
        self.images: dict[object, tuple[np.ndarray, ...]] = {}

    def add(self, key: object, *images: np.ndarray) -> None:
        """Remember images that belong together, if there is room for all of them."""
        size = sum(image.nbytes for image in images)
        if size <= self.room and key not in self.images:
            self.room -= size
            self.images[key] = images


class SideLoader:
    """Loads pictures of one side as (C, H, W) tensors in the side's pixel type."""

    def __init__(self, side: Side, transform: Transform, cache: Cache) -> None:
        self.side = side
        self.transform = transform
        self.cache = cache

    def __call__(self, picture: Picture, geometry_seed: int, color_seed: int) -> Tensor:
        """The picture as training draws it from these seeds."""
        key = (self.side, picture)  # the same file may be on both sides
        if key in self.cache.images:
            [image] = self.cache.images[key]
        else:
            image = self.prepare(picture.read())
            self.cache.add(key, image)
        return self.vary(image, geometry_seed, color_seed)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The part without chance: pixel type, channels and size of (H, W, C)."""
        return self.transform.load(match_channels(convert_dtype(image, self.side.dtype), self.side.channels))

    def vary(self, image: np.ndarray, geometry_seed: int, color_seed: int) -> Tensor:
        """The part with chance, of what `prepare` returned."""
        varied = self.transform(image, geometry_seed, color_seed)
        return torch.from_numpy(varied.transpose(2, 0, 1).copy())


def read_pixels(path: Path) -> np.ndarray:
    """(H, W, C) pixels of a file that the inspection found good, without transparency.

    Raises:
        ImageError: it cannot be read any more.
    """
    try:
        return drop_alpha(read_image(path), path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}; it was readable when training started") from error
