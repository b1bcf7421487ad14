"""Pairs of drawn letters as a data set, and the picture of what a network sees of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.augmentation import Augmentation
from translate.data.glyph_pairs import GlyphPairs
from translate.data.glyphs import draw_glyph, letter_name, split_characters
from translate.data.image import read_image
from translate.data.preview import ROWS, write_preview
from translate.errors import UserError
from translate.picture import TITLE_HEIGHT
from translate.pixels import Side


def glyphs(root: Path, *, load_size: int = 16, **options: Any) -> GlyphPairs:
    augmentation = Augmentation(resize="stretch", load_size=load_size, horizontal_flip=0.0)
    return GlyphPairs(root=str(root), augmentation=augmentation, **options)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> GlyphPairs:
    """Letters of 16 pixels, drawn once for all tests here."""
    data = glyphs(tmp_path_factory.mktemp("glyphs") / "letters", style_a="regular", style_b="color")
    data.inspect(16).raise_problems()
    return data


def test_every_letter_is_a_pair_of_its_split(drawn: GlyphPairs) -> None:
    names = {split: {pair.name for pair in pairs} for split, pairs in drawn.splits.items()}
    assert names == {split: set(map(letter_name, members)) for split, members in split_characters(0).items()}


def test_a_pair_is_one_letter_in_both_styles(drawn: GlyphPairs) -> None:
    letter = split_characters(0)["train"][0]
    index = [pair.name for pair in drawn.splits["train"]].index(letter_name(letter))
    pair = drawn.dataset("train", 16, seed=0, augment=True)[0, index]
    for tensor, style in zip(pair, ("regular", "color"), strict=True):
        np.testing.assert_array_equal(tensor, draw_glyph(letter, style, 16).transpose(2, 0, 1))


def test_both_sides_are_plain_colour_images(drawn: GlyphPairs) -> None:
    assert drawn.source == drawn.target == Side(3, "uint8", 0, 255)


def test_letters_are_drawn_once(drawn: GlyphPairs) -> None:
    before = {path: path.stat().st_mtime_ns for path in drawn.root.rglob("*")}
    again = glyphs(drawn.root, style_a="bold", style_b="fancy", direction="BtoA")  # other styles are there already
    assert again.inspect(16).counts == {split: len(pairs) for split, pairs in drawn.splits.items()}
    assert {path: path.stat().st_mtime_ns for path in drawn.root.rglob("*")} == before


def test_letters_of_another_size_need_another_folder(drawn: GlyphPairs) -> None:
    with pytest.raises(UserError, match="size is 16 there, asked was 32"):
        glyphs(drawn.root, load_size=32).inspect(32)
    glyphs(drawn.root, load_size=32, size=16).inspect(32).raise_problems()  # 16 pixels drawn, enlarged to 32


@pytest.mark.parametrize("name", ["style_a", "style_b"])
def test_unknown_styles_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{name}='gothic' is not one of regular, bold, .*fancy"):
        glyphs(tmp_path, **{name: "gothic"})


def test_the_preview_shows_six_pairs_in_two_columns(drawn: GlyphPairs, tmp_path: Path) -> None:
    path = tmp_path / "new" / "check.png"
    write_preview(path, drawn, 16, seed=0)
    picture = read_image(path)
    assert picture.shape == (TITLE_HEIGHT + 2 + ROWS * 18, 2 + 2 * 18, 3)
    source, target = drawn.dataset("train", 16, seed=0, augment=True)[0, 0]
    top, left = TITLE_HEIGHT + 2, 2
    np.testing.assert_allclose(picture[top : top + 16, left : left + 16].astype(int), source.permute(1, 2, 0), atol=1)
    left += 18
    np.testing.assert_allclose(picture[top : top + 16, left : left + 16].astype(int), target.permute(1, 2, 0), atol=1)
