"""Colour profile and resolution: read as PIL reads them, written so that PIL reads them, damage left out."""

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from translate.data.image import can_hold, decode_image, encode_image, read_image, write_image
from translate.data.metadata import Metadata, read_metadata

RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = RGB_PROFILE[:16] + b"GRAY" + RGB_PROFILE[20:]
WITH_PROFILE = [".jpg", ".png", ".webp", ".tif"]
WITH_RESOLUTION = [".jpg", ".png", ".tif", ".bmp"]
ROWS, COLUMNS = np.mgrid[:20, :30]
PIXELS = np.stack([COLUMNS * 5, ROWS * 7, ROWS + COLUMNS, COLUMNS * 8, ROWS], axis=-1).astype(np.uint8)


def as_pil(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def saved_by_pil(suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    name = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:])
    Image.fromarray(PIXELS[..., :3]).save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", WITH_PROFILE)
def test_a_profile_of_another_program_is_read(suffix: str) -> None:
    assert read_metadata(saved_by_pil(suffix, icc_profile=RGB_PROFILE)).icc_profile == RGB_PROFILE
    assert read_metadata(saved_by_pil(suffix)).icc_profile is None


@pytest.mark.parametrize("suffix", WITH_RESOLUTION)
def test_the_resolution_of_another_program_is_read(suffix: str) -> None:
    assert read_metadata(saved_by_pil(suffix, dpi=(300, 150))).resolution == pytest.approx((300, 150), rel=1e-3)


def test_the_resolution_may_be_in_centimetres_or_in_exif() -> None:
    jpeg = bytearray(saved_by_pil(".jpg", dpi=(100, 50)))
    jpeg[13] = 2
    assert read_metadata(bytes(jpeg)).resolution == pytest.approx((254, 127))
    jpeg[13] = 0  # says only how high a pixel is for its width
    assert read_metadata(bytes(jpeg)).resolution is None
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 200.0, 100.0, 3
    jpeg = bytearray(saved_by_pil(".jpg", exif=exif))
    assert read_metadata(bytes(jpeg)).resolution == pytest.approx((508, 254))


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        kind
        for kind in itertools.product([*WITH_PROFILE, ".bmp"], ["uint8", "uint16", "float32"], [1, 2, 3, 4])
        if can_hold(*kind)
    ],
)
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str, channels: int, dtype: str) -> None:
    is_grey = channels < 3 and suffix != ".webp"
    profile = GREY_PROFILE if is_grey else RGB_PROFILE
    image = PIXELS[..., :channels].astype(dtype)
    write_image(tmp_path / f"plain{suffix}", image)
    write_image(tmp_path / f"image{suffix}", image, Metadata(profile, (300, 150)))
    found = read_metadata((tmp_path / f"image{suffix}").read_bytes())
    assert found.icc_profile == (profile if suffix in WITH_PROFILE else None)
    if suffix in WITH_RESOLUTION:
        assert found.resolution == pytest.approx((300, 150), rel=1e-3)
    np.testing.assert_array_equal(read_image(tmp_path / f"image{suffix}"), read_image(tmp_path / f"plain{suffix}"))


@pytest.mark.parametrize(
    ("suffix", "channels"), [kind for kind in itertools.product([*WITH_PROFILE, ".bmp"], [3, 4]) if kind != (".jpg", 4)]
)
def test_other_programs_read_what_is_written(suffix: str, channels: int) -> None:
    image = as_pil(encode_image(PIXELS[..., :channels], suffix, Metadata(RGB_PROFILE, (300, 150))))
    assert image.size == (30, 20)
    assert image.mode == ("RGB" if channels == 3 else "RGBA")
    if suffix in WITH_PROFILE:
        assert image.info["icc_profile"] == RGB_PROFILE
        ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    if suffix in WITH_RESOLUTION:
        assert tuple(map(float, image.info["dpi"])) == pytest.approx((300, 150), rel=1e-3)


@pytest.mark.parametrize("suffix", WITH_PROFILE)
def test_a_large_profile_is_kept(suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 150_001, np.uint8).tobytes()
    profile = struct.pack(">I", len(RGB_PROFILE) + len(noise)) + RGB_PROFILE[4:] + noise
    data = encode_image(PIXELS[..., :3], suffix, Metadata(profile))
    assert read_metadata(data).icc_profile == profile
    assert as_pil(data).info["icc_profile"] == profile


@pytest.mark.parametrize("suffix", WITH_PROFILE)
def test_a_profile_of_other_colours_than_the_image_is_left_out(suffix: str) -> None:
    inks = RGB_PROFILE[:16] + b"CMYK" + RGB_PROFILE[20:]
    for profile, channels in ((GREY_PROFILE, 3), (inks, 3), (inks, 1), (RGB_PROFILE, 1)):
        if suffix == ".webp" and profile is RGB_PROFILE:
            continue  # grey becomes RGB there
        data = encode_image(PIXELS[..., :channels], suffix, Metadata(profile))
        assert read_metadata(data).icc_profile is None
    five = encode_image(PIXELS, ".tif", Metadata(RGB_PROFILE, (72, 72)))
    assert read_metadata(five) == Metadata(None, (72, 72))


def test_formats_without_metadata_are_written_all_the_same() -> None:
    for suffix in (".ppm", ".npy"):
        data = encode_image(PIXELS[..., :3], suffix, Metadata(RGB_PROFILE, (300, 150)))
        assert data == encode_image(PIXELS[..., :3], suffix)
        assert read_metadata(data) == Metadata()


def test_the_orientation_is_applied_once_and_not_written(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved_by_pil(".jpg", exif=exif, icc_profile=RGB_PROFILE)
    image = decode_image(data, ".jpg")
    assert image.shape == (30, 20, 3)
    write_image(tmp_path / "image.jpg", image, read_metadata(data))
    assert read_image(tmp_path / "image.jpg").shape == (30, 20, 3)
    assert not as_pil((tmp_path / "image.jpg").read_bytes()).getexif()


@pytest.mark.parametrize("suffix", WITH_PROFILE)
@pytest.mark.parametrize(
    "profile",
    [b"", b"garbage", RGB_PROFILE[:-1], RGB_PROFILE[:36] + b"xxxx" + RGB_PROFILE[40:], b"\0" * 200],
    ids=["empty", "short", "cut", "unsigned", "zeros"],
)
def test_what_is_no_profile_is_left_out(suffix: str, profile: bytes) -> None:
    data = saved_by_pil(suffix, icc_profile=profile)
    assert read_metadata(data).icc_profile is None
    np.testing.assert_allclose(decode_image(data, suffix).astype(int), PIXELS[..., :3], atol=40)


def test_a_profile_of_which_a_segment_is_missing_is_left_out() -> None:
    profile = struct.pack(">I", 70_000) + RGB_PROFILE[4:] + bytes(70_000 - len(RGB_PROFILE))
    data = encode_image(PIXELS[..., :3], ".jpg", Metadata(profile))
    second = data.index(b"ICC_PROFILE\0\x02\x02") - 4
    [length] = struct.unpack(">H", data[second + 2 : second + 4])
    assert read_metadata(data).icc_profile == profile
    assert read_metadata(data[:second] + data[second + 2 + length :]).icc_profile is None


def test_a_profile_that_unpacks_without_end_is_cut_off() -> None:
    data = encode_image(PIXELS[..., :3], ".png", Metadata(struct.pack(">I", 2**25) + RGB_PROFILE[4:] + bytes(2**25)))
    assert read_metadata(data).icc_profile is None


def test_a_file_that_ends_in_its_metadata_has_what_is_left_or_none() -> None:
    for suffix in (*WITH_PROFILE, ".bmp"):
        data = encode_image(PIXELS[..., :3], suffix, Metadata(RGB_PROFILE, (300, 300)))
        for length in range(0, len(data), 7):
            assert read_metadata(data[:length]).icc_profile in (None, RGB_PROFILE)
    data = encode_image(PIXELS[..., :3], ".jpg", Metadata(RGB_PROFILE))
    assert read_metadata(data[: data.index(b"ICC_PROFILE") + 12]) == Metadata()


def test_a_resolution_that_is_none_is_left_out() -> None:
    for dots in ((0, 300), (300, 10**9)):
        data = encode_image(PIXELS[..., :3], ".bmp")
        x, y = (round(dot / 0.0254) % 2**31 for dot in dots)
        assert read_metadata(data[:38] + struct.pack("<ii", x, y) + data[46:]).resolution is None
