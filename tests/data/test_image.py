"""Reading and writing images: every format, depth and orientation, and every way a file can be broken."""

import errno
import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from translate.data.image import (
    EXTENSIONS,
    TYPES,
    ImageError,
    can_hold,
    encode_image,
    list_images,
    read_image,
    write_image,
)
from translate.files import write_atomically

CAPACITY = {
    ".npy": (TYPES, (1, 2, 3, 4, 5)),
    ".tif": (TYPES, (1, 2, 3, 4, 5)),
    ".tiff": (TYPES, (1, 2, 3, 4, 5)),
    ".png": (("uint8", "uint16"), (1, 3, 4)),
    ".ppm": (("uint8", "uint16"), (3,)),
    ".pgm": (("uint8", "uint16"), (1,)),
    ".bmp": (("uint8",), (1, 3)),
    ".jpg": (("uint8",), (1, 3)),
    ".jpeg": (("uint8",), (1, 3)),
    ".webp": (("uint8",), (3, 4)),
}
HELD = [(suffix, *kind) for suffix, kinds in CAPACITY.items() for kind in itertools.product(*kinds)]
LOSSY = (".jpg", ".jpeg", ".webp")
ROWS, COLUMNS = np.mgrid[:32, :48]
SMOOTH = np.stack([COLUMNS * 5, ROWS * 7, (ROWS + COLUMNS) * 2], axis=-1).astype(np.uint8)


def encode_tiff(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# --- what formats hold ---


def test_what_each_format_holds() -> None:
    assert set(CAPACITY) == EXTENSIONS
    every = itertools.product(EXTENSIONS, TYPES, range(1, 6))
    assert {kind for kind in every if can_hold(*kind)} == set(HELD)


@pytest.mark.parametrize(("suffix", "dtype", "channels"), [case for case in HELD if case[0] not in LOSSY])
def test_lossless_formats_give_back_every_pixel(
    noise: Callable[..., np.ndarray], tmp_path: Path, suffix: str, dtype: str, channels: int
) -> None:
    image = noise((5, 7, channels), dtype)
    path = tmp_path / f"image{suffix}"
    write_image(path, image)
    found = read_image(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(("suffix", "dtype", "channels"), [case for case in HELD if case[0] in LOSSY])
def test_lossy_formats_stay_near(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    image = np.concatenate([SMOOTH, 255 - SMOOTH[..., :1]], axis=2)[..., :channels]
    path = tmp_path / f"image{suffix}"
    write_image(path, image)
    np.testing.assert_allclose(read_image(path).astype(int), image, atol=16)


def test_a_lower_quality_makes_smaller_files() -> None:
    for suffix in LOSSY:
        assert len(encode_image(SMOOTH, suffix, quality=20)) < len(encode_image(SMOOTH, suffix, quality=95))


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [(".png", "float32", 3), (".jpg", "uint16", 1), (".bmp", "uint8", 4), (".ppm", "uint8", 1)],
)
def test_what_a_format_cannot_hold_is_refused(suffix: str, dtype: str, channels: int) -> None:
    with pytest.raises(
        ImageError, match=rf"{suffix} files cannot hold {dtype} pixels with {channels} channels; use .tif"
    ):
        encode_image(np.zeros((4, 4, channels), dtype), suffix)


def test_the_extension_may_be_in_upper_case(tmp_path: Path) -> None:
    write_image(tmp_path / "image.PNG", SMOOTH)
    with Image.open(tmp_path / "image.PNG") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), SMOOTH)


def test_too_large_for_the_format_is_an_image_error() -> None:
    with pytest.raises(ImageError, match=r"could not be encoded as \.webp"):
        encode_image(np.zeros((1, 20000, 3), np.uint8), ".webp")


# --- files of other programs ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_images_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    options: dict[str, Any] = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image{suffix}"
    Image.fromarray(SMOOTH).save(path, exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    np.testing.assert_allclose(read_image(path), expected, atol=2 if suffix == ".jpg" else 0)


@pytest.mark.parametrize(
    ("mode", "as_mode"), [("1", "L"), ("L", "L"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("LA", "RGBA")]
)
def test_png_of_every_colour_type(tmp_path: Path, mode: str, as_mode: str) -> None:
    image = Image.fromarray(SMOOTH).convert("RGBA")
    image.putalpha(Image.fromarray(SMOOTH[..., 0]))
    image = image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "image.png")
    expected = np.asarray(image.convert(as_mode)).reshape(32, 48, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(encode_image(SMOOTH, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "image.jpg"), SMOOTH)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"planarconfig": "contig"}, id="interleaved"),
        pytest.param({"planarconfig": "separate"}, id="planes"),
        pytest.param({"planarconfig": "contig", "byteorder": ">"}, id="big-endian"),
        pytest.param({"planarconfig": "contig", "bigtiff": True}, id="bigtiff"),
        pytest.param({"planarconfig": "contig", "tile": (16, 16)}, id="tiles"),
    ],
)
def test_tiff_of_several_channels(
    noise: Callable[..., np.ndarray], tmp_path: Path, options: dict[str, Any], channels: int, dtype: str
) -> None:
    image = noise((20, 24, channels), dtype)
    stored = np.moveaxis(image, -1, 0) if options["planarconfig"] == "separate" else image
    (tmp_path / "image.tif").write_bytes(encode_tiff(stored, photometric="minisblack", **options))
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), image)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", TYPES)
def test_rgb_tiff(noise: Callable[..., np.ndarray], tmp_path: Path, dtype: str, planes: str) -> None:
    image = noise((20, 24, 3), dtype)
    stored = np.moveaxis(image, -1, 0) if planes == "separate" else image
    (tmp_path / "image.tif").write_bytes(encode_tiff(stored, photometric="rgb", planarconfig=planes))
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), image)


def test_transparency_of_a_tiff_leaves_its_colours_alone(noise: Callable[..., np.ndarray], tmp_path: Path) -> None:
    image = noise((6, 8, 4))
    Image.fromarray(image).save(tmp_path / "image.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), image)


def test_of_a_tiff_with_pages_the_first_is_read(noise: Callable[..., np.ndarray], tmp_path: Path) -> None:
    pages = noise((2, 6, 8, 3))
    (tmp_path / "image.tif").write_bytes(encode_tiff(pages, photometric="rgb"))
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), pages[0])


def test_npy_may_be_grey_without_a_channel_axis_or_double(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.array([[1, 2], [3, 4]], np.uint16))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.npy"), np.array([[[1], [2]], [[3], [4]]]))
    np.save(tmp_path / "double.npy", np.full((2, 2, 1), 0.1))
    assert read_image(tmp_path / "double.npy").dtype == np.float32


def test_bytes_after_the_end_of_an_image_do_no_harm(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        content = encode_image(SMOOTH, suffix)
        (tmp_path / f"plain{suffix}").write_bytes(content)
        (tmp_path / f"longer{suffix}").write_bytes(content + b"appended by a camera " * 10)
        np.testing.assert_array_equal(read_image(tmp_path / f"longer{suffix}"), read_image(tmp_path / f"plain{suffix}"))


def test_fill_bytes_between_the_segments_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    content = encode_image(SMOOTH, ".jpg")
    (tmp_path / "image.jpg").write_bytes(content[:2] + b"\xff\xff" + content[2:])
    np.testing.assert_allclose(read_image(tmp_path / "image.jpg").astype(int), SMOOTH, atol=16)


@pytest.mark.parametrize("exif", [b"garbage!", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01"])
def test_damaged_exif_does_not_spoil_a_png(tmp_path: Path, exif: bytes) -> None:
    content = encode_image(SMOOTH, ".png")
    (tmp_path / "image.png").write_bytes(content[:33] + png_chunk(b"eXIf", exif) + content[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), SMOOTH)


# --- broken files ---


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".ppm", ".tif", ".npy"])
def test_truncated_files_are_refused(
    noise: Callable[..., np.ndarray], tmp_path: Path, suffix: str, share: float
) -> None:
    content = encode_image(noise((40, 50, 3)), suffix)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r"truncated|damaged|not an array"):
        read_image(path)


@pytest.mark.parametrize("channels", [2, 5])
def test_truncated_tiff_of_many_channels_is_refused(
    noise: Callable[..., np.ndarray], tmp_path: Path, channels: int
) -> None:
    content = encode_image(noise((40, 50, channels)), ".tif")
    (tmp_path / "image.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="damaged"):
        read_image(tmp_path / "image.tif")


def test_a_jpeg_with_a_complete_thumbnail_is_truncated_all_the_same(tmp_path: Path) -> None:
    content, thumbnail = encode_image(SMOOTH, ".jpg"), encode_image(SMOOTH[:8, :8], ".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    (tmp_path / "image.jpg").write_bytes((content[:2] + segment + content[2:])[:-100])
    with pytest.raises(ImageError, match="is truncated: the end of the file is missing"):
        read_image(tmp_path / "image.jpg")


def test_a_png_with_a_wrong_byte_is_refused(noise: Callable[..., np.ndarray], tmp_path: Path) -> None:
    content = bytearray(encode_image(noise((20, 20, 3)), ".png"))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("image.png", b"", "^is empty$"),
        ("image.npy", b"", "^is empty$"),
        ("image.png", b"Dear diary, this is no image.", "not an image of a supported format"),
        ("image.npy", b"Dear diary, this is no array.", "not an array of numbers"),
        ("image.npy", b"PK\x03\x04 the beginning of a zip file", "not an array of numbers"),
        ("image.npy", b"\x93NUMPY\x01\x00\x20\x00{'descr': '|u1', 'shape': (4, 4 ", "not an array of numbers"),
    ],
)
def test_what_is_no_image_says_so(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / name)


def test_missing_files_and_folders_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened: No such file or directory"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="cannot be opened: Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}], object), "not an array of numbers: Object arrays"),
        (np.zeros(5, np.uint8), r"has uint8 pixels of shape \(5,\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int64), "has int64 pixels.*supported are .* uint8, uint16, float32"),
        (np.zeros((4, 4, 3), bool), "has bool pixels"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 0), np.float32), r"shape \(4, 4, 0\)"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "image.npy", array, allow_pickle=True)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "image.npy")


def test_an_archive_of_arrays_is_no_image(tmp_path: Path) -> None:
    with (tmp_path / "image.npy").open("wb") as file:
        np.savez(file, image=SMOOTH)
    with pytest.raises(ImageError, match="not an array of numbers"):
        read_image(tmp_path / "image.npy")


def test_tiff_of_another_pixel_type_names_it(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(encode_tiff(np.zeros((4, 4), np.int16)))
    with pytest.raises(ImageError, match="has int16 pixels"):
        read_image(tmp_path / "image.tif")


# --- folders ---


def test_images_are_listed_sorted_nested_and_without_hidden_ones(tmp_path: Path) -> None:
    wanted = ["B.PNG", "a.jpg", "deep/er/c.TiF", "deep/ünï cödé.webp"]
    others = ["notes.txt", ".hidden.png", ".thumbnails/a.png", "deep/.cache/b.png", "__MACOSX/a.png", "noextension"]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.as_posix() for path in list_images(tmp_path)] == wanted


def test_a_folder_below_a_hidden_one_may_be_listed(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.png").touch()
    assert list_images(tmp_path / ".cache") == [Path("a.png")]


# --- writing is all or nothing ---


def test_an_image_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    write_image(tmp_path / "image.png", SMOOTH)
    with pytest.raises(ImageError):
        write_image(tmp_path / "image.png", SMOOTH.astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), SMOOTH)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half(partial: Path) -> None:
        partial.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_the_longest_name_that_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    path.touch()
    write_image(path, SMOOTH)
    np.testing.assert_array_equal(read_image(path), SMOOTH)
