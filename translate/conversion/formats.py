"""Fitting pixels into a file format that the user asked for."""

import numpy as np

from translate.data.image import ImageError, can_hold
from translate.pixels import FULL_RANGE, Side


def fit_format(image: np.ndarray, suffix: str, side: Side, *, adapt: bool) -> np.ndarray:
    """The image (H, W, C) as a file with this extension holds it.

    With `adapt`, what the format cannot hold is changed: transparency is left out, 16 bits become 8 over their full
    range, float values in the range of `side` become 16 bits, or else 8. Without, nothing is ever changed.

    Raises:
        ImageError: the format cannot hold the image; the message names the remedy.
    """
    dtype, channels = str(image.dtype), image.shape[2]
    if can_hold(suffix, dtype, channels):
        return image
    if not adapt:
        remedy = "tiff" if dtype == "float32" or channels > 4 else "png"
        raise ImageError(
            f"becomes {dtype} pixels with {channels} channels, which {suffix} files cannot hold: use --format {remedy}"
        )
    colors = channels - 1 if channels in (2, 4) else channels
    for count in (channels, colors):
        for narrow in (dtype, "uint16", "uint8"):
            if can_hold(suffix, narrow, count):
                return _narrowed(image, narrow, colors, side)[..., :count]
    raise ImageError(f"becomes {channels} channels, which {suffix} files cannot hold: use --format tiff")


def _narrowed(image: np.ndarray, dtype: str, colors: int, side: Side) -> np.ndarray:
    """The image as integers: 16 to 8 bits over their full range, floats from the range of `side`, whose transparency
    beyond `colors` is in [0, 1]."""
    if image.dtype == dtype:
        return image
    ranges = [FULL_RANGE["uint16"]] * 2
    if image.dtype == np.float32:
        ranges = [side.range_for("float32"), FULL_RANGE["float32"]]
    result = np.empty(image.shape, dtype)
    _, most = FULL_RANGE[dtype]
    for part, (low, high) in zip((slice(colors), slice(colors, None)), ranges, strict=True):
        values = (image[..., part].astype(np.float32) - low) * (most / (high - low))
        result[..., part] = np.nan_to_num(values).clip(0, most).round()
    return result
