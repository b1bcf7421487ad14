"""Resizing and random augmentation of single images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from translate.data.augmentation import Augmentation, Transform, resize_image
from translate.errors import UserError
from translate.pixels import FULL_RANGE, Side

Noise = Callable[..., np.ndarray]
GREY = Side(1, "uint8", 0, 255)


def transform(size: int = 8, side: Side = GREY, *, augment: bool = True, **settings: Any) -> Transform:
    plain = {"resize": "none", "horizontal_flip": 0.0}
    return Augmentation(**(plain | settings)).transform(size, side, "A", augment=augment)


# --- settings ---


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip", "quarter_turns", "color_a", "color_b"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_probabilities_lie_between_zero_and_one(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.{name}={value} is outside 0 to 1"):
        Augmentation(**{name: value})


@pytest.mark.parametrize("rotation", [-1.0, 181.0])
def test_rotation_is_at_most_half_a_turn(rotation: float) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.rotation={rotation} is outside 0 to 180 degrees"):
        Augmentation(rotation=rotation)


def test_unknown_resizing_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.augmentation\.resize='crop' is not one of stretch, keep_aspect, none"):
        Augmentation(resize="crop")  # type: ignore[arg-type]


def test_the_crop_fits_in_what_was_loaded() -> None:
    assert Augmentation().loaded_size(256) == 286
    assert Augmentation(load_size=256).loaded_size(256) == 256
    with pytest.raises(UserError, match=r"load_size=255 is smaller than image_size=256.*use load_size=256 or more"):
        Augmentation(load_size=255).loaded_size(256)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_colours_of_other_channels_cannot_be_changed(channels: int) -> None:
    with pytest.raises(UserError, match=rf"color_a=0\.5 cannot change images of {channels} channels: set it to 0"):
        transform(side=Side(channels, "uint8", 0, 255), color_a=0.5)


def test_colours_of_labels_cannot_be_changed() -> None:
    with pytest.raises(UserError, match=r"color_a=0\.5 cannot change a label map"):
        transform(side=Side(3, "uint8", 0, 255, labels=True), color_a=0.5)


def test_what_is_not_augmented_may_have_any_colour_setting() -> None:
    side = Side(5, "uint8", 0, 255)
    assert transform(side=side, augment=False, color_a=0.5).color is None
    assert transform(side=side, color_b=0.5).color is None


# --- resizing ---


@pytest.mark.parametrize(("resize", "shape"), [("stretch", (10, 10)), ("keep_aspect", (10, 15)), ("none", (20, 30))])
def test_size_before_the_crop(resize: str, shape: tuple[int, int]) -> None:
    loaded = transform(resize=resize, load_size=10).load(np.zeros((20, 30, 1), np.uint8))
    assert loaded.shape == (*shape, 1)


def test_without_augmentation_images_are_loaded_at_their_final_size() -> None:
    assert transform(8, resize="stretch", augment=False).load(np.zeros((20, 30, 1), np.uint8)).shape == (8, 8, 1)


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (999, 1000), (8, 8)])
def test_keep_aspect_never_falls_below_the_crop(shape: tuple[int, int]) -> None:
    tool = transform(8, resize="keep_aspect", load_size=8)
    assert tool(tool.load(np.zeros((*shape, 1), np.uint8)), 0, 0).shape == (8, 8, 1)


def test_without_augmentation_the_centre_is_cropped(noise: Noise) -> None:
    image = noise((12, 14, 1))
    np.testing.assert_array_equal(transform(8, augment=False)(image, 0, 0), image[2:10, 3:11])


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("labels", [False, True])
def test_any_image_can_be_resized(channels: int, dtype: str, labels: bool) -> None:
    image = np.broadcast_to(np.arange(1, channels + 1, dtype=dtype), (6, 8, channels)).copy()
    for size in ((3, 4), (4, 5), (12, 16), (13, 15), (4, 9), (1, 1)):
        resized = resize_image(image, *size, labels=labels)
        assert resized.dtype == dtype
        np.testing.assert_allclose(resized, np.broadcast_to(image[0, 0], (*size, channels)), rtol=1e-5)


def test_shrinking_averages() -> None:
    image = np.array([[0, 10, 100, 110], [20, 30, 120, 130]], np.uint8)[..., None]
    np.testing.assert_array_equal(resize_image(image, 1, 2)[..., 0], [[15, 115]])


@pytest.mark.parametrize("height", [2, 4, 16])
def test_fine_stripes_become_grey_when_their_axis_shrinks(height: int) -> None:
    stripes = np.zeros((4, 100, 1), np.uint8)
    stripes[:, ::2] = 254
    np.testing.assert_allclose(resize_image(stripes, height, 23).astype(int), 127, atol=20)


def test_labels_are_picked_not_blended() -> None:
    image = np.array([[0, 200]], np.uint8)[..., None]
    assert set(np.unique(resize_image(image, 7, 9, labels=True))) == {0, 200}
    assert len(np.unique(resize_image(image, 7, 9))) > 2


def test_an_image_of_the_right_size_is_left_alone(noise: Noise) -> None:
    image = noise((5, 7, 3))
    assert resize_image(image, 5, 7) is image


# --- geometry ---


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_flips_by_hand(noise: Noise, channels: int, dtype: str) -> None:
    image, side = noise((8, 8, channels), dtype), Side(channels, dtype, *FULL_RANGE[dtype])  # type: ignore[arg-type]
    np.testing.assert_array_equal(transform(side=side)(image, 0, 0), image)
    np.testing.assert_array_equal(transform(side=side, horizontal_flip=1.0)(image, 0, 0), image[:, ::-1])
    np.testing.assert_array_equal(transform(side=side, vertical_flip=1.0)(image, 0, 0), image[::-1])


def test_quarter_turns_are_all_four(noise: Noise) -> None:
    image, tool = noise((8, 8, 1)), transform(quarter_turns=1.0)
    found = {tool(image, seed, 0).tobytes() for seed in range(40)}
    assert found == {np.rot90(image, turns).tobytes() for turns in range(4)}


def test_a_probability_is_a_share_of_the_draws(noise: Noise) -> None:
    image, tool = noise((8, 8, 1)), transform(horizontal_flip=0.25)
    flipped = [not np.array_equal(tool(image, seed, 0), image) for seed in range(200)]
    assert np.mean(flipped) == pytest.approx(0.25, abs=0.1)


def test_every_place_can_be_cropped() -> None:
    rows, columns = np.mgrid[:10, :10]
    image, tool = (10 * rows + columns).astype(np.uint8)[..., None], transform(8)
    corners = {int(tool(image, seed, 0)[0, 0, 0]) for seed in range(150)}
    assert corners == {10 * row + column for row in range(3) for column in range(3)}


def test_rotation_keeps_a_flat_image_and_turns_another(noise: Noise) -> None:
    tool, image = transform(rotation=40.0), noise((8, 8, 1))
    flat = np.full((8, 8, 1), 77, np.uint8)
    np.testing.assert_array_equal(tool(flat, 0, 0), flat)
    assert not np.array_equal(tool(image, 0, 0), image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_rotation_makes_no_new_labels(dtype: str) -> None:
    labels = np.random.default_rng(0).choice([0, 100, 201], (20, 20, 1)).astype(dtype)
    tool = transform(side=Side(1, dtype, 0, 255, labels=True), rotation=45.0)  # type: ignore[arg-type]
    for seed in range(5):
        assert set(np.unique(tool(labels, seed, 0))) <= {0, 100, 201}


def test_geometry_leaves_float_values_beyond_one_alone(noise: Noise) -> None:
    image, side = noise((8, 8, 1), "float32") * 2000 - 500, Side(1, "float32", -500, 1500)
    turned = transform(side=side, horizontal_flip=1.0, vertical_flip=1.0)(image, 0, 0)
    np.testing.assert_array_equal(turned, image[::-1, ::-1])
    rotated = transform(side=side, rotation=30.0)(image, 1, 0)
    assert rotated.std() > 100


# --- colour ---

RANGES = [("uint8", 0, 255), ("uint16", 0, 65535), ("uint16", 0, 4095), ("float32", 0, 1), ("float32", -500, 1500)]


def ramp(channels: int, dtype: str, low: float, high: float) -> np.ndarray:
    """Every value from low to high, in another order per channel."""
    values = np.linspace(low, high, 64).astype(dtype)
    return np.stack([np.roll(values, 20 * channel).reshape(8, 8) for channel in range(channels)], axis=-1)


@pytest.mark.parametrize(("dtype", "low", "high"), RANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_weak_colour_changes_little(channels: int, dtype: str, low: float, high: float) -> None:
    image, side = ramp(channels, dtype, low, high), Side(channels, dtype, low, high)  # type: ignore[arg-type]
    tool = transform(side=side, color_a=0.02)
    for seed in range(5):
        changed = tool(image, 0, seed)
        assert changed.dtype == dtype
        difference = np.abs(changed.astype(float) - image).max() / (high - low)
        assert 0 < difference < 0.1


@pytest.mark.parametrize(("dtype", "low", "high"), RANGES)
def test_strong_colour_stays_in_the_range_and_varies(dtype: str, low: float, high: float) -> None:
    image, side = ramp(3, dtype, low, high), Side(3, dtype, low, high)  # type: ignore[arg-type]
    tool = transform(side=side, color_a=1.0)
    changed = np.stack([tool(image, 0, seed) for seed in range(20)]).astype(float)
    assert changed.min() >= low
    assert changed.max() <= high
    assert changed.mean(axis=(1, 2, 3)).std() > 0.05 * (high - low)


def test_grey_stays_grey_under_colour() -> None:
    image = ramp(1, "uint8", 0, 255)
    changed = transform(color_a=0.5)(image, 0, 0)
    assert changed.shape == (8, 8, 1)
    assert not np.array_equal(changed, image)


def test_the_colour_seed_alone_decides_the_colour() -> None:
    image = ramp(3, "uint8", 0, 255)
    tool = transform(side=Side(3, "uint8", 0, 255), color_a=0.5)
    np.testing.assert_array_equal(tool(image, 1, 5), tool(image, 2, 5))
    assert not np.array_equal(tool(image, 1, 5), tool(image, 1, 6))


def test_a_chosen_load_size_is_the_scale_of_evaluation_too():
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64, 1) / 4096
    side = Side(1, "float32", 0, 1)
    whole = Augmentation().transform(16, side, "A", augment=False)
    centre = Augmentation(load_size=32).transform(16, side, "A", augment=False)
    assert whole(whole.load(image), 0, 0).shape == (16, 16, 1)
    np.testing.assert_allclose(whole(whole.load(image), 0, 0).mean(), image.mean(), rtol=1e-5)
    np.testing.assert_allclose(centre(centre.load(image), 0, 0)[0, 0, 0], image[16:18, 16:18].mean(), rtol=1e-5)
