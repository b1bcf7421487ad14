"""How the parts of image files lie in their bytes: JPEG segments, PNG and WebP chunks, TIFF directories."""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

JPEG = b"\xff\xd8"
PNG = b"\x89PNG"
RIFF = b"RIFF"
TIFF_BYTE_ORDER = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}

SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 254, 256, 257, 258, 259, 262, 274
SAMPLES, ROWS_PER_STRIP, X_RESOLUTION, Y_RESOLUTION, PLANES, RESOLUTION_UNIT = 277, 278, 282, 283, 284, 296
TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT, ICC_PROFILE = 322, 323, 339, 34675
TAGS = frozenset({SUBFILE_TYPE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS_PER_STRIP})
TAGS |= {X_RESOLUTION, Y_RESOLUTION, PLANES, RESOLUTION_UNIT, TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT, ICC_PROFILE}
FIELD_TYPES = {1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 16: "Q"}
MOST_PARTS = 2**18
"""Segments or chunks of a file that are looked at; images have a few thousand."""
MOST_ENTRIES = 512
"""Tags of a TIFF directory that are looked at; images have less than a hundred."""

Tags = dict[int, Any]
"""TIFF tags by number: the first of the numbers of each, in a tuple; bytes for the ICC profile."""


class Source(Protocol):
    """Bytes, or a file of which only the parts that are asked for are read."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class FileBytes:
    """A file as a `Source`; a context manager.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._size = self._file.seek(0, 2)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))

    def __enter__(self) -> "FileBytes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def jpeg_segments(data: Source) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the content of each segment up to the first start of scan, which is the last."""
    position = 2
    for _ in range(MOST_PARTS):
        if position + 4 > len(data):
            return
        ff, marker, length = struct.unpack(">BBH", data[position : position + 4])
        if ff != 0xFF:
            return
        if marker == 0xFF:
            position = _end_of_fill(data, position)
            continue
        yield marker, position + 4, position + 2 + length
        if marker == 0xDA or length < 2:
            return
        position += 2 + length


def _end_of_fill(data: Source, position: int) -> int:
    """Position of the last of the bytes 0xFF that follow each other from `position`."""
    while block := data[position : position + 2**16]:
        rest = block.lstrip(b"\xff")
        position += len(block) - len(rest)
        if rest:
            break
    return position - 1


def png_chunks(data: Source) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each chunk up to IEND."""
    position, kind = 8, b""
    for _ in range(MOST_PARTS):
        if position + 12 > len(data) or kind == b"IEND":
            return
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        yield kind, position + 8, position + 8 + length
        position += 12 + length


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk as it stands in the file."""
    import zlib

    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def webp_chunks(data: Source) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each chunk."""
    position = 12
    for _ in range(MOST_PARTS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack("<4sI", data[position : position + 8])
        yield kind, position + 8, position + 8 + length
        position += 8 + length + length % 2


def tiff_directories(data: Source, *, profile_of: int = 0) -> Iterator[Tags]:
    """The tags of each image in a TIFF (or of EXIF, which is built alike), in the order of the file.

    Of all ICC profiles, which may be large, only that of directory number `profile_of` is read.
    """
    order = TIFF_BYTE_ORDER.get(data[:4])
    if order is None:
        return
    is_big = data[2:3] == b"+" or data[3:4] == b"+"
    count_type, entry_type, room = ("Q", "HHQ", 8) if is_big else ("H", "HHI", 4)
    head, entry = struct.calcsize(order + count_type), struct.Struct(f"{order}{entry_type}{room}s")
    offset_type = order + ("Q" if is_big else "I")
    at = 8 if is_big else 4
    seen: set[int] = set()
    while len(data[at : at + room]) == room:
        [start] = struct.unpack(offset_type, data[at : at + room])
        if start in seen or not 8 <= start <= len(data) - head:
            return
        wanted = TAGS if len(seen) == profile_of else TAGS - {ICC_PROFILE}
        seen.add(start)
        [count] = struct.unpack(order + count_type, data[start : start + head])
        at = start + head + count * entry.size
        if at > len(data):
            return
        tags: Tags = {}
        entries = data[start + head : start + head + min(count, MOST_ENTRIES) * entry.size]
        for tag, kind, number, value in entry.iter_unpack(entries):
            if tag not in wanted or kind not in FIELD_TYPES or tag in tags or not number:
                continue
            layout = order + FIELD_TYPES[kind]
            size_of_one = struct.calcsize(layout)
            size = number * size_of_one
            if size > room:
                [place] = struct.unpack(offset_type, value)
                if place + size > len(data):
                    continue
                value = data[place : place + (size if tag == ICC_PROFILE else size_of_one)]
            if tag == ICC_PROFILE:
                tags[tag] = value[:size]
            else:
                first, *below = struct.unpack(layout, value[:size_of_one])
                tags[tag] = (_ratio(first, *below) if below else first,)
        yield tags


def _ratio(above: int, below: int) -> float:
    return above / below if below else 0.0


def exif_tags(data: Source) -> Tags:
    """The tags of the EXIF block of a JPEG, PNG or WebP; none where there is none or it is damaged."""
    block = b""
    start_of_file = data[:4]
    if start_of_file[:2] == JPEG:
        for marker, start, end in jpeg_segments(data):
            if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
                block = data[start:end]
                break
    elif start_of_file == PNG:
        block = next((data[start:end] for kind, start, end in png_chunks(data) if kind == b"eXIf"), b"")
    elif start_of_file == RIFF:
        block = next((data[start:end] for kind, start, end in webp_chunks(data) if kind == b"EXIF"), b"")
    return next(tiff_directories(block.removeprefix(b"Exif\0\0")), {})


def orientation_of(tags: Tags) -> int:
    """How the image is turned, 1 to 8 as TIFF and EXIF count; 1 is upright, and stands for anything unknown."""
    orientation = tags.get(ORIENTATION, (1,))[0]
    return int(orientation) if orientation in range(1, 9) else 1
