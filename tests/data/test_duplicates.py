"""Nearly equal images: what counts as nearly the same, and what does not."""

import cv2
import numpy as np
import pytest

from translate.data.duplicates import SIMILAR, describe_image, find_duplicates


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


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_nearly_the_same(change):
    for seed in range(5):
        image = scene(seed)
        assert describe_image(image) @ describe_image(CHANGES[change](image)) >= SIMILAR


def test_other_images_are_not():
    looks = np.stack([describe_image(scene(seed)) for seed in range(60)])
    likeness = looks @ looks.T - np.eye(60)
    assert likeness.max() < SIMILAR - 0.1


def test_a_vector_has_length_1_and_that_of_a_flat_image_is_0():
    assert np.linalg.norm(describe_image(scene(0))) == pytest.approx(1, abs=1e-5)
    for value in (0, 7, 255):
        assert not describe_image(np.full((50, 40, 3), value, np.uint8)).any()


def test_images_of_many_channels_and_of_few_pixels_are_described():
    assert describe_image(scene(0, channels=7)).shape == describe_image(scene(0, size=3)).shape


def test_every_copy_is_found_with_its_original():
    train = np.stack([describe_image(scene(seed)) for seed in range(300)])
    held = [describe_image(scene(seed)) for seed in range(1000, 1300)]
    held[3] = describe_image(CHANGES["JPEG of quality 30"](scene(17)))
    held[270] = describe_image(scene(299))  # beyond the first chunk
    matches = find_duplicates([train], [np.stack(held)])
    assert [match[1:] for match in matches] == [(299, 270), (17, 3)]
    assert matches[0][0] == pytest.approx(1, abs=1e-5)


def test_pairs_are_the_same_only_if_both_images_are():
    first, second = (np.stack([describe_image(scene(seed + more)) for seed in range(3)]) for more in (0, 100))
    other = np.stack([describe_image(scene(seed)) for seed in range(200, 203)])
    assert len(find_duplicates([first, second], [first, second])) == 3
    assert find_duplicates([first, second], [first, other]) == []


def test_flat_images_are_no_copies_of_one_another():
    flat = np.zeros((2, describe_image(scene(0)).size), np.float32)
    assert find_duplicates([flat], [flat]) == []
