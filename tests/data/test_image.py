"""Reading and writing images: every format, depth and orientation, and every way a file can be broken."""

import errno
import io
import itertools
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from translate import memory
from translate.data.check import drop_alpha
from translate.data.containers import JPEG, PNG, RIFF, jpeg_segments, png_chunks, tiff_directories, webp_chunks
from translate.data.image import (
    EXTENSIONS,
    TYPES,
    Header,
    ImageError,
    can_hold,
    decode_image,
    encode_image,
    list_images,
    read_header,
    read_image,
    write_image,
)
from translate.files import write_atomically

CAPACITY = {
    ".npy": (TYPES, (1, 2, 3, 4, 5)),
    ".tif": (TYPES, (1, 2, 3, 4, 5)),
    ".tiff": (TYPES, (1, 2, 3, 4, 5)),
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    ".ppm": (("uint8", "uint16"), (3,)),
    ".pgm": (("uint8", "uint16"), (1,)),
    ".bmp": (("uint8",), (1, 3, 4)),
    ".jpg": (("uint8",), (1, 3)),
    ".jpeg": (("uint8",), (1, 3)),
    ".webp": (("uint8",), (1, 2, 3, 4)),
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
    if suffix == ".webp" and channels < 3:  # WebP has no grey: it becomes three equal channels
        image = image[..., [0, 0, 0, 1][: channels + 2]]
    found = read_image(path).astype(int)
    np.testing.assert_allclose(found, image, atol=20)
    if channels in (2, 4):
        np.testing.assert_array_equal(found[..., -1], image[..., -1])


def test_a_lower_quality_makes_smaller_files() -> None:
    for suffix in LOSSY:
        assert len(encode_image(SMOOTH, suffix, quality=20)) < len(encode_image(SMOOTH, suffix, quality=95))


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [(".png", "float32", 3), (".jpg", "uint16", 1), (".bmp", "uint8", 2), (".ppm", "uint8", 1)],
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
    ("mode", "as_mode"), [("1", "L"), ("L", "L"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("LA", "LA")]
)
def test_png_of_every_colour_type(tmp_path: Path, mode: str, as_mode: str) -> None:
    image = Image.fromarray(SMOOTH).convert("RGBA")
    image.putalpha(Image.fromarray(SMOOTH[..., 0]))
    image = image.convert("RGB").quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "image.png")
    expected = np.asarray(image.convert(as_mode)).reshape(32, 48, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png"), expected)


@pytest.mark.parametrize(
    ("mode", "as_mode"), [("RGB", "RGBA"), ("L", "LA"), ("1", "LA"), ("I;16", "I;16"), ("P", "RGBA")]
)
def test_a_transparent_colour_of_a_png_becomes_a_channel(tmp_path: Path, mode: str, as_mode: str) -> None:
    path = tmp_path / "image.png"
    image = Image.fromarray(SMOOTH)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    image.save(path, transparency={"RGB": (0, 0, 0), "I;16": 1, "1": 1}.get(mode, 0))
    if mode == "I;16":  # PIL leaves it out
        grey = np.asarray(image)
        expected = np.stack([grey, np.where(grey == 1, 0, 65535)], axis=-1)
    else:
        with Image.open(path) as found:
            expected = np.asarray(found.convert(as_mode))
    assert (expected[..., -1] == 0).any() or mode == "I;16"
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_other_programs_read_our_grey_and_transparency(noise: Callable[..., np.ndarray], dtype: str) -> None:
    image = noise((5, 7, 2), dtype)
    with Image.open(io.BytesIO(encode_image(image, ".png"))) as found:
        # PIL has no 16-bit grey with transparency: it gives the upper bytes.
        expected = image if dtype == "uint8" else (image >> 8).astype(np.uint8)
        np.testing.assert_array_equal(np.asarray(found.convert("LA")), expected)


def test_transparency_is_left_out_of_pictures_and_kept_of_data() -> None:
    image = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    np.testing.assert_array_equal(drop_alpha(image, Path("a.png")), image[..., :1])
    np.testing.assert_array_equal(drop_alpha(image, Path("a.tif")), image)


def test_interlaced_png(tmp_path: Path) -> None:
    # Adam7 of 2x2 grey pixels: pass 1 has (0, 0), pass 6 (0, 1), pass 7 the second row.
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    content += png_chunk(b"IDAT", zlib.compress(b"\0\x01" + b"\0\x02" + b"\0\x03\x04")) + png_chunk(b"IEND", b"")
    (tmp_path / "image.png").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png")[..., 0], [[1, 2], [3, 4]])


def test_jpeg_of_inks_and_progressive_jpeg(tmp_path: Path) -> None:
    image = Image.fromarray(SMOOTH)
    image.convert("CMYK").save(tmp_path / "inks.jpg", quality=100)
    image.save(tmp_path / "progressive.jpg", quality=100, progressive=True, subsampling=0)
    for name in ("inks.jpg", "progressive.jpg"):
        np.testing.assert_allclose(read_image(tmp_path / name).astype(int), SMOOTH, atol=4)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3)])
def test_bmp_of_every_kind(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(SMOOTH)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "image.bmp")
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(32, 48, channels)
    np.testing.assert_array_equal(read_image(tmp_path / "image.bmp"), expected)


def test_of_a_moving_webp_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    frames[0].save(tmp_path / "image.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "image.webp"), SMOOTH)


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
        (np.zeros((4, 4, 3), np.int64), "has int64 pixels.*read are 8 and 16 bits without sign and floats"),
        (np.zeros((4, 4, 3), bool), "has bool pixels"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 0), np.float32), r"shape \(4, 4, 0\)"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "image.npy", array, allow_pickle=True)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "image.npy")


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("|V0", (10**8, 10**8, 3)),
        ("|S0", (10**8, 10**8, 3)),
        ("<c8", (2, 2, 3)),
        ("|u1", (-1, 8, 8)),
        ("|u1", (True, 4, 3)),
    ],
)
def test_the_header_of_an_array_that_is_no_image_is_refused_at_once(
    tmp_path: Path, descr: str, shape: tuple[int, ...]
) -> None:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(48)
    (tmp_path / "image.npy").write_bytes(content)
    for read in (read_image, read_header):
        with pytest.raises(ImageError, match=rf"pixels of shape {re.escape(str(shape))}; read are 8 and 16 bits"):
            read(tmp_path / "image.npy")


def test_an_archive_of_arrays_is_no_image(tmp_path: Path) -> None:
    with (tmp_path / "image.npy").open("wb") as file:
        np.savez(file, image=SMOOTH)
    with pytest.raises(ImageError, match="not an array of numbers"):
        read_image(tmp_path / "image.npy")


def test_tiff_of_another_pixel_type_names_it(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(encode_tiff(np.zeros((4, 4), np.int16)))
    with pytest.raises(ImageError, match="has int16 pixels"):
        read_image(tmp_path / "image.tif")


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + struct.pack("<HH", 20000, 20000) + bytes(25),
        b"\0\0\0\x1cftypavif" + bytes(32),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(32),
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n" + bytes(32),
        b"\x76\x2f\x31\x01" + bytes(32),
        b"\x59\xa6\x6a\x95" + struct.pack(">7I", 20000, 20000, 24, 0, 1, 0, 0) + bytes(32),
        b"P7\nWIDTH 20000\nHEIGHT 20000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
        b"Pf\n20000 20000\n-1.0\n" + bytes(32),
    ],
    ids=["gif", "avif", "jpeg2000", "hdr", "exr", "sun", "pam", "pfm"],
)
def test_formats_beyond_those_promised_are_not_decoded(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match=r"supported format \(PNG, .*TIFF\): convert it to PNG or TIFF first"):
        decode_image(content, ".png")


@pytest.mark.parametrize("content", [b"P1\n# bits\n3 2\n0 1 0\n1 1 0\n", b"P4 3 2\n\x40\xc0"])
def test_pnm_of_bits_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.pgm").write_bytes(content)
    assert read_header(tmp_path / "image.pgm") == Header(2, 3, 1, "uint8")
    np.testing.assert_array_equal(read_image(tmp_path / "image.pgm")[..., 0], [[255, 0, 255], [0, 0, 255]])


# --- headers ---


@pytest.mark.parametrize(("suffix", "dtype", "channels"), HELD)
def test_the_header_says_what_decoding_gives(
    noise: Callable[..., np.ndarray], tmp_path: Path, suffix: str, dtype: str, channels: int
) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, noise((5, 7, channels), dtype))
    header, image = read_header(path), read_image(path)
    is_open = suffix == ".bmp" and channels != 3  # a palette may be grey, bit fields may be transparency
    assert header == Header(5, 7, None if is_open else image.shape[2], dtype)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *itertools.product([".png"], ["1", "L", "LA", "P", "RGB", "RGBA"]),
        *itertools.product([".jpg"], ["1", "L", "RGB", "CMYK"]),
        *itertools.product([".webp"], ["L", "RGB", "RGBA"]),
        *itertools.product([".tif"], ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"]),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_headers_of_other_programs_are_understood(tmp_path: Path, suffix: str, mode: str, orientation: int) -> None:
    path = tmp_path / f"image{suffix}"
    image = Image.fromarray(SMOOTH)
    image = image.quantize(16) if mode == "P" else image.convert("RGBA").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    header, found = read_header(path), read_image(path)
    assert (header.height, header.width, header.channels, header.dtype) == (*found.shape, "uint8")


def test_a_header_needs_only_the_start_of_the_file(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".ppm"):
        path = tmp_path / f"image{suffix}"
        path.write_bytes(encode_image(SMOOTH, suffix)[:300])
        assert (read_header(path).height, read_header(path).width) == (32, 48)


def test_a_header_that_is_not_all_there_is_an_image_error(tmp_path: Path) -> None:
    for suffix in sorted(EXTENSIONS):
        path = tmp_path / f"image{suffix}"
        content = encode_image(SMOOTH[..., : 1 if suffix == ".pgm" else 3], suffix)
        path.write_bytes(content[: 12 if suffix == ".webp" else 5])
        with pytest.raises(ImageError, match=r"truncated or damaged|not an array"):
            read_header(path)
    with pytest.raises(ImageError, match="cannot be opened"):
        read_header(tmp_path / "missing.png")


def test_what_is_no_image_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"Dear diary, this is no image.")
    assert read_header(tmp_path / "image.png") == Header(None, None, None, None)


def tiff_of_directories(count: int, entries: Callable[[int], bytes], padding: int = 0) -> bytes:
    """A little-endian TIFF of `count` directories with the entries of `entries(number)`."""
    content = b"II*\0" + struct.pack("<I", 8)
    for number in range(count):
        tags = entries(number)
        start = len(content)
        content += struct.pack("<H", len(tags) // 12) + tags
        content += struct.pack("<I", start + 6 + len(tags) if number < count - 1 else 0)
    return content + bytes(padding)


def short_tag(tag: int, value: int) -> bytes:
    return struct.pack("<HHIHxx", tag, 3, 1, value)


def test_of_tags_that_name_the_whole_file_only_the_first_number_is_kept(tmp_path: Path) -> None:
    tags = (256, 257, 258, 259, 262, 274, 277, 278, 282, 283, 284, 296, 322, 323, 339, 34675)

    def entries(_: int) -> bytes:
        return b"".join(struct.pack("<HHII", tag, 7, 55000, 8) for tag in tags)

    content = tiff_of_directories(280, entries)
    assert len(content) > 55008
    directories = tiff_directories(content)
    assert [len(value) for value in next(directories).values()] == [1] * 15 + [55000]
    assert [len(value) for tags in directories for value in tags.values()] == [1] * 15 * 279
    [*_, last] = tiff_directories(content, profile_of=279)
    assert last[34675] == content[8:55008]
    (tmp_path / "image.tif").write_bytes(content)
    start = time.process_time()
    assert read_header(tmp_path / "image.tif").pages == 280
    assert time.process_time() - start < 1


def test_the_header_of_a_stack_of_many_pages_is_read(tmp_path: Path) -> None:
    content = tiff_of_directories(10000, lambda number: short_tag(256, 4) + short_tag(257, 1 + number))
    (tmp_path / "image.tif").write_bytes(content)
    header = read_header(tmp_path / "image.tif")
    assert (header.height, header.width, header.pages) == (1, 4, 10000)


def test_a_tiff_of_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("translate.data.header.MOST_DIRECTORIES", 3)
    for count in (3, 4):
        content = tiff_of_directories(count, lambda _: short_tag(256, 4) + short_tag(257, 4))
        (tmp_path / f"{count}.tif").write_bytes(content)
    assert read_header(tmp_path / "3.tif").pages == 3
    with pytest.raises(ImageError, match="has more than 3 pages: split it"):
        read_header(tmp_path / "4.tif")


def test_millions_of_fill_bytes_are_skipped_at_once(tmp_path: Path) -> None:
    content = encode_image(SMOOTH, ".jpg")
    (tmp_path / "image.jpg").write_bytes(content[:2] + b"\xff" * 2_000_000 + content[2:])
    (tmp_path / "fill.jpg").write_bytes(content[:2] + b"\xff" * 2_000_000)
    start = time.process_time()
    assert read_header(tmp_path / "image.jpg") == Header(32, 48, 3, "uint8")
    with pytest.raises(ImageError, match="header cannot be read"):
        read_header(tmp_path / "fill.jpg")
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize(
    ("walk", "start", "part"),
    [
        (jpeg_segments, JPEG, b"\xff\xe1\x00\x02"),
        (png_chunks, PNG + bytes(4), struct.pack(">I4sI", 0, b"IDAT", 0)),
        (webp_chunks, RIFF + bytes(8), b"EXIF\0\0\0\0"),
    ],
)
def test_the_walk_through_a_file_of_endless_parts_ends(
    monkeypatch: pytest.MonkeyPatch, walk: Callable[[bytes], Iterator[Any]], start: bytes, part: bytes
) -> None:
    assert len(list(walk(start + part * 50))) == 50
    monkeypatch.setattr("translate.data.containers.MOST_PARTS", 20)
    assert len(list(walk(start + part * 50))) == 20


# --- too large ---


def oversized_png(width: int, height: int) -> bytes:
    """As much data as such an image needs at least, but not its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        png_chunk(b"IHDR", header) + png_chunk(b"IDAT", bytes(3 * width * height // 1000)) + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_an_image_larger_than_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    (tmp_path / "image.png").write_bytes(oversized_png(20000, 10000))
    message = (
        r"is 20000 x 10000 pixels, which takes 1.1 GiB of memory to decode; 1.0 GiB are available: make it smaller"
    )
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "image.png")


def test_a_png_chunk_that_is_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    content = encode_image(SMOOTH, ".png")
    (tmp_path / "image.png").write_bytes(content[:33] + b"\x7f\xff\xff\xff" + content[37:])
    with pytest.raises(ImageError, match="is truncated"):
        read_image(tmp_path / "image.png")


def test_a_png_whose_size_its_bytes_cannot_hold_is_refused_at_once() -> None:
    content = encode_image(SMOOTH, ".png")
    larger = content[:16] + struct.pack(">II", 30000, 30000) + content[24:]
    with pytest.raises(ImageError, match=rf"{len(larger)} bytes cannot hold the 30000 x 30000 pixels it names"):
        decode_image(larger, ".png")
    black = encode_image(np.zeros((2000, 2000, 3), np.uint8), ".png")  # as small as PNG becomes
    assert decode_image(black, ".png").shape == (2000, 2000, 3)


def test_more_pixels_than_opencv_decodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**50)
    monkeypatch.delenv("OPENCV_IO_MAX_IMAGE_PIXELS", raising=False)
    with pytest.raises(ImageError, match=r"40000 x 40000 pixels, more than the 1073741824 that OpenCV decodes.*TIFF"):
        decode_image(oversized_png(40000, 40000), ".png")


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        (
            "0::/box",
            {"box/memory.max": "1000", "box/memory.current": "600", "box/memory.stat": "inactive_file 100"},
            [500],
        ),
        ("0::/box", {"box/memory.max": "max", "box/memory.current": "600", "box/memory.stat": "anon 1"}, []),
        ("0::/host/path", {"memory.max": "1000", "memory.current": "600", "memory.stat": "anon 1"}, [400]),
        (
            "5:cpu:/\n4:memory:/box",
            {
                "memory/box/memory.limit_in_bytes": "1000",
                "memory/box/memory.usage_in_bytes": "600",
                "memory/box/memory.stat": "cache 1\ntotal_inactive_file 50",
            },
            [450],
        ),
    ],
)
def test_a_container_limits_the_memory(tmp_path: Path, groups: str, files: dict[str, str], left: list[int]) -> None:
    contents = {f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": groups}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert list(memory._left_in_cgroups(tmp_path)) == left
    assert 0 < memory.available_memory() < 2**50


# --- folders ---


def test_images_are_listed_sorted_nested_and_without_hidden_ones(tmp_path: Path) -> None:
    wanted = ["B.PNG", "a.jpg", "deep/er/c.TiF", "deep/ünï cödé.webp"]
    others = ["notes.txt", ".hidden.png", ".thumbnails/a.png", "deep/.cache/b.png", "__MACOSX/a.png", "noextension"]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.as_posix() for path in list_images(tmp_path)] == wanted


def test_linked_folders_are_entered_once_and_by_their_own_name_where_they_have_one(tmp_path: Path) -> None:
    for name in ("elsewhere/a.png", "data/own/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for link, target in (("A", "elsewhere"), ("B", "elsewhere"), ("C", "data/own"), ("own/up", "data")):
        (tmp_path / "data" / link).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "data" / "itself").symlink_to("itself")
    assert [path.as_posix() for path in list_images(tmp_path / "data")] == ["A/a.png", "own/b.png"]


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
