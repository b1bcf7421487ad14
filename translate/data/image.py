"""Reading and writing images at any depth: uint8, uint16 and float32; grey, RGB, RGBA or N channels."""

import io
import tokenize
import warnings
from pathlib import Path, PurePath
from typing import Any, Literal

import cv2
import numpy as np

from translate.errors import UserError
from translate.files import write_bytes

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".npy"})
TIFF = frozenset({".tif", ".tiff"})
TYPES = ("uint8", "uint16", "float32")

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # what cv2 prints about a damaged file is said by ImageError


class ImageError(UserError):
    """One file cannot be read or written; the message says why, without the path."""


def list_images(folder: Path) -> list[Path]:
    """The images below `folder`, nested folders too, as sorted relative paths. Hidden files are left out."""
    found = (
        path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file()
    )
    return sorted(path for path in found if not any(part.startswith(".") or part == "__MACOSX" for part in path.parts))


def image_name(path: PurePath) -> str:
    """The path without its extension, with forward slashes: what an image is called in its data set."""
    return (path.parent / path.stem).as_posix()


def read_image(path: Path) -> np.ndarray:
    """Decode an image as (H, W, C), channels in RGB or RGBA order, upright (EXIF orientation applied).

    The pixel type is the file's own: uint8, uint16 or float32. Of a TIFF with several pages, the first is read.

    Raises:
        ImageError: the file is missing, empty, truncated, no image, or of a pixel type that is not supported.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror or error}") from error
    if not data:
        raise ImageError("is empty")
    image: np.ndarray | None
    if path.suffix.lower() == ".npy":
        image = _decode_npy(data)
    elif _is_truncated(data):
        raise ImageError("is truncated: the end of the file is missing")
    else:
        image = _decode_tiff(data) if _needs_tifffile(data) else _decode(data)
        if image is None:
            raise ImageError("cannot be decoded: damaged, or not an image of a supported format")
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype == np.float64:
        image = image.astype(np.float32)
    if str(image.dtype) not in TYPES or image.ndim != 3 or not image.size:
        raise ImageError(
            f"has {image.dtype} pixels of shape {image.shape}; supported are (H, W, C) of {', '.join(TYPES)}"
        )
    return np.ascontiguousarray(image)


def write_image(path: Path, image: np.ndarray, *, quality: int = 95) -> None:
    """Write (H, W, C) pixels in RGB or RGBA order, atomically, in the format that the extension names.

    `quality` (1 to 100) is for JPEG and WebP.

    Raises:
        ImageError: the format cannot hold this pixel type or number of channels.
        OSError: the disk is full or the folder cannot be written.
    """
    write_bytes(path, encode_image(image, path.suffix.lower(), quality=quality), durable=False)


def can_hold(suffix: str, dtype: str, channels: int) -> bool:
    """Whether files with this extension hold this pixel type and number of channels without loss of either."""
    if suffix == ".npy" or (suffix in TIFF and dtype in TYPES):
        return True
    if suffix == ".png":
        return dtype in ("uint8", "uint16") and channels in (1, 3, 4)
    if suffix == ".webp":
        return dtype == "uint8" and channels in (3, 4)
    if suffix == ".ppm":
        return dtype in ("uint8", "uint16") and channels == 3
    if suffix == ".pgm":
        return dtype in ("uint8", "uint16") and channels == 1
    return dtype == "uint8" and channels in (1, 3)


def encode_image(image: np.ndarray, suffix: str, *, quality: int = 95) -> bytes:
    """The bytes of an image file; see `write_image`."""
    channels = image.shape[2]
    if not can_hold(suffix, str(image.dtype), channels):
        raise ImageError(f"{suffix} files cannot hold {image.dtype} pixels with {channels} channels; use .tif or .npy")
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, image)
        return buffer.getvalue()
    if suffix in TIFF and channels not in (1, 3, 4):
        return _encode_tiff(image)
    if channels >= 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA)
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }
    done, encoded = cv2.imencode(suffix, image, options.get(suffix, []))
    if not done:
        raise ImageError(f"could not be encoded as {suffix}")
    return encoded.tobytes()


def _decode(data: bytes) -> np.ndarray | None:
    buffer = np.frombuffer(data, np.uint8)
    is_jpeg = data.startswith(b"\xff\xd8")
    # cv2 applies the EXIF orientation with any flag but UNCHANGED, and keeps alpha with UNCHANGED alone.
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if is_jpeg else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(buffer, flags)
    except cv2.error:
        return None
    if image is None:
        return None
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    is_png_or_webp = data.startswith((b"\x89PNG", b"RIFF"))
    if is_png_or_webp and (b"eXIf" in data or b"EXIF" in data):
        return _upright(image, data)
    return image


def _upright(image: np.ndarray, data: bytes) -> np.ndarray:
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as header:
            warnings.simplefilter("ignore")
            orientation = header.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return image
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _decode_npy(data: bytes) -> np.ndarray:
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, tokenize.TokenError, SyntaxError) as error:
        raise ImageError(f"is not an array of numbers: {error}") from error
    return array


def _decode_tiff(data: bytes) -> np.ndarray | None:
    tifffile = _tifffile()
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            image: np.ndarray = page.asarray()
            axes = page.axes
    except Exception:  # tifffile raises many kinds on damaged files; all mean the same to the user
        return None
    return np.moveaxis(image, 0, -1) if axes == "SYX" else image


def _needs_tifffile(data: bytes) -> bool:
    """Whether cv2 would misread a TIFF without saying so.

    It does so with channels that are neither grey nor RGB(A), with planes, transparency (which it multiplies in),
    BigTIFF, and tiles of 16 pixels. Compressions that tifffile cannot read alone stay with cv2 all the same.
    """
    if data[:4] in (b"II+\0", b"MM\0+"):
        return True
    order: Literal["little", "big"] | None = {b"II*\0": "little", b"MM\0*": "big"}.get(data[:4])  # type: ignore[assignment]
    if order is None:
        return False
    page = int.from_bytes(data[4:8], order)
    tags = {}
    for entry in range(int.from_bytes(data[page : page + 2], order)):
        start = page + 2 + 12 * entry
        size = 4 if int.from_bytes(data[start + 2 : start + 4], order) == 4 else 2
        tags[int.from_bytes(data[start : start + 2], order)] = int.from_bytes(data[start + 8 : start + 8 + size], order)
    channels = tags.get(277, 1)
    is_strange = (
        channels not in (1, 3, 4)
        or (channels > 1 and tags.get(262) in (0, 1))
        or (channels > 1 and tags.get(284, 1) == 2)
        or (channels == 4 and tags.get(262) == 2)
        or tags.get(322, 32) % 32 != 0
    )
    return is_strange and tags.get(259, 1) in (1, 8, 32946, 32773)


def _encode_tiff(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    _tifffile().imwrite(buffer, image, photometric="minisblack", planarconfig="contig", compression="zlib")
    return buffer.getvalue()


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            "is a TIFF with a number of channels that needs the TIFF extra: pip install 'translate-images[tiff]'"
        ) from error
    return tifffile


def _is_truncated(data: bytes) -> bool:
    """cv2 decodes a JPEG or PNG that was cut off and leaves the rest grey; the end marker tells."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if not data.startswith(b"\xff\xd8"):
        return False
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:  # a fill byte
            position += 1
            continue
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:  # start of scan: pixels follow, and after them the end of the image
            return data.find(b"\xff\xd9", position) < 0
        position += 2 + length
    return True
