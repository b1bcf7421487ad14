"""Nearly equal images: what counts as nearly the same, and what does not."""

import cv2
import numpy as np
import pytest

from translate.data.duplicates import SIMILAR, SIZE, describe_image, find_duplicates, low_frequencies


def scene(seed: int, size: int = 96, channels: int = 3) -> np.ndarray:
    """Smooth noise, as photographs are: amplitudes fall with the frequency."""
    generator = np.random.default_rng(seed)
    image = sum(
        cv2.resize(generator.random((cells, cells, channels), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        / cells
        for cells in (3, 6, 12, 24)
    ).reshape(size, size, channels)
    return ((image - image.min()) / (image.max() - image.min()) * 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_UNCHANGED)


CHANGES = {
    "half the size": lambda image: cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA),
    "another shape": lambda image: cv2.resize(image, (130, 70)),
    "JPEG of quality 30": lambda image: jpeg(image, 30),
    "darker": lambda image: (image * 0.5).astype(np.uint8),
    "less contrast": lambda image: (image * 0.3 + 100).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 1.5).astype(np.uint8),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "floats": lambda image: image.astype(np.float32) / 255,
    "grey": lambda image: image.mean(2, keepdims=True).astype(np.uint8),
}


def thumbnails(*images: np.ndarray) -> np.ndarray:
    return np.stack([describe_image(image) for image in images])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change):
    scenes = [scene(seed) for seed in range(5)]
    matches = find_duplicates([thumbnails(*scenes)], [thumbnails(*map(CHANGES[change], scenes))])
    assert sorted(match[1:] for match in matches) == [(seed, seed) for seed in range(5)]


def test_other_images_do_not_correlate():
    waves = low_frequencies(thumbnails(*map(scene, range(60))))
    assert (waves @ waves.T - np.eye(60)).max() < SIMILAR - 0.1


def test_a_shape_with_a_small_difference_is_another():
    letter = np.zeros((64, 64, 1), np.uint8)
    letter[20:50, 20:26] = letter[44:50, 20:44] = 255
    accent = letter.copy()
    accent[10:15, 30:38] = 255
    one, other = thumbnails(letter), thumbnails(accent)
    assert (low_frequencies(one) @ low_frequencies(other).T).item() > 0.8
    assert find_duplicates([one], [other]) == []
    assert len(find_duplicates([one], [thumbnails(255 - letter // 2)])) == 0
    assert len(find_duplicates([one], [thumbnails(letter // 2)])) == 1


def test_a_thumbnail_has_full_contrast_and_that_of_a_flat_image_is_0():
    assert (describe_image(scene(0).astype(np.uint16) // 9).min(), describe_image(scene(0)).max()) == (0, 255)
    for value in (0, 7, 255):
        assert not describe_image(np.full((50, 40, 3), value, np.uint8)).any()


def test_images_of_many_channels_and_of_few_pixels_are_described():
    assert describe_image(scene(0, channels=7)).shape == describe_image(scene(0, size=3)).shape == (SIZE, SIZE)


def test_waves_have_length_1():
    assert np.linalg.norm(low_frequencies(thumbnails(scene(0), scene(1))), axis=1) == pytest.approx(1, abs=1e-5)


def test_every_copy_is_found_with_its_original():
    train = thumbnails(*map(scene, range(300)))
    held = thumbnails(*map(scene, range(1000, 1300)))
    held[3] = describe_image(CHANGES["JPEG of quality 30"](scene(17)))
    held[270] = describe_image(scene(299))  # beyond the first chunk
    matches = find_duplicates([train], [held])
    assert [match[1:] for match in matches] == [(299, 270), (17, 3)]
    assert matches[0][0] == pytest.approx(1, abs=1e-5)


def test_pairs_are_the_same_only_if_both_images_are():
    first, second, other = (thumbnails(*map(scene, range(start, start + 3))) for start in (0, 100, 200))
    assert len(find_duplicates([first, second], [first, second])) == 3
    assert find_duplicates([first, second], [first, other]) == []


def test_flat_images_are_no_copies_of_one_another():
    flat = np.zeros((2, SIZE, SIZE), np.uint8)
    assert find_duplicates([flat], [flat]) == []
    assert find_duplicates([flat[:0]], [flat]) == []
