"""TIFF beyond what OpenCV reads and writes: N channels, several pages, and images larger than memory."""

import io
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sized
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np

from translate.data.containers import (
    BITS,
    COMPRESSION,
    LENGTH,
    ORIENTATION,
    PHOTOMETRIC,
    PLANES,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    TILE_LENGTH,
    TILE_WIDTH,
    FileBytes,
    Source,
    Tags,
    orientation_of,
    tiff_directories,
)
from translate.data.header import TYPES, Header, ImageError, check_size, decoded_tiff, tiff_header, tiff_pages
from translate.data.metadata import Metadata, suitable_profile, tiff_metadata
from translate.files import write_atomically

TILE = 256
CLASSIC_LIMIT = 3_500_000_000
"""Bytes of pixels from which a BigTIFF is written; a classic TIFF ends at 4 GiB."""
CACHE_BYTES = 2**27
JPEG_COMPRESSION = 7
CV2_COMPRESSIONS = (1, 2, 3, 4, 5, 8, 32773, 32946)
"""None, three of fax, LZW, deflate, PackBits, and deflate by its old number."""


def needs_tifffile(data: Source, tags: Tags, index: int) -> bool:
    """Whether cv2 cannot read the page at position `index`, or would misread it without saying so.

    It does so with channels that are neither grey nor RGB, with planes, transparency (which it multiplies in),
    BigTIFF, tiles of 16 pixels, and half precision. JPEG in TIFF is left to one decoder, so that reading by region
    gives the same pixels. To later pages cv2 has to decode its way; it gets those alone that tifffile does not
    interpret: palettes, bits, inks, turned pages.
    """
    channels, photometric = tags.get(SAMPLES, (1,))[0], tags.get(PHOTOMETRIC, (1,))[0]
    return (
        data[2:4] in (b"+\0", b"\0+")
        or (channels not in (1, 3) and photometric != 5)
        or (channels > 1 and photometric in (0, 1))
        or (channels > 1 and tags.get(PLANES, (1,))[0] == 2)
        or any(tags.get(tag, (32,))[0] % 32 for tag in (TILE_WIDTH, TILE_LENGTH))
        or (tags.get(SAMPLE_FORMAT, (1,))[0] == 3 and tags.get(BITS, (1,))[0] not in (32, 64))
        or tags.get(COMPRESSION, (1,))[0] not in CV2_COMPRESSIONS
        or (index > 0 and not _read_whole(tags, tiff_header(tags)))
    )


def decode_page(file: Any, index: int) -> np.ndarray | None:
    """(H, W) or (H, W, C) pixels of a page of an opened `tifffile.TiffFile`; None where it is damaged.

    Raises:
        ImageError: its compression needs the TIFF extra.
    """
    try:
        page = file.pages[index]
        image: np.ndarray = page.asarray()
    except Exception as error:  # tifffile raises many kinds on damaged files; all mean the same to the user
        _raise_if_missing(error)
        return None
    return np.moveaxis(image, 0, -1) if page.axes == "SYX" else image


def open_tiff(source: Path | bytes) -> Any:
    """An opened `tifffile.TiffFile`.

    Raises:
        ImageError: the TIFF extra is not installed, or the file is damaged.
        OSError: it cannot be opened.
    """
    tifffile = _tifffile()
    try:
        return tifffile.TiffFile(source if isinstance(source, Path) else io.BytesIO(source))
    except OSError:
        raise
    except Exception as error:
        raise ImageError("cannot be decoded: a damaged TIFF") from error


def encode_tiff(image: np.ndarray, metadata: Metadata | None) -> bytes:
    """A TIFF of (H, W, C) pixels, compressed."""
    buffer = io.BytesIO()
    _tifffile().imwrite(buffer, _stored(image), **_layout(image.shape[2], str(image.dtype), metadata))
    return buffer.getvalue()


def write_tiff_pages(
    path: Path, pages: Iterable[np.ndarray], metadata: Metadata | None = None, *, count: int | None = None
) -> None:
    """Write (H, W, C) pages, which may differ in shape, atomically; only one of them is in memory at a time.

    `count` is how many come, where `pages` has no length; it decides between TIFF and BigTIFF.

    Raises:
        ImageError: the TIFF extra is not installed.
        OSError: the disk is full or the folder cannot be written.
    """
    tifffile = _tifffile()
    iterator = iter(pages)
    first = next(iterator)
    count = len(pages) if isinstance(pages, Sized) else count
    is_big = count is None or count * first.nbytes > CLASSIC_LIMIT

    def write(partial: Path) -> None:
        with tifffile.TiffWriter(partial, bigtiff=is_big) as file:
            for page in chain([first], iterator):
                file.write(_stored(page), **_layout(page.shape[2], str(page.dtype), metadata))

    write_atomically(path, write, durable=False)


def write_tiff_strips(
    path: Path,
    strips: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: str,
    metadata: Metadata | None = None,
) -> None:
    """Write an image that comes from top to bottom in (rows, W, C) strips of any height, atomically.

    The file is tiled and compressed without loss, a BigTIFF where it must be. Memory is bounded by a strip and 256
    rows of the image.

    Raises:
        ImageError: the TIFF extra is not installed.
        ValueError: the strips are not of `shape` and `dtype`.
        OSError: the disk is full or the folder cannot be written.
    """
    tifffile = _tifffile()
    is_big = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize > CLASSIC_LIMIT
    layout = _layout(shape[2], dtype, metadata) | {"tile": (TILE, TILE)}

    def write(partial: Path) -> None:
        stored = shape if shape[2] > 1 else shape[:2]
        tiles = _tiles(strips, shape, dtype)
        tifffile.imwrite(partial, tiles, shape=stored, dtype=dtype, bigtiff=is_big, **layout)
        next(tiles, None)  # the iterator checks at its end that no strip is left

    write_atomically(path, write, durable=False)


class TiffReader:
    """A page of a TIFF, read by region; a context manager and safe to use from several threads.

    `reader[top:bottom, left:right]` is an (H, W, C) array equal to that part of what `read_image` returns. Only the
    strips or tiles that the region touches are decoded, and those of the last regions are remembered. A file whose
    page is one compressed strip has to be decoded as a whole all the same: `is_random_access` is false then.

    Args:
        path: the file.
        page: which page, counted from 0, thumbnails and smaller copies left out.

    Attributes:
        shape: (H, W, C).
        dtype: of the arrays it returns.
        page: the page's number.
        pages: how many the file has.
        metadata: the page's ICC profile and resolution.
        is_random_access: whether a region costs less memory than the whole page.

    Raises:
        ImageError: the file is damaged, the TIFF extra is missing, or the page is one that has to be read as a whole
            (a palette, inks, bits, turned by its orientation tag).
    """

    def __init__(self, path: Path, page: int = 0) -> None:
        try:
            with FileBytes(path) as data:
                pages = [index for index, _ in tiff_pages(data)]
                if not 0 <= page < len(pages):
                    raise ImageError(f"has no page {page}: its pages are 0 to {len(pages) - 1}")
                index = pages[page]
                tags = next(islice(tiff_directories(data, profile_of=index), index, None))
                header = tiff_header(tags)
        except OSError as error:
            raise ImageError(f"cannot be opened: {error.strerror or error}") from error
        except LookupError as error:
            raise ImageError("cannot be read by region: not a TIFF, or a damaged one") from error
        self.page, self.pages = page, len(pages)
        self.metadata = tiff_metadata(tags)
        self._file = open_tiff(path)
        self._lock = Lock()
        self._segments: OrderedDict[int, np.ndarray] = OrderedDict()
        try:
            self._open(index, tags, header)
        except ImageError:
            self.close()
            raise
        except Exception as error:  # as in decode_page
            self.close()
            raise ImageError("cannot be decoded: a damaged TIFF") from error

    def _open(self, index: int, tags: Tags, header: Header) -> None:
        if reason := _read_whole(tags, header):
            raise ImageError(f"cannot be read by region: {reason}")
        assert header.height is not None
        assert header.width is not None
        assert header.channels is not None
        self.shape = (header.height, header.width, header.channels)
        self.dtype = np.dtype(header.dtype)
        page = self._page = self._file.pages[index]
        is_flat = page.sampleformat == 3 and page.bitspersample != 32
        stored = np.dtype(page.dtype if is_flat else self.dtype).newbyteorder(self._file.byteorder)
        self._is_planar = self.shape[2] > 1 and page.planarconfig == 2
        self._pixels: np.ndarray | None = None
        height, width, channels = self.shape
        if page.compression == 1 and page.is_contiguous:
            shape = (channels, height, width) if self._is_planar else self.shape
            pixels = np.memmap(self._file.filehandle.path, stored, "r", page.dataoffsets[0], shape)
            self._pixels = np.moveaxis(pixels, 0, -1) if self._is_planar else pixels
            self.is_random_access = True
            return
        if page.is_tiled:
            self._segment = page.tilelength, page.tilewidth
        else:
            self._segment = min(page.rowsperstrip, height), width
        self._grid = -(-height // self._segment[0]), -(-width // self._segment[1])
        planes = channels if self._is_planar else 1
        if min(len(page.dataoffsets), len(page.databytecounts)) < self._grid[0] * self._grid[1] * planes:
            raise ImageError("is truncated: strips or tiles are missing")
        self.is_random_access = self._grid != (1, 1)
        check_size(Header(*self._segment, channels // planes, header.dtype), remedy="save it in tiles", uses_cv2=False)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        """(rows, columns, C) pixels.

        Raises:
            ImageError: this part of the file is damaged.
        """
        (top, bottom, _), (left, right, _) = (
            part.indices(size) for part, size in zip(region, self.shape[:2], strict=True)
        )
        if self._pixels is not None:
            return np.array(self._pixels[top:bottom, left:right], self.dtype, order="C")
        image = np.empty((max(0, bottom - top), max(0, right - left), self.shape[2]), self.dtype)
        if not image.size:
            return image
        high, wide = self._segment
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                upper, lower = max(top, row * high), min(bottom, (row + 1) * high)
                first, last = max(left, column * wide), min(right, (column + 1) * wide)
                for plane in range(self.shape[2] if self._is_planar else 1):
                    segment = self._decode((plane * self._grid[0] + row) * self._grid[1] + column)
                    part = segment[
                        upper - row * high : lower - row * high, first - column * wide : last - column * wide
                    ]
                    target = image[upper - top : lower - top, first - left : last - left]
                    if self._is_planar:
                        target[..., plane] = part[..., 0]
                    else:
                        target[...] = part
        return image

    def _decode(self, index: int) -> np.ndarray:
        with self._lock:
            if index in self._segments:
                self._segments.move_to_end(index)
                return self._segments[index]
            page = self._page
            handle = self._file.filehandle
            try:
                size = page.databytecounts[index]
                if page.dataoffsets[index] + size > handle.size:
                    raise ImageError("is truncated: the end of the file is missing")
                handle.seek(page.dataoffsets[index])
                data = handle.read(size)  # before the tables and the decoder, which move the file's position
                tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.jpegtables else {}
                segment, _, shape = page.decode(data or None, index, **tables)
            except ImageError:
                raise
            except Exception as error:  # as in decode_page
                _raise_if_missing(error)
                raise ImageError("cannot be decoded: a damaged TIFF") from error
            # Strips or tiles that were left out of the file have one value.
            pixels = np.full(shape[1:], page.nodata, page.dtype) if segment is None else segment[0]
            room = CACHE_BYTES - pixels.nbytes
            while self._segments and sum(kept.nbytes for kept in self._segments.values()) > room:
                self._segments.popitem(last=False)
            self._segments[index] = pixels
            return pixels

    def close(self) -> None:
        """Close the file."""
        self._pixels = None
        self._segments.clear()
        self._file.close()

    def __enter__(self) -> "TiffReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_tiff_size(tags: Tags, *, uses_cv2: bool) -> None:
    """Refuse a page that there is no memory to decode; see `check_size`.

    Raises:
        ImageError: it is too large.
    """
    header = tiff_header(tags)
    is_one_strip = (
        tags.get(COMPRESSION, (1,))[0] != 1
        and TILE_LENGTH not in tags
        and tags.get(ROWS_PER_STRIP, (2**32,))[0] >= tags[LENGTH][0]
    )
    by_region = not (is_one_strip or _read_whole(tags, header))
    remedy = (
        "`translate convert` reads it by region if what it writes stays a TIFF (--format tiff or keep)"
        if by_region
        else "save it as a TIFF in tiles or strips"
    )
    check_size(decoded_tiff(tags), remedy=remedy, uses_cv2=uses_cv2)


def _read_whole(tags: Tags, header: Header) -> str:
    """Why a page cannot be read by region, or nothing."""
    photometric, compression = tags.get(PHOTOMETRIC, (1,))[0], tags.get(COMPRESSION, (1,))[0]
    bits, kind = tags.get(BITS, (1,))[0], tags.get(SAMPLE_FORMAT, (1,))[0]
    if header.dtype not in TYPES or (kind != 3 and bits not in (8, 16)):
        return f"it has {bits}-bit pixels"
    is_plain = photometric in (1, 2) or (photometric == 0 and (header.channels or 1) > 1)
    if not (is_plain or (photometric == 6 and compression == JPEG_COMPRESSION)):
        return "its pixels are numbers of a palette, inks, or white at 0"
    return f"it is turned (tag {ORIENTATION})" if orientation_of(tags) != 1 else ""


def _tiles(strips: Iterable[np.ndarray], shape: tuple[int, int, int], dtype: str) -> Iterator[np.ndarray]:
    """Tiles from left to right and top to bottom; those at the edges are filled up with zeros."""
    height, width, channels = shape
    across = -(-width // TILE)
    band = np.zeros((TILE, across * TILE, channels), dtype)
    filled = total = 0

    def cut() -> Iterator[np.ndarray]:
        for column in range(across):
            tile = band[:, column * TILE : (column + 1) * TILE].copy()
            yield _stored(tile)

    for strip in strips:
        total += len(strip)
        if strip.shape[1:] != (width, channels) or strip.dtype != dtype or total > height:
            raise ValueError(f"a strip of {strip.dtype} {strip.shape} does not belong into {dtype} {shape}")
        while len(strip):
            rows = min(TILE - filled, len(strip))
            band[filled : filled + rows, :width] = strip[:rows]
            strip, filled = strip[rows:], filled + rows
            if filled == TILE:
                yield from cut()
                filled = 0
    if total != height:
        raise ValueError(f"the strips have {total} rows in all, not {height}")
    if filled:
        band[filled:] = 0
        yield from cut()


def _stored(image: np.ndarray) -> np.ndarray:
    """Pixels as tifffile takes them: without a channel axis where there is one channel."""
    return image if image.shape[2] > 1 else image[..., 0]


def _layout(channels: int, dtype: str, metadata: Metadata | None) -> dict[str, Any]:
    """How pages are written: compressed without loss, the last of 2 and 4 channels as transparency."""
    is_color = channels in (3, 4)
    more = channels - (3 if is_color else 1)
    options: dict[str, Any] = {
        "photometric": "rgb" if is_color else "minisblack",
        "compression": "zlib",
        "predictor": 3 if dtype == "float32" else 2,
        "metadata": None,
    }
    if channels > 1:
        options["planarconfig"] = "contig"
    if more:
        options["extrasamples"] = ["unassalpha" if channels in (2, 4) else "unspecified"] * more
    if metadata is not None and metadata.resolution is not None:
        options |= {"resolution": metadata.resolution, "resolutionunit": "inch"}
    if (profile := suitable_profile(metadata, channels)) is not None:
        options["iccprofile"] = profile
    return options


def _raise_if_missing(error: Exception) -> None:
    """Say so when tifffile lacks a codec: imagecodecs is not installed."""
    if "imagecodecs" in str(error):
        raise ImageError(
            "is a TIFF whose compression needs the TIFF extra: pip install 'translate-images[tiff]'"
        ) from error


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            "is a TIFF of a kind that needs the TIFF extra: pip install 'translate-images[tiff]'"
        ) from error
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs about a damaged file is said by ImageError
    return tifffile
