"""Resizing and random augmentation of training images. The only module that knows albumentations."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cv2
import numpy as np

from translate.errors import UserError
from translate.pixels import Side

if TYPE_CHECKING:
    import albumentations

Resize = Literal["stretch", "keep_aspect", "none"]


class Augmentation:
    """How an image is brought to size and varied; the same settings serve every kind of data set.

    Two images transformed with the same seed get the same crop, flips and rotation, whatever their channels: that
    is how pairs stay aligned. Defaults are the reference's: load at 286 for a 256 crop, flip half of the time.

    Args:
        resize: `stretch` to a square of load_size, `keep_aspect` (short side to load_size), or `none`.
        load_size: size before the random crop; None is image_size * 286 / 256. Without augmentation (samples,
            evaluation), None shows the whole image at image_size, a number the centre at the training scale.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        quarter_turns: probability of a rotation by 0, 90, 180 or 270 degrees.
        rotation: largest random rotation in degrees, either way; the border is reflected.
        color_a: strength of random brightness, contrast, saturation and hue on side A, 0 (off) to 1.
        color_b: the same for side B.

    Raises:
        UserError: a probability or strength outside its range, or an unknown `resize`.
    """

    center_crop: int | None = None
    """Pixels per side of the centre square that is kept of an image before anything else; None keeps all of it."""

    color_settings: ClassVar[Mapping[str, str]] = {"A": "color_a", "B": "color_b"}
    """The setting that holds the strength of colour changes, for each side."""

    def __init__(
        self,
        *,
        resize: Resize = "stretch",
        load_size: int | None = None,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        quarter_turns: float = 0.0,
        rotation: float = 0.0,
        color_a: float = 0.0,
        color_b: float = 0.0,
    ) -> None:
        if resize not in ("stretch", "keep_aspect", "none"):
            raise UserError(f"data.augmentation.resize={resize!r} is not one of stretch, keep_aspect, none")
        fractions = {
            "horizontal_flip": horizontal_flip,
            "vertical_flip": vertical_flip,
            "quarter_turns": quarter_turns,
            self.color_settings["A"]: color_a,
            self.color_settings["B"]: color_b,
        }
        for name, value in fractions.items():
            if not 0 <= value <= 1:
                raise UserError(f"data.augmentation.{name}={value} is outside 0 to 1")
        if not 0 <= rotation <= 180:
            raise UserError(f"data.augmentation.rotation={rotation} is outside 0 to 180 degrees")
        self.resize = resize
        self.load_size = load_size
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.quarter_turns = quarter_turns
        self.rotation = rotation
        self.color = {"A": color_a, "B": color_b}

    def loaded_size(self, image_size: int) -> int:
        """The size before the crop.

        Raises:
            UserError: load_size is smaller than the crop.
        """
        size = round(image_size * 286 / 256) if self.load_size is None else self.load_size
        if size < image_size:
            raise UserError(
                f"data.augmentation.load_size={size} is smaller than image_size={image_size}, which is cropped from "
                f"it: use load_size={image_size} or more"
            )
        return size

    def transform(self, image_size: int, side: Side, name: Literal["A", "B"], *, augment: bool) -> "Transform":
        """The transform of side `name`; without `augment`, resize and crop from the centre alone.

        Raises:
            UserError: colour augmentation of images with neither 1 nor 3 channels, or of label maps.
        """
        color = self.color[name] if augment else 0.0
        if color and (side.labels or side.channels not in (1, 3)):
            what = "a label map" if side.labels else f"images of {side.channels} channels"
            setting = f"data.augmentation.{self.color_settings[name]}"
            raise UserError(f"{setting}={color} cannot change {what}: set it to 0")
        return Transform(self, image_size, side, color, augment=augment)


class DomainAugmentation(Augmentation):
    """The same for images of one side, with their domains as labels.

    Args:
        resize: `stretch` to a square of load_size, `keep_aspect` (short side to load_size), or `none`.
        load_size: size before the random crop; None is image_size * 286 / 256. Without augmentation (samples,
            evaluation), None shows the whole image at image_size, a number the centre at the training scale.
        center_crop: pixels per side of the centre square that is kept of an image before it is resized, 178 for
            CelebA; None keeps all of it. An axis that is shorter is kept as it is.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        quarter_turns: probability of a rotation by 0, 90, 180 or 270 degrees.
        rotation: largest random rotation in degrees, either way; the border is reflected.
        color: strength of random brightness, contrast, saturation and hue, 0 (off) to 1.

    Raises:
        UserError: a probability or strength outside its range, an unknown `resize`, or a `center_crop` below 1.
    """

    color_settings: ClassVar[Mapping[str, str]] = {"A": "color", "B": "color"}

    def __init__(
        self,
        *,
        resize: Resize = "stretch",
        load_size: int | None = None,
        center_crop: int | None = None,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        quarter_turns: float = 0.0,
        rotation: float = 0.0,
        color: float = 0.0,
    ) -> None:
        super().__init__(
            resize=resize,
            load_size=load_size,
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
            quarter_turns=quarter_turns,
            rotation=rotation,
            color_a=color,
            color_b=color,
        )
        if center_crop is not None and center_crop < 1:
            raise UserError(f"data.augmentation.center_crop={center_crop} is no size: use 1 or more, or null")
        self.center_crop = center_crop

    def loaded_size(self, image_size: int) -> int:
        """The size before the random crop.

        Raises:
            UserError: load_size, or a center_crop that is not resized, is smaller than that crop.
        """
        if self.resize == "none" and self.center_crop is not None and self.center_crop < image_size:
            raise UserError(
                f"data.augmentation.center_crop={self.center_crop} is smaller than image_size={image_size}, which is "
                "cropped from it: use a smaller image_size or data.augmentation.resize=stretch"
            )
        return super().loaded_size(image_size)


class Transform:
    """Brings images of one side to (image_size, image_size, C). Made by `Augmentation.transform`."""

    def __init__(self, settings: Augmentation, image_size: int, side: Side, color: float, *, augment: bool) -> None:
        self.settings = settings
        self.image_size = image_size
        self.side = side
        self.augment = augment
        # Without chance the whole image is seen, as at the reference's test time; but a load_size that was chosen is
        # the scale the network knows, and is kept.
        is_scaled = augment or settings.load_size is not None
        self.load_size = settings.loaded_size(image_size) if is_scaled else image_size
        self.geometry = self._geometry() if augment else None
        self.color = self._color(color) if color else None

    def load(self, image: np.ndarray) -> np.ndarray:
        """The part without chance, whose result may be cached: (H, W, C) to the size before the crop."""
        if self.settings.center_crop is not None:
            image = crop_center(image, self.settings.center_crop)
        height, width = image.shape[:2]
        if self.settings.resize == "stretch":
            return resize_image(image, self.load_size, self.load_size, labels=self.side.labels)
        if self.settings.resize == "keep_aspect":
            scale = self.load_size / min(height, width)
            height, width = (max(round(side * scale), self.load_size) for side in (height, width))
            return resize_image(image, height, width, labels=self.side.labels)
        return image

    def __call__(self, image: np.ndarray, geometry_seed: int, color_seed: int) -> np.ndarray:
        """The part with chance: the crop at least, from what `load` returned. Equal seeds, equal draws."""
        if self.geometry is None:
            return crop_center(image, self.image_size)
        self.geometry.set_random_seed(geometry_seed)
        image = self.geometry(image=image)["image"]
        if self.color is not None:
            self.color.set_random_seed(color_seed)
            low, high = self.side.low, self.side.high
            # albumentations' colour operations change or refuse uint16: they see float32 in [0, 1].
            changed = self.color(image=((image - low) / (high - low)).astype(np.float32))["image"]
            values = changed * (high - low) + low
            image = (values.round() if image.dtype != np.float32 else values).astype(image.dtype)
        return image

    def _geometry(self) -> "albumentations.Compose":
        album = _albumentations()
        settings = self.settings
        rotation = album.Rotate(
            limit=(-settings.rotation, settings.rotation),
            interpolation=cv2.INTER_NEAREST if self.side.labels else cv2.INTER_CUBIC,
            border_mode=cv2.BORDER_REFLECT_101,
            p=1,
        )
        wanted = [
            (settings.horizontal_flip, album.HorizontalFlip(p=settings.horizontal_flip)),
            (settings.vertical_flip, album.VerticalFlip(p=settings.vertical_flip)),
            (settings.quarter_turns, album.RandomRotate90(p=settings.quarter_turns)),
            (settings.rotation, rotation),
            (1, album.RandomCrop(self.image_size, self.image_size)),
        ]
        return album.Compose([transform for strength, transform in wanted if strength])

    def _color(self, strength: float) -> "albumentations.Compose":
        album = _albumentations()
        around_one = (1 - strength, 1 + strength)
        is_rgb = self.side.channels == 3
        jitter = album.ColorJitter(
            brightness=around_one,
            contrast=around_one,
            saturation=around_one if is_rgb else (1, 1),
            hue=(-strength / 4, strength / 4) if is_rgb else (0, 0),
            p=1,
        )
        return album.Compose([jitter])


def crop_center(image: np.ndarray, size: int) -> np.ndarray:
    """The centre of (H, W, C), `size` pixels along each axis; an axis that is shorter is kept as it is."""
    top, left = (max(side - size, 0) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def resize_image(image: np.ndarray, height: int, width: int, *, labels: bool = False) -> np.ndarray:
    """Resize (H, W, C): by area when shrinking (no aliasing), bicubic when enlarging, nearest for label maps."""
    if image.shape[:2] == (height, width):
        return image
    if labels:
        return _resize_once(image, height, width, cv2.INTER_NEAREST)
    # One axis at a time: by area only where it shrinks.
    shrunk = _resize_once(image, min(height, image.shape[0]), min(width, image.shape[1]), cv2.INTER_AREA)
    return _resize_once(shrunk, height, width, cv2.INTER_CUBIC)


def _resize_once(image: np.ndarray, height: int, width: int, interpolation: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    groups = [
        cv2.resize(image[..., first : first + 4], (width, height), interpolation=interpolation).reshape(
            height, width, -1
        )
        for first in range(0, image.shape[2], 4)  # by area, cv2 knows up to 4 channels
    ]
    return groups[0] if len(groups) == 1 else np.concatenate(groups, axis=2)


def _albumentations() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it contacts the package index
    import albumentations

    return albumentations
