"""What an image file is, told from a few of its bytes, and whether there is memory to decode it."""

import io
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translate.data.containers import (
    BITS,
    JPEG,
    LENGTH,
    PHOTOMETRIC,
    PNG,
    RIFF,
    SAMPLE_FORMAT,
    SAMPLES,
    SUBFILE_TYPE,
    TIFF_BYTE_ORDER,
    TILE_LENGTH,
    TILE_WIDTH,
    WIDTH,
    FileBytes,
    Source,
    Tags,
    exif_tags,
    jpeg_segments,
    orientation_of,
    png_chunks,
    tiff_directories,
    webp_chunks,
)
from translate.errors import UserError

TYPES = ("uint8", "uint16", "float32")
"""The pixel types of images in memory."""
ALWAYS_FITS = 2**26
"""Bytes that are decoded without asking how much memory there is."""
DEFLATED = 1032
"""Bytes that one byte of deflated data can become at most."""
MOST_DIRECTORIES = 2**16
"""Pages, thumbnails and smaller copies that a TIFF may have."""


class ImageError(UserError):
    """One file cannot be read or written; the message says why, without the path."""

    @classmethod
    def of_pixels(cls, dtype: np.dtype, shape: tuple[int, ...]) -> "ImageError":
        """The error of an array that is no image."""
        return cls(
            f"has {dtype} pixels of shape {shape}; read are 8 and 16 bits without sign and floats, as "
            "(rows, columns, channels): convert it"
        )


@dataclass(frozen=True)
class Header:
    """What a file says about its (first) image; None where only decoding tells.

    Attributes:
        height: of the image standing upright.
        width: the same.
        channels: as `read_image` returns them.
        dtype: name of the file's pixel type, which need not be one that `read_image` supports.
        pages: images in the file.
    """

    height: int | None = None
    width: int | None = None
    channels: int | None = None
    dtype: str | None = None
    pages: int = 1


def read_header(path: Path) -> Header:
    """What the image is, without decoding it and without reading more than its tags or segments.

    Raises:
        ImageError: the file cannot be opened, is empty, or ends within its header.
    """
    try:
        with FileBytes(path) as data:
            if not len(data):
                raise ImageError("is empty")
            return npy_header(data) if path.suffix.lower() == ".npy" else find_header(data)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error


def find_header(data: Source) -> Header:
    """The header of any format but NPY; one without a size where it is none of the formats that are read.

    Raises:
        ImageError: the file ends within its header.
    """
    start = data[:32]
    try:
        if start[:2] == JPEG:
            return _jpeg_header(data)
        if start[:4] == PNG:
            return _png_header(data)
        if start[:4] == RIFF and start[8:12] == b"WEBP":
            return _webp_header(data)
        if start[:4] in TIFF_BYTE_ORDER:
            pages = tiff_pages(data)
            _, first = next(pages)
            return tiff_header(first, 1 + sum(1 for _ in pages))
        if start[:2] == b"BM":
            return _bmp_header(start)
        if start[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"):
            return _pnm_header(data[:4096])
    except ImageError:
        raise
    except (struct.error, LookupError, ValueError) as error:
        raise ImageError("is truncated or damaged: its header cannot be read") from error
    return Header()


def check_size(header: Header, *, remedy: str = "make it smaller, or free memory", uses_cv2: bool = True) -> None:
    """Refuse an image that there is no memory to decode, or that OpenCV will not decode.

    Decoding holds an image twice for a moment.

    Raises:
        ImageError: with its size, what it needs, and the remedy.
    """
    if header.height is None or header.width is None:
        return
    size = f"is {header.width} x {header.height} pixels"
    itemsize = np.dtype(header.dtype or "uint8").itemsize
    needed = 2 * header.height * header.width * (header.channels or 4) * itemsize
    if needed > ALWAYS_FITS:
        from translate import memory

        if needed > (available := memory.available_memory()):
            raise ImageError(
                f"{size}, which takes {needed / 2**30:.1f} GiB of memory to decode; "
                f"{available / 2**30:.1f} GiB are available: {remedy}"
            )
    most = int(os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", 2**30))
    if uses_cv2 and header.height * header.width > most:
        raise ImageError(
            f"{size}, more than the {most} that OpenCV decodes: make it smaller, save it as TIFF, or set the "
            f"environment variable OPENCV_IO_MAX_IMAGE_PIXELS={header.height * header.width}"
        )


def tiff_pages(data: Source) -> Iterator[tuple[int, Tags]]:
    """Position in the file and tags of each page; thumbnails, smaller copies and masks are no pages.

    The first thing in the file is the page where there is no other. The pages are looked up as they are asked for,
    the profile of the first thing alone is among the tags.

    Raises:
        LookupError: there is no page, or one without a size.
        ImageError: the file has too many pages.
    """
    first: Tags = {}
    has_page = False
    for index, tags in enumerate(tiff_directories(data)):
        if index == MOST_DIRECTORIES:
            raise ImageError(f"has more than {MOST_DIRECTORIES} pages: split it into several files")
        first = first or tags
        if not int(tags.get(SUBFILE_TYPE, (0,))[0]) & 0b101:
            tiff_header(tags)
            has_page = True
            yield index, tags
    if not has_page:
        tiff_header(first)
        yield 0, first


def tiff_header(tags: Tags, pages: int = 1) -> Header:
    """The header of a page with these tags.

    Raises:
        LookupError: a tag is missing that every image has, or it has no pixels.
    """
    height, width = int(tags[LENGTH][0]), int(tags[WIDTH][0])
    # Palettes, inks and YCbCr become RGB.
    channels = 3 if tags.get(PHOTOMETRIC, (1,))[0] in (3, 5, 6) else int(tags.get(SAMPLES, (1,))[0])
    if min(height, width, channels) < 1:
        raise LookupError
    bits, kind = int(tags.get(BITS, (1,))[0]), int(tags.get(SAMPLE_FORMAT, (1,))[0])
    width_of_type = max(8, 1 << (bits - 1).bit_length())
    name = {1: "uint", 2: "int", 3: "float"}.get(kind)
    if kind == 3:
        width_of_type = 32
    if orientation_of(tags) >= 5:
        height, width = width, height
    return Header(height, width, channels, f"{name}{width_of_type}" if name and bits <= 64 else None, pages)


def decoded_tiff(tags: Tags) -> Header:
    """The header of what a decoder allocates: the page with these tags, or one of its tiles where that is larger."""
    header = tiff_header(tags)
    height, width = (int(tags.get(tag, (0,))[0]) for tag in (TILE_LENGTH, TILE_WIDTH))
    if height * width <= math.prod((header.height or 0, header.width or 0)):
        return header
    return Header(height, width, header.channels, header.dtype)


def npy_header(data: Source) -> Header:
    """The header of an array.

    Raises:
        ImageError: it is no array, or not all of it is there.
    """
    file = io.BytesIO(data[: 2**16])
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # of many kinds: the header is a Python expression
        raise ImageError(f"is not an array of numbers: {error}") from error
    if dtype.hasobject:
        raise ImageError("is not an array of numbers: Object arrays are not read")
    if dtype.kind not in "uif" or not dtype.itemsize or any(type(side) is not int or side < 1 for side in shape):
        raise ImageError.of_pixels(dtype, shape)
    if math.prod(shape) * dtype.itemsize > len(data) - file.tell():
        raise ImageError("is not an array of numbers: its end is missing, or it is damaged")
    height, width, channels = {2: (*shape, 1), 3: shape}.get(len(shape), (None, None, None))
    return Header(height, width, channels, "float32" if dtype.kind == "f" else dtype.name)


def _jpeg_header(data: Source) -> Header:
    for marker, start, _ in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack(">BHHB", data[start : start + 6])
            if orientation_of(exif_tags(data)) >= 5:
                height, width = width, height
            return Header(height, width, 1 if channels == 1 else 3, "uint8" if bits == 8 else None)
    raise LookupError


def _png_header(data: Source) -> Header:
    width, height, bits, color = struct.unpack(">IIBB", data[16:26])
    kinds = {kind for kind, _, _ in png_chunks(data)}
    if b"eXIf" in kinds and orientation_of(exif_tags(data)) >= 5:
        height, width = width, height
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    if height * width * samples * bits // 8 > DEFLATED * len(data):
        raise ImageError(
            f"is truncated or damaged: {len(data)} bytes cannot hold the {width} x {height} pixels it names"
        )
    channels = (3 if color == 3 else samples) + (b"tRNS" in kinds)
    return Header(height, width, channels, "uint16" if bits == 16 else "uint8")


def _webp_header(data: Source) -> Header:
    channels: int | None = 3
    height = width = 0
    for kind, start, _ in webp_chunks(data):
        content = data[start : start + 10]
        if kind == b"VP8X":
            width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (4, 7))
            is_animated, has_alpha = content[0] & 0x02, content[0] & 0x10
            channels = None if is_animated else 4 if has_alpha else 3
        elif kind == b"VP8 " and not width:
            width, height = (value & 0x3FFF for value in struct.unpack("<HH", content[6:10]))
        elif kind == b"VP8L" and not width:
            [bits] = struct.unpack("<I", content[1:5])
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            channels = 4 if bits >> 28 & 1 else 3
        elif kind == b"EXIF" and orientation_of(exif_tags(data)) >= 5:
            height, width = width, height
    if not width:
        raise LookupError
    return Header(height, width, channels, "uint8")


def _bmp_header(start: bytes) -> Header:
    if start[14] == 12:
        width, height, _, bits = struct.unpack("<HHHH", start[18:26])
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack("<iiHHI", start[18:34].ljust(16, b"\0"))
    # A palette may be all grey; bit fields may have one of transparency.
    channels = 3 if bits in (16, 24) or (bits == 32 and compression == 0) else None
    return Header(abs(height), abs(width), channels, "uint8")


def _pnm_header(start: bytes) -> Header:
    is_bits = start[:2] in (b"P1", b"P4")
    words: list[bytes] = []
    for line in start.splitlines():
        words += line.split(b"#")[0].split()
        if len(words) >= 4 - is_bits:
            break
    width, height, largest = (int(word) for word in ([*words[1:3], b"1"] if is_bits else words[1:4]))
    channels = 3 if words[0] in (b"P3", b"P6") else 1
    return Header(height, width, channels, "uint16" if largest > 255 else "uint8")
