"""Warnings: each where it should come, and not where it should not; and those of whole data sets in every layout."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from translate.batch import Labeled, Unpaired
from translate.data.advice import (
    FEW,
    warn_blank,
    warn_enlarged,
    warn_exposure,
    warn_few,
    warn_leaks,
    warn_oblong,
    warn_unequal_domains,
    warn_unequal_sides,
    warn_values,
)
from translate.data.augmentation import Augmentation, DomainAugmentation
from translate.data.glimpse import Glimpse, glance
from translate.data.glyph_data import GlyphData
from translate.data.joint import JointData
from translate.data.labeled import LabeledData
from translate.data.unpaired import UnpairedData
from translate.pixels import FULL_RANGE, Side

Draw = Callable[..., np.ndarray]


def side(dtype: str = "uint8", *, channels: int = 1, labels: bool = False, limits: tuple[float, float] | None = None):
    low, high = limits or FULL_RANGE[dtype]
    return Side(channels, dtype, low, high, labels)


def seen(*images: np.ndarray) -> list[Glimpse]:
    return [glance(Path(f"{place}.png"), image) for place, image in enumerate(images)]


def sized(*sizes: tuple[int, int]) -> list[Glimpse]:
    """Images of these widths and heights."""
    return seen(*(np.zeros((height, width, 1), np.uint8) for width, height in sizes))


def between(low: float, high: float, dtype: str, *, seed: int = 0) -> np.ndarray:
    """Noise from low to high, both included."""
    values = np.random.default_rng(seed).uniform(low, high, (40, 40, 1))
    values[0, 0], values[0, 1] = low, high
    return values.astype(dtype)


# --- how many ---


def test_few_images_are_told_with_the_recipe_that_helps():
    (warning,) = warn_few({"pairs": FEW - 1})
    assert "only 199 training pairs" in warning
    assert "recipe=few_shot" in warning
    assert warn_few({"pairs": FEW}) == []


def test_only_the_side_that_has_few_images_is_told():
    (warning,) = warn_few({"images of side A": 20, "images of side B": 2000})
    assert "only 20 training images of side A:" in warning


def test_sides_of_very_unequal_numbers_are_told():
    (warning,) = warn_unequal_sides({"A": 1000, "B": 50})
    assert "Side A has 1000 training images and side B 50, 20 times fewer" in warning
    assert "Add images to side B" in warning
    assert warn_unequal_sides({"A": 1072, "B": 6287}) == []  # the paper's paintings and photographs


def test_a_rare_domain_is_told():
    (warning,) = warn_unequal_domains({"cat": 90, "dog": 100, "owl": 5}, 195, is_one_hot=True, setting="data.domains")
    assert "Few training images show 'owl' (5), while 'dog' has 100" in warning
    assert "leave them out of data.domains" in warning
    assert "cat" not in warning
    assert warn_unequal_domains({"cat": 30, "dog": 100}, 130, is_one_hot=True, setting="") == []


def test_an_attribute_that_few_or_nearly_all_images_have_is_told():
    counts = {"Bald": 20, "Young": 990, "Male": 420}
    (warning,) = warn_unequal_domains(counts, 1000, is_one_hot=False, setting="data.domains")
    assert "Of 1000 training images, few differ from the rest in 'Young' (10), 'Bald' (20):" in warning
    assert "Male" not in warning


# --- how large ---


def test_enlarged_images_are_counted_and_the_smallest_is_named():
    (warning,) = warn_enlarged(sized((200, 150), (100, 90), (300, 300)), 256, Augmentation())
    assert "2 of 3 images are enlarged to image_size=256" in warning
    assert "1.png (100x90) 2.8 times" in warning
    assert warning.endswith("image_size=64 suits them")


def test_some_small_images_among_many_large_ones_are_to_be_left_out():
    (warning,) = warn_enlarged(sized((100, 100), *[(300, 300)] * 9), 256, Augmentation())
    assert warning.endswith("leave them out, if the others suffice")


def test_images_a_little_smaller_than_image_size_are_no_matter():
    assert warn_enlarged(sized((224, 224)), 256, Augmentation()) == []
    assert warn_enlarged(sized((100, 100)), 256, Augmentation(resize="none")) == []  # that is a problem already


def test_of_a_centre_crop_its_own_size_counts():
    (warning,) = warn_enlarged(sized((300, 300)), 256, DomainAugmentation(center_crop=100))
    assert "(100x100) 2.6 times" in warning


def test_very_oblong_images_are_told_where_they_are_stretched():
    images = sized((300, 100), (100, 210), (200, 100))
    (warning,) = warn_oblong(images, Augmentation())
    assert "2 of 3" in warning
    assert "0.png (300x100), 1.png (100x210)" in warning
    assert warn_oblong(images, Augmentation(resize="keep_aspect")) == []
    assert warn_oblong(images[2:], Augmentation()) == []  # streets of 2:1, as the papers stretch them
    assert warn_oblong(images, DomainAugmentation(center_crop=90)) == []


# --- pixel values ---


def values(one: Side, *images: np.ndarray) -> list[str]:
    return warn_values("side B", one, seen(*images), setting="data.range_b", labels="data.labels=B")


@pytest.mark.parametrize(
    ("low", "high", "dtype", "suggested"),
    [
        (0, 4095, "uint16", "data.range_b=[0,4095]"),
        (120, 3000, "uint16", "data.range_b=[0,4095]"),
        (30000, 34000, "uint16", "data.range_b=[30000,34000]"),
        (0, 30, "uint8", "data.range_b=[0,30]"),
        (0, 0.02, "float32", "data.range_b=[0,0.02]"),
        (-1000, 3071, "float32", "data.range_b=[-1000,3071]"),
        (0, 255, "float32", "data.range_b=[0,255]"),
    ],
)
def test_the_range_that_fits_the_pixels_is_suggested(low, high, dtype, suggested):
    (warning,) = values(side(dtype), *[between(low, high, dtype)] * 2)
    assert warning.endswith(suggested)


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(0, 65535, "uint16"), (0, 40000, "uint16"), (20, 120, "uint8"), (0, 1, "float32")]
)
def test_images_that_use_their_range_are_not_told(low, high, dtype):
    assert values(side(dtype), between(low, high, dtype)) == []


def test_a_range_that_was_set_is_believed():
    image = between(0, 4095, "uint16")
    assert values(side("uint16", limits=(0, 4095)), image) == []
    assert values(side("uint16", limits=(0, 1000)), image)[0].endswith("data.range_b=[0,4095]")


def test_one_image_of_full_range_is_enough():
    assert values(side(), *[between(0, 30, "uint8")] * 9, between(0, 255, "uint8")) == []


def test_a_mask_of_0_and_1_and_numbers_of_classes_are_recognised():
    mask = np.zeros((10, 10, 1), np.uint8)
    mask[3:] = 1
    assert values(side(), mask)[0].endswith("a mask, which the networks would see as nearly black: "
                                            "data.range_b=[0,1] data.labels=B")  # fmt: skip
    classes = np.zeros((10, 10, 1), np.uint8)
    classes[2:5], classes[5:] = 7, 18
    (warning,) = values(side(), classes)
    assert "numbers of classes" in warning
    assert warning.endswith("data.range_b=[0,18] data.labels=B")


def test_values_that_were_cut_off_at_the_top_are_told_of_16_bits_alone():
    cut = np.minimum(between(0, 90000, "float32"), 65535)
    (warning,) = values(side("uint16"), cut.astype(np.uint16))
    assert (
        "1 of 1 images of side B have a tenth of their pixels or more at their greatest value, such as 0.png" in warning
    )
    white = np.minimum(between(0, 350, "float32"), 255).astype(np.uint8)
    assert values(side(), white) == []  # things before a white background


def test_blank_and_almost_black_images_are_named():
    good = [between(0, 255, "uint8", seed=seed) for seed in range(3)]
    images = [*good, np.full((8, 8, 1), 200, np.uint8), between(0, 9, "uint8")]
    blank, black = warn_blank("side A", side(), seen(*images))
    assert "1 of 5 images of side A are blank: 3.png." in blank
    assert "1 of 5 images of side A are almost black: 4.png." in black
    assert warn_blank("side A", side(), seen(*good)) == []


def test_empty_masks_and_label_maps_may_be_blank():
    mask = np.zeros((8, 8, 1), np.uint8)
    assert warn_blank("side B", side(), seen(mask, mask + 255)) == []
    assert warn_blank("side B", side(labels=True), seen(mask, *[between(0, 255, "uint8")] * 3)) == []


def test_sides_of_very_different_brightness_are_told():
    dark, light = seen(between(0, 80, "uint8")), seen(between(120, 255, "uint8"))
    (warning,) = warn_exposure({"side A": (side(), dark), "side B": (side(), light)})
    assert "side A are far darker than those of side B (typical mean 16% of the range beside 74%)" in warning
    assert warn_exposure({"side A": (side(), dark), "side B": (side(), seen(between(0, 200, "uint8")))}) == []
    assert warn_exposure({"side A": (side(), dark), "side B": (side(labels=True), light)}) == []


def test_the_domain_that_differs_from_all_others_is_named():
    groups = {name: (side(), seen(between(0, 100, "uint8"))) for name in "abc"}
    (warning,) = warn_exposure(groups | {"d": (side(), seen(between(140, 255, "uint8")))})
    assert "images of d are far lighter than those of the others" in warning


def test_drawings_on_white_are_not_too_light():
    drawing = np.full((40, 40, 1), 255, np.uint8)
    drawing[10:14] = 0
    assert warn_exposure({"A": (side(), seen(between(0, 160, "uint8"))), "B": (side(), seen(drawing))}) == []


def test_brightness_says_nothing_where_the_range_is_wrong(tmp_path: Path, draw: Draw) -> None:
    for seed in range(3):
        draw(tmp_path / "A" / f"{seed}.png", image=between(0, 4095, "uint16", seed=seed))
        draw(tmp_path / "B" / f"{seed}.png", image=between(160, 255, "uint8", seed=seed))
    for range_a, told in ((None, "data.range_a=[0,4095]"), ([0, 15000], "side A are far darker than those of side B")):
        data = UnpairedData(root=str(tmp_path), augmentation=Augmentation(), range_a=range_a, range_b=[0, 255])
        warnings = [warning for warning in warnings_of(data) if "only" not in warning]
        assert len(warnings) == 1
        assert told in warnings[0]


# --- whole data sets ---


def smooth(seed: int, size: int = 32) -> np.ndarray:
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return cv2.resize(cells, (size, size), interpolation=cv2.INTER_LINEAR)


def test_at_most_ten_copies_are_named():
    train, held = (seen(*(smooth(seed) for seed in range(first, 12))) for first in (0, 0))
    (warning,) = warn_leaks("images", [train], [held])
    assert warning.startswith("12 of 12 validation and test images are nearly the same as training images")
    assert warning.count("\n") == 10
    assert warning.endswith("and 2 more")
    assert warn_leaks("images", [train], [seen(*(smooth(seed) for seed in range(50, 60)))]) == []
    assert warn_leaks("images", [train], [[]]) == []


def warnings_of(data, *, image_size: int = 32, advise: bool = True) -> list[str]:
    inspection = data.inspect(image_size, advise=advise)
    inspection.raise_problems()
    return inspection.warnings


def test_pairs_get_advice_in_every_layout(tmp_path: Path, draw: Draw, paired: Callable[..., object]) -> None:
    for seed in range(9):
        split = "train" if seed < 8 else "test"
        scene = smooth(seed % 8, 64)
        a, b = scene[8:, 8:], 255 - scene[:-8, :-8]
        draw(tmp_path / "folders" / split / "A" / f"{seed}.png", image=np.ascontiguousarray(a))
        draw(tmp_path / "folders" / split / "B" / f"{seed}.png", image=np.ascontiguousarray(b))
        draw(tmp_path / "halves" / split / f"{seed}.png", image=np.concatenate([a, b], axis=1))
    rows = [
        f"{split}/A/{i}.png,{split}/B/{i}.png,{split}" for i in range(9) for split in ["train" if i < 8 else "test"]
    ]
    (tmp_path / "folders" / "pairs.csv").write_text("A,B,split\n" + "\n".join(rows))
    for root in ("folders", "halves", "folders/pairs.csv"):
        few, shifted, leak = warnings_of(paired(tmp_path / root, augmentation={"resize": "stretch"}))
        assert "only 8 training pairs" in few
        assert "Most pairs are shifted: B lies 14" in shifted
        assert "1 of 1 validation and test pairs are nearly the same as training pairs" in leak
        assert "8.png and" in leak
        assert "0.png" in leak


def test_advice_is_given_only_if_asked_for_and_nothing_is_wrong(
    tmp_path: Path, draw: Draw, paired: Callable[..., object]
) -> None:
    for name in "AB":
        draw(tmp_path / name / "1.png")
    assert warnings_of(paired(tmp_path), image_size=8, advise=False) == []
    assert warnings_of(paired(tmp_path), image_size=8) != []
    (tmp_path / "A" / "2.png").write_bytes(b"")
    inspection = paired(tmp_path).inspect(8, advise=True)
    assert inspection.problems
    assert inspection.warnings == []


def test_pairs_as_unpaired_images_need_not_be_aligned(
    tmp_path: Path, draw: Draw, paired: Callable[..., object]
) -> None:
    for seed in range(8):
        scene = smooth(seed, 64)
        draw(tmp_path / "A" / f"{seed}.png", image=np.ascontiguousarray(scene[:, 8:]))
        draw(tmp_path / "B" / f"{seed}.png", image=np.ascontiguousarray(scene[:, :-8]))
    data = paired(tmp_path)
    assert any("shifted" in warning for warning in warnings_of(data))
    data.arrange(Unpaired)
    assert not any("shifted" in warning for warning in warnings_of(data))


def test_two_folders_get_advice(tmp_path: Path, draw: Draw) -> None:
    for seed in range(30):
        draw(tmp_path / "trainA" / f"{seed}.png", image=(smooth(seed) * 0.2).astype(np.uint8))
        if seed < 3:
            draw(tmp_path / "trainB" / f"{seed}.png", image=255 - smooth(seed + 100) // 2)
    draw(tmp_path / "testA" / "copy.png", image=(smooth(4) * 0.25).astype(np.uint8))
    data = UnpairedData(root=str(tmp_path), augmentation=Augmentation(), validation_fraction=0)
    few, unequal, dark, leak = warnings_of(data)
    assert "only 30 training images of side A and 3 training images of side B" in few
    assert "Side A has 30 training images and side B 3, 10 times fewer" in unequal
    assert "pixels of side A go from 0 to 6" in dark
    assert "testA/copy.png and" in leak


def test_domains_get_advice(tmp_path: Path, draw: Draw) -> None:
    for seed in range(20):
        draw(tmp_path / "day" / f"{seed}.png", image=100 + smooth(seed) // 2)
        if seed < 2:
            draw(tmp_path / "night" / f"{seed}.png", image=smooth(seed + 100) // 3)
    options = {"augmentation": DomainAugmentation(), "validation_fraction": 0, "test_fraction": 0}
    few, unbalanced, dark = warnings_of(LabeledData(root=str(tmp_path), **options))
    assert "only 22 training images" in few
    assert "show 'night' (2), while 'day' has 20" in unbalanced
    assert "domain 'night' are far darker than those of domain 'day'" in dark


def test_two_sets_of_domains_get_advice_each(tmp_path: Path, draw: Draw) -> None:
    for place, name in enumerate(("one/a", "one/b", "two/c", "two/d")):
        for seed in range(4):
            draw(tmp_path / name / f"{seed}.png", image=smooth(10 * place + seed))
    options = {"augmentation": DomainAugmentation(), "validation_fraction": 0, "test_fraction": 0}
    first, second = (LabeledData(root=str(tmp_path / name), **options) for name in ("one", "two"))
    assert [f"in {tmp_path / name}" in text for name, text in zip(
        ("one", "two"), warnings_of(JointData(first=first, second=second)), strict=True)] == [True, True]  # fmt: skip


def test_drawn_letters_need_no_advice(tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    for style in ("regular", "bold"):
        draw(tmp_path / "train" / style / "A.png")
        draw(tmp_path / "test" / style / "B.png")
    monkeypatch.setattr("translate.data.glyph_data.draw_dataset", lambda *_, **__: None)
    data = GlyphData(root=str(tmp_path), augmentation=Augmentation(), styles=["regular", "bold"], size=16)
    data.arrange(Labeled)
    assert warnings_of(data, image_size=16) == []
