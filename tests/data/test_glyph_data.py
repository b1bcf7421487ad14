"""Drawn letters as pairs, as unpaired and as labelled images, and the picture of what a network sees of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.batch import BatchType, Labeled, Pair, Unpaired
from translate.data.augmentation import Augmentation
from translate.data.glyph_data import GlyphData, PartedLetters
from translate.data.glyphs import STYLES, draw_glyph, letter_name, split_characters
from translate.data.image import read_image
from translate.data.preview import ROWS, write_preview
from translate.errors import UserError
from translate.picture import TITLE_HEIGHT
from translate.pixels import Side

LETTERS = {split: sorted(map(letter_name, members)) for split, members in split_characters(0).items()}
COLOR = Side(3, "uint8", 0, 255)


def glyphs(root: Path, *, augmentation: dict[str, Any] | None = None, **options: Any) -> GlyphData:
    settings: dict[str, Any] = {"resize": "stretch", "load_size": 16, "horizontal_flip": 0.0} | (augmentation or {})
    return GlyphData(root=str(root), augmentation=Augmentation(**settings), **options)


def arranged(data: GlyphData, batch_type: BatchType) -> GlyphData:
    data.arrange(batch_type)
    data.inspect(16).raise_problems()
    return data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Letters of 16 pixels, drawn once for all tests here."""
    root = tmp_path_factory.mktemp("glyphs") / "letters"
    glyphs(root).inspect(16).raise_problems()
    return root


@pytest.fixture(scope="module")
def drawn(root: Path) -> GlyphData:
    """Pairs of a plain style and one in colour."""
    return arranged(glyphs(root, style_b="color"), Pair)


# --- pairs ---


def test_every_letter_is_a_pair_of_its_split(drawn: GlyphData) -> None:
    assert {split: [pair.name for pair in pairs] for split, pairs in drawn.splits.items()} == LETTERS


def test_a_pair_is_one_letter_in_both_styles(drawn: GlyphData) -> None:
    letter = split_characters(0)["train"][0]
    index = [pair.name for pair in drawn.splits["train"]].index(letter_name(letter))
    pair = drawn.items("train", 16, seed=0, augment=True)[0, index]
    for tensor, style in zip(pair, ("regular", "color"), strict=True):
        np.testing.assert_array_equal(tensor, draw_glyph(letter, style, 16).transpose(2, 0, 1))


def test_both_sides_are_plain_colour_images(drawn: GlyphData) -> None:
    assert drawn.source == drawn.target == COLOR
    assert drawn.field_sides == (COLOR, COLOR)
    assert drawn.domains is None


def test_letters_are_drawn_once(drawn: GlyphData) -> None:
    before = {path: path.stat().st_mtime_ns for path in drawn.root.rglob("*")}
    again = glyphs(drawn.root, style_a="bold", style_b="fancy", direction="BtoA")  # other styles are there already
    assert again.inspect(16).counts == {f"{split} pairs": len(names) for split, names in LETTERS.items()}
    assert {path: path.stat().st_mtime_ns for path in drawn.root.rglob("*")} == before


def test_letters_of_another_size_need_another_folder(drawn: GlyphData) -> None:
    with pytest.raises(UserError, match="size is 16 there, asked was 32"):
        glyphs(drawn.root, augmentation={"load_size": 32}).inspect(32)
    # 16 pixels drawn, enlarged to 32
    glyphs(drawn.root, augmentation={"load_size": 32}, size=16).inspect(32).raise_problems()


@pytest.mark.parametrize(
    ("name", "value"), [("style_a", "gothic"), ("style_b", "gothic"), ("styles", ["bold", "gothic"])]
)
def test_unknown_styles_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"data\.{name}='gothic' is not one of regular, bold, .*fancy"):
        glyphs(tmp_path, **{name: value})


def test_values_outside_their_choices_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.direction='there' is not one of AtoB, BtoA"):
        glyphs(tmp_path / "letters", direction="there")
    assert not list(tmp_path.iterdir())


def test_the_preview_shows_six_pairs_in_two_columns(drawn: GlyphData, tmp_path: Path) -> None:
    path = tmp_path / "new" / "check.png"
    write_preview(path, drawn, 16, seed=0)
    picture = read_image(path)
    assert picture.shape == (TITLE_HEIGHT + 2 + ROWS * 18, 2 + 2 * 18, 3)
    source, target = drawn.items("train", 16, seed=0, augment=True)[0, 0]
    top, left = TITLE_HEIGHT + 2, 2
    np.testing.assert_allclose(picture[top : top + 16, left : left + 16].astype(int), source.permute(1, 2, 0), atol=1)
    left += 18
    np.testing.assert_allclose(picture[top : top + 16, left : left + 16].astype(int), target.permute(1, 2, 0), atol=1)


# --- unpaired images ---


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_no_training_letter_is_seen_in_both_styles(root: Path, direction: str) -> None:
    data = arranged(glyphs(root, direction=direction), Unpaired)
    a, b = ([picture.name for picture in data.splits["train"][side]] for side in "AB")
    assert sorted(a + b) == LETTERS["train"]
    assert abs(len(a) - len(b)) <= 1
    assert data.inspect(16).counts["train images A"] == len(a)
    items = data.items("train", 16, seed=0, augment=True)
    assert len(items) == max(len(a), len(b))
    assert isinstance(items[0, 0], Unpaired)


def test_held_out_letters_keep_their_true_answers(root: Path) -> None:
    data = arranged(glyphs(root), Unpaired)
    for split in ("validation", "test"):
        names = [[picture.name for picture in data.splits[split][side]] for side in "AB"]
        assert names == [LETTERS[split]] * 2
    source, target = data.items("test", 16, seed=0, augment=False)[0, 3]
    letter = next(one for one in split_characters(0)["test"] if letter_name(one) == LETTERS["test"][3])
    for tensor, style in ((source, "regular"), (target, "fancy")):
        np.testing.assert_array_equal(tensor, draw_glyph(letter, style, 16).transpose(2, 0, 1))


def test_the_seed_alone_decides_which_letters_are_parted_how(root: Path) -> None:
    def plain(style: str, seed: int) -> set[str]:
        data = PartedLetters(
            root=str(root), augmentation=Augmentation(), folder_a=style, folder_b="fancy", split_seed=seed
        )
        data.inspect(16).raise_problems()
        return {picture.name for picture in data.splits["train"]["A"]}

    assert plain("regular", 0) == plain("bold", 0)
    assert plain("regular", 0) != plain("regular", 1)


# --- labelled images ---


def test_every_letter_is_there_in_every_style(root: Path) -> None:
    styles = ["color", "regular", "texture"]
    data = arranged(glyphs(root, styles=styles), Labeled)
    assert data.domains is not None
    assert list(data.domains.names) == styles
    assert (data.source, data.target, data.field_sides) == (COLOR, COLOR, (COLOR, None, None))
    for split, letters in LETTERS.items():
        found = sorted((member.subject, member.vector) for member in data.splits[split])
        vectors = [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]
        assert found == [(letter, vector) for letter in letters for vector in vectors]


def test_the_true_answer_is_known_for_every_style(root: Path) -> None:
    data = arranged(glyphs(root), Labeled)
    subject = LETTERS["test"][0]
    for style in ("regular", "outline", "color", "texture"):
        twin = data.twin("test", subject, style)
        assert twin is not None
        assert twin.path == root / "test" / style / f"{subject}.png"
    assert data.twin("train", subject, "color") is None
    assert arranged(data, Pair).twin("test", subject, "color") is None


def test_labelled_letters_are_varied_as_configured(root: Path) -> None:
    settings = {"horizontal_flip": 1.0, "color_a": 0.2, "color_b": 0.2}
    flipped = arranged(glyphs(root, augmentation=settings | {"color_a": 0.0, "color_b": 0.0}), Labeled)
    plain = arranged(glyphs(root), Labeled)
    colored = arranged(glyphs(root, augmentation=settings), Labeled)
    images = [data.items("train", 16, seed=0, augment=True)[0, 5].images.numpy() for data in (plain, flipped, colored)]
    np.testing.assert_array_equal(images[1], images[0][..., ::-1])
    assert not np.array_equal(images[2], images[1])


def test_styles_cannot_be_coloured_by_side(root: Path) -> None:
    data = glyphs(root, augmentation={"color_a": 0.2})
    with pytest.raises(UserError, match=r"color_a=0\.2 and color_b=0\.0 differ, but .* give both the same value"):
        data.arrange(Labeled)


def test_every_arrangement_has_a_preview_and_a_fingerprint_of_its_own(root: Path, tmp_path: Path) -> None:
    data = glyphs(root)
    fingerprints = set()
    for batch_type, columns in ((Pair, 2), (Unpaired, 2), (Labeled, 4)):
        arranged(data, batch_type)
        fingerprints.add(data.fingerprint())
        write_preview(tmp_path / "check.png", data, 16, seed=0)
        assert read_image(tmp_path / "check.png").shape[1] == 2 + columns * 18
    assert len(fingerprints) == 3


def test_the_styles_to_choose_from_are_those_that_are_drawn(root: Path) -> None:
    assert {path.name for path in (root / "train").iterdir()} == set(STYLES)


# --- several styles of side B ---


def test_each_pair_has_one_of_several_styles_by_its_name_alone(root: Path) -> None:
    styles = ["color", "outline", "texture"]
    data = arranged(glyphs(root, style_b=styles), Pair)
    chosen = {pair.name: pair.b.parent.name for pairs in data.splits.values() for pair in pairs}
    counts = [list(chosen.values()).count(style) for style in styles]
    assert sum(counts) == sum(map(len, LETTERS.values()))
    assert min(counts) > sum(counts) / 4  # of a third each
    again = arranged(glyphs(root, style_b=styles, direction="BtoA"), Pair)
    assert chosen == {pair.name: pair.b.parent.name for pairs in again.splits.values() for pair in pairs}
    letter = split_characters(0)["test"][0]
    index = [pair.name for pair in data.splits["test"]].index(letter_name(letter))
    pair = data.items("test", 16, seed=0, augment=False)[0, index]
    for tensor, style in zip(pair, ("regular", chosen[letter_name(letter)]), strict=True):
        np.testing.assert_array_equal(tensor, draw_glyph(letter, style, 16).transpose(2, 0, 1))


def test_several_styles_are_for_pairs_and_have_to_be_known(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.style_b=\[color,bold\]: letters without pairs are of one style per side"
    ):
        glyphs(root, style_b=["color", "bold"]).arrange(Unpaired)
    with pytest.raises(UserError, match=r"data\.style_b='handwritten' is not one of"):
        glyphs(root, style_b=["color", "handwritten"])
    with pytest.raises(UserError, match=r"data\.style_b=\[\] names no style"):
        glyphs(root, style_b=[])
