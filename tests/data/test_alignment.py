"""Shifts between the images of pairs, found from edges alone."""

import numpy as np
import pytest

from translate.data.alignment import SIZE, Alignment, PairOffset, describe_offset, edges


def rooms(seed: int, size: int = 160) -> np.ndarray:
    """Rectangles at random places, each of a colour of its own."""
    generator = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.uint8)
    for _ in range(12):
        y, x = generator.integers(0, size - 40, 2)
        height, width = generator.integers(15, 40, 2)
        image[y : y + height, x : x + width] = generator.integers(0, 256, 3)
    return image


def align(count: int, *, dx: int = 0, dy: int = 0, special: dict[int, np.ndarray] | None = None) -> Alignment:
    """Photographs (with noise) beside maps of the same in other colours, whose content lies dx to the right."""
    alignment = Alignment()
    for seed in range(count):
        scene = rooms(seed)
        photo = (scene * 0.7 + np.random.default_rng(seed).integers(0, 40, scene.shape)).astype(np.uint8)
        map_ = 255 - scene[..., ::-1]
        a, b = photo[max(dy, 0) :, max(dx, 0) :], map_[: 160 - max(dy, 0), : 160 - max(dx, 0)]
        alignment.add(str(seed), edges(a), edges((special or {}).get(seed, b)))
    return alignment


def test_aligned_pairs_give_no_warning():
    alignment = align(20)
    assert alignment.common_offset() is None
    assert alignment.strays() == []
    assert alignment.strangers() == []


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, 5), (10, 10), (20, 4)])
def test_a_common_shift_is_measured(dx, dy):
    common = align(12, dx=dx, dy=dy).common_offset()
    assert common is not None
    assert common.dx == pytest.approx(dx / (160 - dx), abs=0.006)
    assert common.dy == pytest.approx(dy / (160 - dy), abs=0.006)


def test_a_shift_the_other_way_is_negative():
    alignment = Alignment()
    for seed in range(8):
        scene = rooms(seed)
        alignment.add(str(seed), edges(scene[:, :140]), edges(scene[:, 20:]))
    common = alignment.common_offset()
    assert common is not None
    assert common.dx == pytest.approx(-20 / 140, abs=0.006)
    assert describe_offset(common).endswith("% of the width to the left")


def test_a_single_shifted_pair_is_named():
    alignment = align(20, special={7: np.roll(255 - rooms(7)[..., ::-1], 16, axis=1)})
    assert alignment.common_offset() is None
    (stray,) = alignment.strays()
    assert stray.name == "7"
    assert stray.dx == pytest.approx(0.1, abs=0.01)


def test_many_pairs_that_are_shifted_each_in_its_own_way_are_meant_so():
    special = {seed: np.roll(255 - rooms(seed)[..., ::-1], 16 + 3 * seed, axis=seed % 2) for seed in range(4)}
    assert align(20, special=special).strays() == []


def test_a_pair_of_two_scenes_is_named():
    alignment = align(20, special={7: rooms(99)})
    assert alignment.strangers() == ["7"]
    assert alignment.strays() == []


def test_pairs_without_common_edges_give_no_warning():
    alignment = Alignment()
    for seed in range(30):
        alignment.add(str(seed), edges(rooms(seed)), edges(rooms(seed + 100)))
    assert alignment.common_offset() is None
    assert alignment.strays() == []
    assert alignment.strangers() == []


def test_flat_images_and_no_pairs_give_no_warning():
    alignment = Alignment()
    assert alignment.common_offset() is None
    assert alignment.strays() == []
    flat = edges(np.full((20, 30, 1), 9, np.uint16))
    for place in range(10):
        alignment.add(str(place), flat, flat)
    assert alignment.common_offset() is None
    assert alignment.strays() == []


def test_edges_have_one_size_whatever_the_image():
    for shape in ((300, 20, 1), (5, 5, 4), (64, 64, 9)):
        assert edges(np.zeros(shape, np.float32)).shape == (SIZE, SIZE)


def test_an_offset_is_said_in_words():
    assert (
        describe_offset(PairOffset("", 0.05, -0.1, 20, 0)) == "5.0% of the width to the right, 10.0% of the height up"
    )
    assert describe_offset(PairOffset("", 0.0, 0.02, 20, 0)) == "2.0% of the height down"
