"""Pixel values between files and networks."""

import numpy as np
import pytest
import torch

from translate.pixels import FULL_RANGE, Side, convert_dtype, denormalize, normalize


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("uint8", [0, 51, 204, 255]), ("uint16", [0, 13107, 52428, 65535]), ("float32", [0, 0.2, 0.8, 1])],
)
def test_the_full_range_becomes_minus_one_to_one(dtype: str, values: list[float]) -> None:
    low, high = FULL_RANGE[dtype]
    pixels = np.array(values, dtype)
    normalized = normalize(torch.from_numpy(pixels.copy()), low, high)
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized, torch.tensor([-1, -0.6, 0.6, 1]))
    assert normalized[[0, -1]].tolist() == [-1, 1]
    np.testing.assert_allclose(denormalize(normalized, dtype, low, high), pixels, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 255), ("uint16", 0, 65535), ("uint16", 0, 4095), ("uint16", 1000, 3000), ("uint8", 16, 235)],
)
def test_every_integer_comes_back(dtype: str, low: int, high: int) -> None:
    pixels = np.arange(low, high + 1).astype(dtype)
    back = denormalize(normalize(torch.from_numpy(pixels), low, high), dtype, low, high)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, pixels)


def test_twelve_bits_by_hand() -> None:
    pixels = torch.from_numpy(np.array([0, 819, 4095], np.uint16))
    torch.testing.assert_close(normalize(pixels, 0, 4095), torch.tensor([-1, -0.6, 1]))


def test_a_float_range_by_hand() -> None:
    torch.testing.assert_close(
        normalize(torch.tensor([-1000.0, 500.0, 1000.0]), -1000, 1000), torch.tensor([-1, 0.5, 1])
    )
    np.testing.assert_array_equal(denormalize(torch.tensor([-1.0, 0.5]), "float32", -1000, 1000), [-1000, 500])


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("uint8", 0, 255, [0, 128, 255]),
        ("uint16", 0, 4095, [0, 2048, 4095]),
        ("uint8", 16, 235, [16, 126, 235]),
        ("uint8", -100, 300, [0, 100, 255]),
    ],
)
def test_integers_are_clipped_and_rounded(dtype: str, low: int, high: int, expected: list[int]) -> None:
    assert denormalize(torch.tensor([-1.7, 0.0, 1.7]), dtype, low, high).tolist() == expected


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_normalizing_leaves_the_images_as_they_are(dtype: str) -> None:
    images = torch.from_numpy(np.array([0, 1], dtype))
    normalize(images, 0, 1)
    assert images.tolist() == [0, 1]


def test_eight_bits_widen_to_sixteen_and_back() -> None:
    every = np.arange(256).astype(np.uint8)
    wide = convert_dtype(every, "uint16")
    assert wide.dtype == np.uint16
    assert wide[[0, 1, 255]].tolist() == [0, 257, 65535]
    np.testing.assert_array_equal(convert_dtype(wide, "uint8"), every)
    assert convert_dtype(np.array([128, 129], np.uint16), "uint8").tolist() == [0, 1]


def test_equal_types_are_not_copied() -> None:
    image = np.zeros(3, np.float32)
    assert convert_dtype(image, "float32") is image


@pytest.mark.parametrize(("found", "wanted"), [("uint8", "float32"), ("float32", "uint8")])
def test_there_is_no_way_between_integers_and_floats(found: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"cannot convert pixels from {found} to {wanted}"):
        convert_dtype(np.zeros(3, found), wanted)


def test_a_sides_own_range_is_for_its_own_type() -> None:
    side = Side(1, "uint16", 0, 4095)
    assert side.range_for("uint16") == (0, 4095)
    assert side.range_for("uint8") == (0, 255)
    assert side.range_for("float32") == (0, 1)


def test_a_side_survives_its_dictionary() -> None:
    side = Side(5, "float32", -1000, 3000, labels=True)
    assert Side(**side.as_dict()) == side
