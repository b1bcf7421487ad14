"""Pixel values between a file's own type and the networks' [-1, 1]."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:  # exported models are run without torch
    from jaxtyping import Float
    from torch import Tensor

PixelType = Literal["uint8", "uint16", "float32"]
FULL_RANGE: dict[str, tuple[float, float]] = {"uint8": (0, 255), "uint16": (0, 65535), "float32": (0, 1)}
"""The values that become -1 and 1 when nothing else is configured."""


@dataclass(frozen=True)
class Side:
    """What one side of a data set (source or target) looks like; stored in the model, so it is never asked again.

    Attributes:
        channels: channels per pixel.
        dtype: pixel type of the files.
        low: the value that the networks see as -1.
        high: the value that the networks see as 1.
        labels: whether pixels are class labels or colours, never to be blended by interpolation.
    """

    channels: int
    dtype: PixelType
    low: float
    high: float
    labels: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For a model's config.json."""
        return asdict(self)

    def range_for(self, dtype: str) -> tuple[float, float]:
        """The values of an image of type `dtype` that mean -1 and 1: this side's own, or the type's full range."""
        return (self.low, self.high) if dtype == self.dtype else FULL_RANGE[dtype]


def normalize(images: "Tensor", low: float, high: float) -> "Float[Tensor, '...']":
    """Map pixel values [low, high] linearly to float [-1, 1]."""
    return images.float().sub(low).mul_(2 / (high - low)).sub_(1)


def denormalize(images: "Float[Tensor, '...']", dtype: str, low: float, high: float) -> np.ndarray:
    """Map float [-1, 1] back to [low, high]: clipped, rounded to the nearest integer for integer types."""
    values = images.detach().float().add(1).mul_((high - low) / 2).add_(low)
    if dtype == "float32":
        return values.cpu().numpy()
    full_low, full_high = FULL_RANGE[dtype]
    rounded = values.clamp_(max(low, full_low), min(high, full_high)).round_()
    # A quarter of the bytes on their way from the device; torch has no arithmetic for 16 bits without sign.
    return (rounded.byte() if dtype == "uint8" else rounded.int()).cpu().numpy().astype(dtype, copy=False)


def convert_dtype(image: np.ndarray, dtype: str) -> np.ndarray:
    """The same picture with pixels of another integer type: 8-bit white becomes 16-bit white and back.

    Raises:
        ValueError: from or to float32, whose range is not known.
    """
    if image.dtype == dtype:
        return image
    if {str(image.dtype), dtype} != {"uint8", "uint16"}:
        raise ValueError(f"cannot convert pixels from {image.dtype} to {dtype}")
    return image.astype(np.uint16) * 257 if dtype == "uint16" else (image / 257).round().astype(np.uint8)
