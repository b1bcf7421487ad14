"""What image files say besides their pixels, kept where the format can: the colour profile and the resolution."""

import struct
import zlib
from dataclasses import dataclass

from translate.data.containers import (
    ICC_PROFILE,
    JPEG,
    PNG,
    RESOLUTION_UNIT,
    RIFF,
    TIFF_BYTE_ORDER,
    X_RESOLUTION,
    Y_RESOLUTION,
    Source,
    Tags,
    exif_tags,
    jpeg_segments,
    png_chunk,
    png_chunks,
    tiff_directories,
    webp_chunks,
)

INCH = 0.0254
"""In metres."""
LARGEST_PROFILE = 2**24
SEGMENT = 65519
"""Bytes of a profile that one JPEG segment holds."""


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file besides its pixels. The EXIF orientation is not: images are turned upright when read.

    Attributes:
        icc_profile: the ICC profile, which says what colours the pixel values mean.
        resolution: dots per inch, horizontally and vertically.
    """

    icc_profile: bytes | None = None
    resolution: tuple[float, float] | None = None


def read_metadata(data: Source) -> Metadata:
    """The metadata in the bytes of an image file (JPEG, PNG, WebP, TIFF, BMP); what is damaged is left out."""
    start = data[:4]
    try:
        if start[:2] == JPEG:
            found = _read_jpeg(data)
        elif start == PNG:
            found = _read_png(data)
        elif start == RIFF:
            profile = next((data[at:end] for kind, at, end in webp_chunks(data) if kind == b"ICCP"), None)
            found = profile, _exif_resolution(exif_tags(data))
        elif start in TIFF_BYTE_ORDER:
            return tiff_metadata(next(tiff_directories(data), {}))
        elif start[:2] == b"BM" and data[14:15] != b"\x0c":
            x, y = struct.unpack("<ii", data[38:46])
            found = None, (x * INCH, y * INCH)
        else:
            return Metadata()
    except (struct.error, zlib.error, LookupError, ValueError):
        return Metadata()
    return _checked(*found)


def tiff_metadata(tags: Tags) -> Metadata:
    """The metadata among the tags of a TIFF page."""
    return _checked(tags.get(ICC_PROFILE), _exif_resolution(tags))


def suitable_profile(metadata: Metadata | None, channels: int) -> bytes | None:
    """The profile, if it is of the colours that `channels` are: grey for 1 and 2, RGB for 3 and 4."""
    space = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}.get(channels)
    if metadata is None or metadata.icc_profile is None or metadata.icc_profile[16:20] != space:
        return None
    return metadata.icc_profile


def add_metadata(encoded: bytes, metadata: Metadata, channels: int) -> bytes:
    """The bytes of an image file of `channels`, with what of `metadata` its format can hold."""
    profile, resolution = suitable_profile(metadata, channels), metadata.resolution
    if encoded[:2] == JPEG:
        return _add_to_jpeg(encoded, profile, resolution)
    if encoded[:4] == PNG:
        chunks = b""
        if profile is not None:
            chunks += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
        if resolution is not None:
            chunks += png_chunk(b"pHYs", struct.pack(">IIB", *_per_metre(resolution), 1))
        return encoded[:33] + chunks + encoded[33:]  # after the header chunk
    if encoded[:4] == RIFF:
        return encoded if profile is None else _add_to_webp(encoded, profile)
    if encoded[:4] in TIFF_BYTE_ORDER:
        return encoded if profile is None else _add_to_tiff(encoded, profile)
    if encoded[:2] == b"BM" and resolution is not None:
        return encoded[:38] + struct.pack("<ii", *_per_metre(resolution)) + encoded[46:]
    return encoded


def _checked(profile: bytes | None, resolution: tuple[float, float] | None) -> Metadata:
    """Metadata without a profile that is no profile and a resolution that is none."""
    if profile is not None:
        size = int.from_bytes(profile[:4], "big")
        is_profile = 128 <= size <= len(profile) and profile[36:40] == b"acsp"
        profile = profile[:size] if is_profile else None
    if resolution is not None and not all(0.5 <= value <= 65535 for value in resolution):
        resolution = None
    return Metadata(profile, resolution)


def _per_metre(resolution: tuple[float, float]) -> tuple[int, int]:
    return round(resolution[0] / INCH), round(resolution[1] / INCH)


def _exif_resolution(tags: Tags) -> tuple[float, float] | None:
    inches = {2: 1.0, 3: 2.54}.get(tags.get(RESOLUTION_UNIT, (2,))[0])
    if inches is None or X_RESOLUTION not in tags or Y_RESOLUTION not in tags:
        return None
    return tags[X_RESOLUTION][0] * inches, tags[Y_RESOLUTION][0] * inches


def _read_jpeg(data: Source) -> tuple[bytes | None, tuple[float, float] | None]:
    parts: dict[int, bytes] = {}
    count = 0
    resolution = None
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE0 and data[start : start + 5] == b"JFIF\0":
            unit, x, y = struct.unpack(">BHH", data[start + 7 : start + 12])
            inches = {1: 1.0, 2: 2.54}.get(unit)
            resolution = None if inches is None else (x * inches, y * inches)
        elif marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0":
            number, count = data[start + 12 : start + 14]
            parts[number] = data[start + 14 : end]
    is_whole = count > 0 and sorted(parts) == list(range(1, count + 1))
    profile = b"".join(parts[number] for number in sorted(parts)) if is_whole else None
    return profile, resolution or _exif_resolution(exif_tags(data))


def _read_png(data: Source) -> tuple[bytes | None, tuple[float, float] | None]:
    profile, resolution = None, None
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"iCCP":
            _, _, packed = data[start:end].partition(b"\0")
            try:
                profile = zlib.decompressobj().decompress(packed[1:], LARGEST_PROFILE)
            except zlib.error:
                profile = None
        elif kind == b"pHYs":
            x, y, unit = struct.unpack(">IIB", data[start:end])
            resolution = (x * INCH, y * INCH) if unit == 1 else None
    return profile, resolution


def _add_to_jpeg(encoded: bytes, profile: bytes | None, resolution: tuple[float, float] | None) -> bytes:
    if encoded[6:11] != b"JFIF\0":
        return encoded
    if resolution is not None:
        encoded = encoded[:13] + struct.pack(">BHH", 1, *(max(1, round(value)) for value in resolution)) + encoded[18:]
    parts = [profile[start : start + SEGMENT] for start in range(0, len(profile), SEGMENT)] if profile else []
    if len(parts) > 255:
        return encoded
    segments = b"".join(
        struct.pack(">HH", 0xFFE2, len(part) + 16) + b"ICC_PROFILE\0" + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, start=1)
    )
    return encoded[:20] + segments + encoded[20:]  # after the JFIF segment


def _add_to_webp(encoded: bytes, profile: bytes) -> bytes:
    from translate.data.header import find_header

    body = encoded[12:]
    if body[:4] == b"VP8X":
        extended, body = bytearray(body[8:18]), body[18:]
    else:
        header = find_header(encoded)
        extended = bytearray([0x10 * (header.channels == 4), 0, 0, 0])
        extended += b"".join((value - 1).to_bytes(3, "little") for value in (header.width or 1, header.height or 1))
    extended[0] |= 0x20
    body = (
        b"VP8X" + struct.pack("<I", 10) + extended + b"ICCP" + struct.pack("<I", len(profile)) + _even(profile) + body
    )
    return RIFF + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _add_to_tiff(encoded: bytes, profile: bytes) -> bytes:
    """A little-endian TIFF of one page whose tags all come before the profile's: its directory moves to the end."""
    [start] = struct.unpack("<I", encoded[4:8])
    [count] = struct.unpack("<H", encoded[start : start + 2])
    entries = encoded[start + 2 : start + 2 + 12 * count]
    encoded, profile_at = _even(encoded), len(encoded) + len(encoded) % 2
    directory_at = profile_at + len(_even(profile))
    entries += struct.pack("<HHII", ICC_PROFILE, 7, len(profile), profile_at)
    directory = struct.pack("<H", count + 1) + entries + struct.pack("<I", 0)
    return encoded[:4] + struct.pack("<I", directory_at) + encoded[8:] + _even(profile) + directory


def _even(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)
