"""The drawn data set: what is drawn, how the letters are split, and when the folder is (not) written."""

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.data import glyphs
from translate.data.glyphs import STYLES, Pixels, characters, draw_dataset, draw_glyph, letter_name, split_characters
from translate.errors import UserError

SMALL: dict[str, Any] = {"size": 16, "styles": ("regular", "color")}


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def ink(image: Pixels) -> int:
    return int((255 - image.astype(int)).sum())


def split_of(splits: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {character: split for split, members in splits.items() for character in members}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


# --- styles and characters ---


def test_the_styles_come_in_their_order_with_one_line_descriptions() -> None:
    assert list(STYLES) == ["regular", "bold", "slanted", "serif", "mono", "outline", "color", "texture", "fancy"]
    assert all(style.description and "\n" not in style.description for style in STYLES.values())


def test_there_are_enough_characters_of_every_script() -> None:
    scripts = [unicodedata.name(character).split()[0] for character in characters()]
    assert 250 <= len(characters()) <= 400
    assert len(set(characters())) == len(characters())
    assert scripts.count("DIGIT") == 10
    assert min(scripts.count(script) for script in ("GREEK", "CYRILLIC")) >= 40
    assert set("ABCXYZabcxyzÉçßΩжЯ") <= set(characters())


def test_look_alikes_of_other_scripts_are_dropped() -> None:
    greek_alpha, cyrillic_a, cyrillic_small_o, cyrillic_io = "\u0391", "\u0410", "\u043e", "\u0401"
    assert not {greek_alpha, cyrillic_a, cyrillic_small_o, cyrillic_io} & set(characters())


def test_no_two_characters_are_drawn_alike() -> None:
    drawn = {draw_glyph(character, "regular", 32).tobytes() for character in characters()}
    assert len(drawn) == len(characters())


def test_letter_names_are_distinct_file_stems() -> None:
    assert letter_name("A") == "latin_capital_letter_a"
    assert letter_name("é") == "latin_small_letter_e_with_acute"
    assert letter_name("7") == "digit_seven"
    assert len({letter_name(character).casefold() for character in characters()}) == len(characters())


@pytest.mark.parametrize("character", ["", "AB", "\x00"])
def test_what_has_no_name_is_refused(character: str) -> None:
    with pytest.raises(UserError, match="character="):
        letter_name(character)


# --- splits ---


def test_splits_are_disjoint_and_complete() -> None:
    splits = split_characters(0)
    assert list(splits) == ["train", "validation", "test"]
    assert sorted(sum(splits.values(), ())) == sorted(characters())


def test_splits_have_about_the_asked_sizes() -> None:
    splits = split_characters(0, validation_fraction=0.1, test_fraction=0.2)
    assert len(splits["validation"]) / len(characters()) == pytest.approx(0.1, abs=0.02)
    assert len(splits["test"]) / len(characters()) == pytest.approx(0.2, abs=0.02)


def test_a_fraction_of_zero_leaves_a_split_empty() -> None:
    splits = split_characters(0, validation_fraction=0, test_fraction=0)
    assert splits == {"train": characters(), "validation": (), "test": ()}


@pytest.mark.parametrize("seed", range(5))
def test_every_script_is_in_every_split(seed: int) -> None:
    for members in split_characters(seed).values():
        assert {unicodedata.name(character).split()[0] for character in members} >= {
            "DIGIT",
            "LATIN",
            "GREEK",
            "CYRILLIC",
        }


@pytest.mark.parametrize("seed", range(5))
def test_cases_and_accents_of_a_letter_share_a_split(seed: int) -> None:
    split = split_of(split_characters(seed))
    for character in characters():
        base = unicodedata.normalize("NFD", character)[0]
        relatives = {base, base.lower(), base.upper(), character.lower(), character.upper()} & set(characters())
        assert {split[relative] for relative in relatives} <= {split[character]}, character


@pytest.mark.parametrize("pair", ["OØ", "Dđ", "AΆ", "P\u03c1", "ΓЃ", "гҐ", "i\u0131", "kЌ"])
def test_strokes_hooks_and_twins_in_other_scripts_share_a_split(pair: str) -> None:
    for seed in range(8):
        split = split_of(split_characters(seed, 0.3, 0.3))
        assert split[pair[0]] == split[pair[1]]


def test_the_seed_decides_the_split() -> None:
    assert split_characters(3) == split_characters(3)
    assert split_characters(3)["test"] != split_characters(4)["test"]


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_impossible_fractions_are_refused(validation: float, test: float) -> None:
    with pytest.raises(UserError, match=f"validation_fraction={validation} and test_fraction={test}"):
        split_characters(0, validation, test)


# --- single images ---


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_rgb_bytes_and_the_same_each_time(style: str) -> None:
    image = draw_glyph("R", style, 32)
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, draw_glyph("R", style, 32))


def test_regular_is_black_on_white() -> None:
    image = draw_glyph("I", "regular", 64)
    assert (image[0, 0] == 255).all()
    assert image.min() == 0
    assert (image == image[..., :1]).all()


def test_bold_has_more_ink_and_outline_less() -> None:
    regular, bold, outline = (ink(draw_glyph("H", style, 64)) for style in ("regular", "bold", "outline"))
    assert outline < bold
    assert regular < bold


def test_color_is_the_regular_letter_in_two_fixed_colors() -> None:
    ground, fill = np.array([24, 44, 97]), np.array([255, 159, 67])
    for character in "Bж":
        coverage = 1 - draw_glyph(character, "regular", 32) / 255
        expected = ground + (fill - ground) * coverage
        np.testing.assert_allclose(draw_glyph(character, "color", 32), expected, atol=1)


def test_texture_shows_both_stripes_and_the_edge() -> None:
    colors = {tuple(color) for color in draw_glyph("M", "texture", 128).reshape(-1, 3).tolist()}
    assert {(255, 255, 255), (255, 205, 86), (214, 69, 65), (84, 22, 30)} <= colors


def test_outline_is_white_inside_a_dark_contour() -> None:
    bold, outline = (draw_glyph("I", style, 64)[..., 0] for style in ("bold", "outline"))
    assert (outline[bold == 0] == 255).all()
    assert outline.min() < 32


@pytest.mark.parametrize("style", STYLES)
def test_letters_stand_on_the_same_baseline_in_the_middle(style: str) -> None:
    differs = (draw_glyph("H", style, 128) != draw_glyph(" ", style, 128)).any(-1)
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    # H stands on the baseline at 0.72 of the side; contours and shadows reach a little further.
    assert rows.max() == pytest.approx(0.72 * 128, abs=7)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(64, abs=4)


@pytest.mark.parametrize("style", STYLES)
def test_no_letter_touches_the_border(style: str) -> None:
    for size in (32, 64):
        ground = draw_glyph(" ", style, size)
        for character in characters():
            differs = (draw_glyph(character, style, size) != ground).any(-1)
            assert differs.any()
            assert not differs[[0, -1]].any(), (character, size)
            assert not differs[:, [0, -1]].any(), (character, size)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match=r"style 'gothic' is unknown; choose from regular, bold, .*fancy"):
        draw_glyph("A", "gothic", 32)
    with pytest.raises(UserError, match="size=15 is too small"):
        draw_glyph("A", "regular", 15)
    with pytest.raises(UserError, match="exactly one character"):
        draw_glyph("AB", "regular", 32)


# --- the folder ---


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("glyphs") / "parent" / "letters"
    draw_dataset(root, **SMALL)
    return root


def test_the_files_are_the_drawn_letters(drawn: Path) -> None:
    for split, members in split_characters(0).items():
        assert sorted(path.name for path in (drawn / split).iterdir()) == ["color", "regular"]
        for style in SMALL["styles"]:
            files = {path.name for path in (drawn / split / style).iterdir()}
            assert files == {f"{letter_name(character)}.png" for character in members}
            path = drawn / split / style / f"{letter_name(members[0])}.png"
            np.testing.assert_array_equal(read(path), draw_glyph(members[0], style, 16))


def test_the_settings_are_kept_beside_the_images(drawn: Path) -> None:
    assert json.loads((drawn / "glyphs.json").read_text()) == {
        "drawing_version": 1,
        "size": 16,
        "seed": 0,
        "styles": ["regular", "color"],
        "validation_fraction": 0.1,
        "test_fraction": 0.15,
    }
    assert [path.name for path in drawn.parent.iterdir()] == ["letters"]


def test_a_second_call_touches_nothing(drawn: Path) -> None:
    before = times(drawn)
    draw_dataset(drawn, size=16, styles=["color", "regular"])
    assert times(drawn) == before


def test_other_settings_are_refused(drawn: Path) -> None:
    before = times(drawn)
    with pytest.raises(UserError) as caught:
        draw_dataset(drawn, size=32, styles=SMALL["styles"])
    message = str(caught.value)
    assert str(drawn) in message
    assert "size is 16 there, asked was 32" in message
    assert "seed" not in message
    assert "Choose another data.root=FOLDER or delete the folder" in message
    assert times(drawn) == before


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_unreadable_settings_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "glyphs.json").write_text(content)
    with pytest.raises(UserError, match=r"delete the folder"):
        draw_dataset(tmp_path, **SMALL)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match=r"without a glyphs\.json.*data\.root=FOLDER"):
        draw_dataset(tmp_path, **SMALL)
    with pytest.raises(UserError, match=r"without a glyphs\.json"):
        draw_dataset(tmp_path / "holiday.jpg", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("linked", [False, True])
def test_an_empty_folder_is_filled(tmp_path: Path, linked: bool) -> None:
    (tmp_path / "empty").mkdir()
    root = tmp_path / "link" if linked else tmp_path / "empty"
    if linked:
        root.symlink_to(tmp_path / "empty")
    draw_dataset(root, size=16, styles=["mono"])
    assert (root / "test" / "mono").is_dir()
    assert (tmp_path / "empty" / "glyphs.json").is_file()


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(glyphs, "_write_png", full_disk)
    with pytest.raises(OSError, match="No space left"):
        draw_dataset(tmp_path / "letters", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("agrees", [True, False])
def test_the_slower_of_two_processes_accepts_only_the_same_drawing(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    root = tmp_path / "letters"

    def overtaken(folder: Path, *_: object) -> None:
        folder.mkdir()
        shutil.copytree(drawn, root)

    monkeypatch.setattr(glyphs, "_write_images", overtaken)
    if agrees:
        draw_dataset(root, **SMALL)
    else:
        with pytest.raises(UserError, match="seed is 0 there, asked was 7"):
            draw_dataset(root, seed=7, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    assert len(times(root)) == len(times(drawn))


def test_wrong_requests_draw_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="style 'gothic' is unknown"):
        draw_dataset(tmp_path / "letters", styles=["regular", "gothic"])
    with pytest.raises(UserError, match="styles is empty; choose from regular"):
        draw_dataset(tmp_path / "letters", styles=[])
    with pytest.raises(UserError, match="size=8 is too small"):
        draw_dataset(tmp_path / "letters", size=8)
    assert not list(tmp_path.iterdir())
