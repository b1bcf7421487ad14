"""Files damaged at random: what reads them returns an image or says that it cannot, and nothing else happens."""

import io
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from translate import memory
from translate.data.header import Header, read_header
from translate.data.image import EXTENSIONS, TYPES, ImageError, can_hold, encode_image, iterate_pages, read_image
from translate.data.metadata import Metadata, read_metadata
from translate.data.tiff import TiffReader

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MUTANTS_PER_FILE = 20
Random = np.random.Generator


def valid_files() -> dict[str, bytes]:
    """Small files of every format and of many layouts, by name."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20, 24, 5), np.uint8)
    files = {}
    for suffix in sorted(EXTENSIONS):
        for dtype in TYPES:
            for channels in (1, 2, 3, 4, 5):
                if can_hold(suffix, dtype, channels):
                    image = pixels[..., :channels].astype(dtype)
                    files[f"{dtype}_{channels}{suffix}"] = encode_image(image, suffix, Metadata(PROFILE, (300, 300)))
    rgb = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, options in (
        ("palette.png", rgb.quantize(16), {"transparency": 3}),
        ("bits.png", rgb.convert("1"), {}),
        ("turned.jpg", rgb, {"exif": exif, "progressive": True, "dpi": (72, 72)}),
        ("inks.jpg", rgb.convert("CMYK"), {}),
        ("turned.webp", rgb, {"exif": exif, "icc_profile": PROFILE}),
        ("moving.webp", rgb, {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("palette.bmp", rgb.quantize(16), {}),
        ("fax.tif", rgb.convert("1"), {"compression": "group4"}),
        ("palette.tif", rgb.quantize(16), {}),
        ("pages.tif", rgb, {"save_all": True, "append_images": [rgb, rgb.convert("L")], "compression": "tiff_lzw"}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, {".jpg": "JPEG", ".tif": "TIFF"}.get(Path(name).suffix, Path(name).suffix[1:]), **options)
        files[name] = buffer.getvalue()
    layouts: dict[str, dict[str, Any]] = {
        "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
        "big": {"bigtiff": True, "rowsperstrip": 5, "compression": "lzw"},
        "jpeg": {"compression": "jpeg"},
        "zstd": {"compression": "zstd", "byteorder": ">"},
        "plain": {},
    }
    for name, options in layouts.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels[..., :3], photometric="rgb", **options)
        files[f"{name}.tif"] = buffer.getvalue()
    return files


def truncate(data: bytes, random: Random) -> bytes:
    return data[: random.integers(0, len(data))]


def flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for at in random.integers(0, len(data), random.integers(1, 12)):
        changed[at] ^= 1 << random.integers(0, 8)
    return bytes(changed)


def flip_header(data: bytes, random: Random) -> bytes:
    return flip(data[:64], random) + data[64:]


def zero(data: bytes, random: Random) -> bytes:
    start, length = random.integers(0, len(data)), random.integers(1, 200)
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def duplicate(data: bytes, random: Random) -> bytes:
    start, stop = sorted(random.integers(0, len(data), 2))
    return data[:stop] + data[start:]


def enlarge(data: bytes, random: Random) -> bytes:
    """A field of four bytes, near either end, becomes huge."""
    near = int(random.integers(0, min(len(data), 120)))
    at = near if random.random() < 0.5 else len(data) - near
    value = int(random.choice([0x7FFFFFFF, 0xFFFFFFFF, 0x00FFFFFF, 0x0000FFFF, 0x00010000, 0x80000000]))
    return data[:at] + struct.pack("<I" if random.random() < 0.5 else ">I", value) + data[at + 4 :]


MUTATIONS = (truncate, flip, flip_header, zero, duplicate, enlarge)
FILES = valid_files()


def read_regions(path: Path) -> list[np.ndarray]:
    with TiffReader(path) as reader:
        return [reader[0:9, 0:11]]


def outcome(work: Callable[[], Any]) -> Any:
    """What `work` returns, or None where it says that it cannot."""
    try:
        return work()
    except ImageError:
        return None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_an_image_or_an_image_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**28)
    random = np.random.default_rng(list(name.encode()))
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    suffixes = sorted(EXTENSIONS)
    for number in range(MUTANTS_PER_FILE):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        data = mutate(FILES[name], random)
        suffix = str(random.choice(suffixes)) if number % 10 == 9 else Path(name).suffix
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        start = time.process_time()
        images = [outcome(lambda: read_image(path)), *(outcome(lambda: list(iterate_pages(path))) or [])]  # noqa: B023
        if suffix == ".tif":
            images += outcome(lambda: read_regions(path)) or []  # noqa: B023
        header = outcome(lambda: read_header(path))  # noqa: B023
        metadata = read_metadata(data)
        assert time.process_time() - start < 3
        for image in images:
            if image is not None:
                assert image.ndim == 3
                assert image.dtype.name in TYPES
                assert image.size
        assert header is None or isinstance(header, Header)
        assert metadata.icc_profile is None or metadata.icc_profile[36:40] == b"acsp"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - highest < 2**20  # KiB


def test_the_files_that_are_damaged_were_whole_and_of_every_format(tmp_path: Path) -> None:
    assert len(FILES) * MUTANTS_PER_FILE >= 240
    assert {Path(name).suffix for name in FILES} == EXTENSIONS
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
        assert len(list(iterate_pages(tmp_path / name))) == (3 if name == "pages.tif" else 1)
