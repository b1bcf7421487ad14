"""Images inside a page, of bounded size."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

Item = TypeVar("Item")
QUALITY = (90, 75)
SHRINK = 0.7


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and its size in pixels before it was made smaller."""

    uri: str
    width: int
    height: int


def embed(path: Path, most: int) -> Picture | None:
    """The image at `path` in at most about `most` bytes: the file as it is, else as JPEG, smaller if need be.

    None where it cannot be read, as while it is being written.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if len(content) <= most and image.format in ("PNG", "JPEG"):
                return Picture(_uri(content, image.format), width, height)
            return Picture(_uri(_jpeg(image.convert("RGB"), most), "JPEG"), width, height)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def _jpeg(image: Image.Image, most: int) -> bytes:
    while True:
        for quality in QUALITY:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality, subsampling=0)
            if buffer.tell() <= most or max(image.size) <= 16:
                return buffer.getvalue()
        image = image.resize([max(1, round(length * SHRINK)) for length in image.size], Image.Resampling.BOX)


def _uri(content: bytes, format: str) -> str:
    return f"data:image/{format.lower()};base64,{base64.b64encode(content).decode()}"
