"""Reading and writing images at any depth: uint8, uint16 and float32; grey, RGB, RGBA or N channels."""

import io
import struct
from collections.abc import Iterable, Iterator, Sized
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path, PurePath

import cv2
import numpy as np

from translate.data import tiff
from translate.data.containers import (
    JPEG,
    PHOTOMETRIC,
    PNG,
    RIFF,
    TIFF_BYTE_ORDER,
    FileBytes,
    Source,
    Tags,
    exif_tags,
    jpeg_segments,
    orientation_of,
    png_chunk,
    png_chunks,
)
from translate.data.header import ALWAYS_FITS, check_size, find_header, npy_header, tiff_pages
from translate.data.header import TYPES as TYPES
from translate.data.header import Header as Header
from translate.data.header import ImageError as ImageError
from translate.data.header import read_header as read_header
from translate.data.metadata import Metadata as Metadata
from translate.data.metadata import add_metadata
from translate.data.metadata import read_metadata as read_metadata
from translate.files import write_bytes

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".npy"})
TIFF = frozenset({".tif", ".tiff"})
DAMAGED = "cannot be decoded: damaged, or not an image of a supported format"

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # what cv2 prints about a damaged file is said by ImageError


def list_images(folder: Path) -> list[Path]:
    """The images below `folder`, nested folders too, as sorted relative paths. Hidden files are left out.

    Links are followed, but every folder is entered once, and by its own name where it has one below `folder`.
    """
    found: list[Path] = []
    visited: set[Path] = set()
    linked: list[Path] = []
    waiting = [folder]
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop(0)
        if (own := place.resolve()) in visited:
            continue
        visited.add(own)
        for path in sorted(place.iterdir()):
            if path.name.startswith(".") or path.name == "__MACOSX":
                continue
            if path.is_dir():
                (linked if path.is_symlink() else waiting).append(path)
            elif path.suffix.lower() in EXTENSIONS and path.is_file():
                found.append(path.relative_to(folder))
    return sorted(found)


def image_name(path: PurePath) -> str:
    """The path without its extension, with forward slashes: what an image is called in its data set."""
    return (path.parent / path.stem).as_posix()


def read_image(path: Path) -> np.ndarray:
    """Decode an image as (H, W, C), channels in RGB or RGBA order, upright (EXIF orientation applied).

    The pixel type is the file's own: uint8, uint16 or float32; half and double precision become float32. Of a TIFF
    with several pages, the first is read; of a moving WebP or PNG, the first frame. Palettes become RGB, bits 0 and
    255, inks (CMYK) RGB; transparency is a channel more.

    Raises:
        ImageError: the file is missing, empty, truncated, no image, too large for the memory, or of a pixel type
            that is not supported.
    """
    return decode_image(read_file(path), path.suffix.lower())


def read_file(path: Path) -> bytes:
    """The bytes of an image file, for `decode_image` and `read_metadata`.

    Raises:
        ImageError: it cannot be opened, or is empty.
    """
    try:
        if path.stat().st_size > ALWAYS_FITS:
            with FileBytes(path) as source:
                _check_decodable(source)
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error
    except MemoryError as error:
        raise ImageError("is too large for the memory") from error
    if not data:
        raise ImageError("is empty")
    return data


def decode_image(data: bytes, suffix: str) -> np.ndarray:
    """Decode the bytes of a file; see `read_image`. The content decides, `suffix` only whether it is a `.npy`."""
    try:
        if suffix == ".npy":
            npy_header(data)
            return _finished(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))
        if data[:4] in TIFF_BYTE_ORDER:
            return _decode_first_page(data)
        header = find_header(data)
        if header.height is None:  # cv2 reads more formats, of which the size is not known before
            raise ImageError(f"{DAMAGED} (PNG, JPEG, WebP, BMP, PNM, TIFF): convert it to PNG or TIFF first")
        check_size(header)
        if _is_truncated(data):
            raise ImageError("is truncated: the end of the file is missing")
        return _finished(_decode(data))
    except MemoryError as error:
        raise ImageError("is too large for the memory") from error


def iterate_pages(path: Path) -> Iterator[np.ndarray]:
    """Every page of a TIFF as `read_image` returns the first, one at a time; or the one image of any other file.

    Thumbnails, smaller copies and masks in a TIFF are no pages. Pages may differ in shape and pixel type.

    Raises:
        ImageError: as `read_image`, for any page.
    """
    if read_header(path).pages == 1:
        yield read_image(path)
        return
    with FileBytes(path) as source, ExitStack() as stack:
        file = None
        data = np.memmap(path, np.uint8, "r")
        for index, tags in tiff_pages(source):
            by_tifffile = tiff.needs_tifffile(source, tags, index)
            tiff.check_tiff_size(tags, uses_cv2=not by_tifffile)
            if by_tifffile and file is None:
                file = stack.enter_context(tiff.open_tiff(path))
            decoded = tiff.decode_page(file, index) if by_tifffile else _decode_cv2_page(data, index, tags)
            yield _finished(decoded, orientation_of(tags) if by_tifffile else 1)


def write_image(path: Path, image: np.ndarray, metadata: Metadata | None = None, *, quality: int = 95) -> None:
    """Write (H, W, C) pixels in RGB or RGBA order, atomically, in the format that the extension names.

    `quality` (1 to 100) is for JPEG and WebP. Of `metadata`, the profile is written to JPEG, PNG, WebP and TIFF if it
    is one of grey or RGB, as the image is, and the resolution to JPEG, PNG, TIFF and BMP.

    Raises:
        ImageError: the format cannot hold this pixel type or number of channels.
        OSError: the disk is full or the folder cannot be written.
    """
    write_bytes(path, encode_image(image, path.suffix.lower(), metadata, quality=quality), durable=False)


def write_pages(
    path: Path, pages: Iterable[np.ndarray], metadata: Metadata | None = None, *, count: int | None = None
) -> None:
    """Write (H, W, C) pages atomically: any number into a TIFF, one into any other format.

    `pages` may come one after the other, `count` says how many where it has no length.

    Raises:
        ImageError: see `write_image`; several pages are for TIFF alone.
        OSError: the disk is full or the folder cannot be written.
    """
    iterator = iter(pages)
    if not (first := list(islice(iterator, 2))):
        raise ImageError("has no page to write")
    if len(first) == 1:
        write_image(path, first[0], metadata)
        return
    if path.suffix.lower() not in TIFF:
        raise ImageError(f"{path.suffix} files cannot hold several pages; use .tif")
    count = len(pages) if isinstance(pages, Sized) else count
    tiff.write_tiff_pages(path, chain(first, iterator), metadata, count=count)


def can_hold(suffix: str, dtype: str, channels: int) -> bool:
    """Whether files with this extension hold this pixel type and number of channels without loss of either.

    Two channels are grey and transparency. WebP has no grey: there it becomes three equal channels.
    """
    if suffix == ".npy" or (suffix in TIFF and dtype in TYPES):
        return True
    if suffix == ".png":
        return dtype in ("uint8", "uint16") and channels in (1, 2, 3, 4)
    if suffix == ".webp":
        return dtype == "uint8" and channels in (1, 2, 3, 4)
    if suffix == ".bmp":
        return dtype == "uint8" and channels in (1, 3, 4)
    if suffix == ".ppm":
        return dtype in ("uint8", "uint16") and channels == 3
    if suffix == ".pgm":
        return dtype in ("uint8", "uint16") and channels == 1
    return dtype == "uint8" and channels in (1, 3)


def encode_image(image: np.ndarray, suffix: str, metadata: Metadata | None = None, *, quality: int = 95) -> bytes:
    """The bytes of an image file; see `write_image`."""
    channels = image.shape[2]
    if not can_hold(suffix, str(image.dtype), channels):
        raise ImageError(f"{suffix} files cannot hold {image.dtype} pixels with {channels} channels; use .tif or .npy")
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, image)
        return buffer.getvalue()
    if suffix in TIFF and channels not in (1, 3):
        return tiff.encode_tiff(image, metadata)
    if suffix == ".webp" and channels < 3:
        image = image[..., [0, 0, 0, 1][: channels + 2]]
        channels += 2
    if channels == 2:
        encoded = _encode_grey_alpha_png(image)
    else:
        encoded = _encode(image, suffix, _options(suffix, quality, metadata))
    return encoded if metadata is None else add_metadata(encoded, metadata, channels)


def _options(suffix: str, quality: int, metadata: Metadata | None) -> list[int]:
    if suffix in (".jpg", ".jpeg"):
        return [cv2.IMWRITE_JPEG_QUALITY, quality]
    if suffix == ".webp":
        return [cv2.IMWRITE_WEBP_QUALITY, quality]
    if suffix in TIFF and metadata is not None and metadata.resolution is not None:
        x, y = (max(1, round(value)) for value in metadata.resolution)
        return [cv2.IMWRITE_TIFF_RESUNIT, 2, cv2.IMWRITE_TIFF_XDPI, x, cv2.IMWRITE_TIFF_YDPI, y]
    return []


def _encode(image: np.ndarray, suffix: str, options: list[int]) -> bytes:
    if image.shape[2] >= 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, encoded = cv2.imencode(suffix, image, options)
    if not done:
        raise ImageError(f"could not be encoded as {suffix}")
    return encoded.tobytes()


def _encode_grey_alpha_png(image: np.ndarray) -> bytes:
    """A PNG of colour type 4, which cv2 does not write; each row is stored as its difference to the one above."""
    import zlib

    height, width, _ = image.shape
    rows = image.astype(image.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8 * image.itemsize, 4, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(filtered.tobytes(), 3))
        + png_chunk(b"IEND", b"")
    )


def _decode(data: bytes) -> np.ndarray:
    # cv2 applies the EXIF orientation with any flag but UNCHANGED, and keeps alpha with UNCHANGED alone.
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if data[:2] == JPEG else cv2.IMREAD_UNCHANGED
    image = _to_rgb(_decode_cv2(np.frombuffer(data, np.uint8), flags))
    if data[:4] == PNG:
        image = _with_grey_alpha(image, data)
    if data[:4] in (PNG, RIFF) and (b"eXIf" in data or b"EXIF" in data):
        return _upright(image, orientation_of(exif_tags(data)))
    return image


def _decode_cv2(data: np.ndarray, flags: int, page: int = 0) -> np.ndarray:
    try:
        if page:
            _, images = cv2.imdecodemulti(data, flags, range=(page, page + 1))
            image = images[0] if images else None
        else:
            image = cv2.imdecode(data, flags)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError(DAMAGED)
    return image


def _to_rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    if str(image.dtype) not in TYPES:  # of other types, cvtColor takes none
        return image[..., [2, 1, 0, 3][: image.shape[2]]]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _with_grey_alpha(image: np.ndarray, data: bytes) -> np.ndarray:
    """Grey and transparency as two channels, where the PNG has no more: cv2 gives four, or leaves one out."""
    bits, color = data[24], data[25]
    if color == 4 and image.ndim == 3 and image.shape[2] == 4:
        return image[..., [0, 3]]
    if color == 0 and image.ndim == 2:
        for kind, start, end in png_chunks(data):
            if kind == b"tRNS" and end - start == 2:
                transparent = int.from_bytes(data[start:end], "big") * (255 // (2**bits - 1) if bits < 8 else 1)
                full = np.iinfo(image.dtype).max
                return np.stack([image, np.where(image == transparent, 0, full).astype(image.dtype)], axis=-1)
            if kind == b"IDAT":
                break
    return image


def _check_decodable(data: Source) -> None:
    """Refuse what is too large; of a TIFF, its first page."""
    if data[:4] in TIFF_BYTE_ORDER:
        _find_first_page(data)
    else:
        check_size(find_header(data))


def _find_first_page(data: Source) -> tuple[int, Tags, bool]:
    """Position and tags of the page, which is not too large, and whether it is for tifffile."""
    try:
        index, tags = next(tiff_pages(data))
    except LookupError as error:
        raise ImageError(DAMAGED) from error
    by_tifffile = tiff.needs_tifffile(data, tags, index)
    tiff.check_tiff_size(tags, uses_cv2=not by_tifffile)
    return index, tags, by_tifffile


def _decode_first_page(data: bytes) -> np.ndarray:
    index, tags, by_tifffile = _find_first_page(data)
    if not by_tifffile:
        return _finished(_decode_cv2_page(np.frombuffer(data, np.uint8), index, tags))
    with tiff.open_tiff(data) as file:
        return _finished(tiff.decode_page(file, index), orientation_of(tags))


def _decode_cv2_page(data: np.ndarray, index: int, tags: Tags) -> np.ndarray:
    photometric = tags.get(PHOTOMETRIC, (1,))[0]
    is_ink = photometric == 5
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if is_ink else cv2.IMREAD_UNCHANGED
    image = _to_rgb(_decode_cv2(data, flags, index))
    # Of files in which 0 is white, cv2 turns only those of 8 bits round.
    return 65535 - image if photometric == 0 and image.dtype == np.uint16 else image


def _finished(image: np.ndarray | None, orientation: int = 1) -> np.ndarray:
    """(H, W, C) pixels of a supported type, upright and one after the other in memory."""
    if image is None:
        raise ImageError(DAMAGED)
    if image.ndim == 2:
        image = image[..., None]
    if str(image.dtype) not in TYPES:
        image = image.astype(np.float32 if image.dtype.kind == "f" else image.dtype.newbyteorder("="))
    if str(image.dtype) not in TYPES or image.ndim != 3 or not image.size:
        raise ImageError.of_pixels(image.dtype, image.shape)
    return np.ascontiguousarray(_upright(image, orientation))


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _is_truncated(data: bytes) -> bool:
    """cv2 decodes a JPEG or PNG that was cut off and leaves the rest grey; the end marker tells.

    It also makes room for a PNG chunk of any length, so that each has to end within the file.
    """
    if data[:4] == PNG:
        return all(kind != b"IEND" for kind, _, _ in png_chunks(data))
    if data[:2] != JPEG:
        return False
    for marker, start, _ in jpeg_segments(data):
        if marker == 0xDA:  # start of scan: pixels follow, and after them the end of the image
            return data.rfind(b"\xff\xd9", start) < 0  # from the end, where it nearly always is
    return True
