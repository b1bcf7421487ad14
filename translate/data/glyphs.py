"""A drawn data set: the letters of several scripts in several styles, as ordinary image folders.

Every style draws the same letters at the same place, so any two styles make pairs, unpaired sets or domains, and the
true answer is known for every image. `draw_dataset` writes

    ROOT/{train,validation,test}/{style}/{letter_name}.png
    ROOT/glyphs.json    the settings it was drawn with
"""

import functools
import itertools
import json
import os
import random
import re
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from translate.errors import UserError

Color = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)

SPLITS = ("train", "validation", "test")
SETTINGS_FILE = "glyphs.json"
DRAWING_VERSION = 1
"""Raise it when a style or the choice of characters changes: folders drawn before are then refused, not mixed in."""

MINIMUM_SIZE = 16
SUPERSAMPLING = 4
# Lengths as fractions of the image side. The widest letter (Zhe in bold serif, 1.32 em) and the tallest (1.0 em above
# the baseline, 0.27 em below) then keep a margin on every side, edge and shadow included.
FONT_SIZE = 0.62
BASELINE = 0.72
STRIPE_PERIOD = 0.11
EDGE_WIDTH = 0.022
SHADOW_OFFSET = 0.02
SHADOW_BLUR = 0.006
SHADOW_STRENGTH = 0.5

# Digits, Latin (ASCII, Latin-1, Extended-A), Greek, Cyrillic. The first of several look-alikes is the one that stays.
CODE_POINTS = (
    (0x30, 0x39),
    (0x41, 0x5A),
    (0x61, 0x7A),
    (0xC0, 0x17F),
    (0x386, 0x3CE),
    (0x400, 0x45F),
    (0x490, 0x491),
)
COMPARISON_SIZE = 64
SAME_LOOK = 0.025
"""Two letters whose pixels differ by less than this share of the lighter one's ink count as one letter."""


@dataclass(frozen=True)
class Style:
    """What to draw. Colours are RGB; a pair of colours runs from the top of the image to its bottom."""

    description: str
    font: str
    ground: tuple[Color, Color] = (WHITE, WHITE)
    fill: tuple[Color, Color] = (BLACK, BLACK)
    stripe: Color | None = None
    edge: Color | None = None
    """Colour of a line around the letter: the letter itself keeps its thin strokes."""
    shadow: Color | None = None


STYLES: dict[str, Style] = {
    "regular": Style("DejaVu Sans, black on white", "DejaVuSans"),
    "bold": Style("DejaVu Sans Bold, black on white", "DejaVuSans-Bold"),
    "slanted": Style("DejaVu Sans Oblique, black on white", "DejaVuSans-Oblique"),
    "serif": Style("DejaVu Serif, black on white", "DejaVuSerif"),
    "mono": Style("DejaVu Sans Mono, black on white", "DejaVuSansMono"),
    "outline": Style("only the contour of DejaVu Sans Bold", "DejaVuSans-Bold", fill=(WHITE, WHITE), edge=BLACK),
    "color": Style(
        "DejaVu Sans in orange on deep blue, the same two colours for every letter",
        "DejaVuSans",
        ground=((24, 44, 97), (24, 44, 97)),
        fill=((255, 159, 67), (255, 159, 67)),
    ),
    "texture": Style(
        "DejaVu Sans Bold filled with diagonal stripes inside a darker edge",
        "DejaVuSans-Bold",
        fill=((255, 205, 86), (255, 205, 86)),
        stripe=(214, 69, 65),
        edge=(84, 22, 30),
    ),
    "fancy": Style(
        "bold serif with a colour gradient, stripes, a dark edge and a drop shadow on a sunset sky",
        "DejaVuSerif-Bold",
        ground=((36, 28, 104), (255, 118, 110)),
        fill=((255, 226, 92), (255, 142, 36)),
        stripe=(255, 250, 214),
        edge=(62, 10, 62),
        shadow=(16, 4, 40),
    ),
}


def letter_name(character: str) -> str:
    """The file stem of a character, from its Unicode name: `latin_capital_letter_a`.

    Raises:
        UserError: `character` is not one character, or has no Unicode name.
    """
    _require_one_character(character)
    name = unicodedata.name(character, "")
    if not name:
        raise UserError(f"character={character!r} has no Unicode name and so no file name")
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


@functools.cache
def characters() -> tuple[str, ...]:
    """The letters and digits of the data set: in every font used, and no two alike in any of them. Fixed order."""
    look_alikes = _look_alikes()
    return tuple(character for character in _candidates() if look_alikes[character] == character)


def split_characters(
    seed: int, validation_fraction: float = 0.1, test_fraction: float = 0.15
) -> dict[str, tuple[str, ...]]:
    """Disjoint characters for `train`, `validation` and `test`, together all of `characters()`.

    A letter, its other case, its accented variants and its twins in other scripts are one family and share a split,
    so the letters of `test` are really new. Each script is spread on its own: its families are shuffled with `seed`
    and taken for `test`, then `validation`, as long as they fit the fraction. A family that would make up much of a
    held-out split goes to `train`, so that no split is all variants of one letter.

    Raises:
        UserError: a fraction is negative, or the two leave nothing for training.
    """
    if validation_fraction < 0 or test_fraction < 0 or validation_fraction + test_fraction >= 1:
        raise UserError(
            f"validation_fraction={validation_fraction} and test_fraction={test_fraction} "
            "must not be negative and must add up to less than 1"
        )
    generator = random.Random(seed)
    chosen: dict[str, set[str]] = {split: set() for split in SPLITS}
    for families in _families_by_script().values():
        waiting = generator.sample(families, len(families))
        total = sum(map(len, families))
        for split, fraction in (("test", test_fraction), ("validation", validation_fraction)):
            taken = _take_families(waiting, budget=round(fraction * total))
            waiting = [family for family in waiting if family not in taken]
            chosen[split].update(*taken)
        chosen["train"].update(*waiting)
    return {split: tuple(character for character in characters() if character in chosen[split]) for split in SPLITS}


def draw_glyph(character: str, style: str, size: int) -> Pixels:
    """One letter as an RGB image, uint8 (size, size, 3).

    Font size, baseline and the horizontal centre of the advance box are the same in every style. From 32 pixels up
    every letter of `characters()` keeps clear of the image border. A space draws the ground alone.

    Raises:
        UserError: the style is unknown, `size` is below 16, or `character` is not one character.
    """
    _require_one_character(character)
    _require_styles([style])
    _require_size(size)
    look = STYLES[style]
    letter = _letter_mask(character, look.font, size * SUPERSAMPLING)
    body = _grow(letter, EDGE_WIDTH) if look.edge else letter
    image = _gradient(look.ground, size)
    if look.shadow:
        image = _paint(image, look.shadow, _coverage(_cast_shadow(body), size) * SHADOW_STRENGTH)
    if look.edge:
        image = _paint(image, look.edge, _coverage(body, size))
    fill = _gradient(look.fill, size)
    if look.stripe:
        fill = _paint(fill, look.stripe, _stripes(size))
    image = _paint(image, fill, _coverage(letter, size))
    return np.rint(image).astype(np.uint8)


def draw_dataset(
    root: Path,
    *,
    size: int = 64,
    seed: int = 0,
    styles: Sequence[str] = tuple(STYLES),
    validation_fraction: float = 0.1,
    test_fraction: float = 0.15,
) -> None:
    """Draw the data set into the folder `root`, unless it is there already with the same settings.

    The folder appears complete or not at all: it is drawn beside its place and then renamed. Of several processes
    that draw it at once, one wins and the others accept its folder.

    Args:
        root: the folder to make; its parents are made too.
        size: side of the square images in pixels, at least 16.
        seed: of the split of the letters.
        styles: names from `STYLES`, in any order.
        validation_fraction: share of the letters, from 0.
        test_fraction: share of the letters, from 0.

    Raises:
        UserError: a setting is out of range, or `root` holds something else or was drawn with other settings.
    """
    _require_styles(styles)
    _require_size(size)
    drawn_styles = [name for name in STYLES if name in styles]
    settings = {
        "drawing_version": DRAWING_VERSION,
        "size": size,
        "seed": seed,
        "styles": drawn_styles,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
    }
    # A link to an empty folder cannot be replaced by a rename; the folder it leads to can.
    place = root.resolve()
    if _is_drawn(place, settings):
        return
    letters = split_characters(seed, validation_fraction, test_fraction)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_images(partial, letters, drawn_styles, size)
        (partial / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        _move_into_place(partial, place, settings)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_one_character(character: str) -> None:
    if len(character) != 1:
        raise UserError(f"character={character!r} must be exactly one character")


def _require_styles(styles: Sequence[str]) -> None:
    unknown = [style for style in styles if style not in STYLES]
    if unknown or not styles:
        asked = f"style {unknown[0]!r} is unknown" if unknown else "styles is empty"
        raise UserError(f"{asked}; choose from {', '.join(STYLES)}")


def _require_size(size: int) -> None:
    if size < MINIMUM_SIZE:
        raise UserError(f"size={size} is too small to read a letter; choose {MINIMUM_SIZE} or more")


# --- which characters ---


def _fonts() -> tuple[str, ...]:
    return tuple(dict.fromkeys(style.font for style in STYLES.values()))


@functools.cache
def _candidates() -> tuple[str, ...]:
    """Letters and digits of CODE_POINTS that every font has, look-alikes included."""
    found = (chr(point) for first, last in CODE_POINTS for point in range(first, last + 1))
    return tuple(
        character
        for character in found
        if unicodedata.category(character) in ("Lu", "Ll", "Nd")
        # A compatibility decomposition marks typographic variants, such as the long s or the ij ligature.
        and not unicodedata.decomposition(character).startswith("<")
        and all(_has_glyph(font, character) for font in _fonts())
    )


def _has_glyph(font: str, character: str) -> bool:
    """Whether the font draws something else than its box for missing characters."""
    face = _load_font(font, FONT_SIZE * COMPARISON_SIZE)
    return bytes(face.getmask(character)) != bytes(face.getmask("\uffff"))


@functools.cache
def _look_alikes() -> dict[str, str]:
    """For each candidate the first one that looks like it in any font: itself where it is the first of its look."""
    candidates = _candidates()
    ink = np.stack([[_centred_ink(font, character) for character in candidates] for font in _fonts()])
    amount = ink.sum(-1)
    first: dict[str, str] = {}
    kept: list[int] = []
    for index, character in enumerate(candidates):
        tolerance = SAME_LOOK * np.minimum(amount[:, kept], amount[:, [index]])
        # Images differ at least by their amounts of ink: the cheap test leaves few pairs for the one that counts.
        near = np.argwhere(np.abs(amount[:, kept] - amount[:, [index]]) < tolerance)
        twins = [
            kept[other]
            for font, other in near
            if np.abs(ink[font, kept[other]] - ink[font, index]).sum() < tolerance[font, other]
        ]
        first[character] = candidates[min(twins, default=index)]
        if not twins:
            kept.append(index)
    return first


def _centred_ink(font: str, character: str) -> Values:
    """The letter's pixels in 0..1, flat, with its ink (not its advance box) centred: side bearings do not count."""
    face = _load_font(font, FONT_SIZE * COMPARISON_SIZE)
    left, _, right, _ = face.getbbox(character, anchor="ls")
    image = Image.new("L", (COMPARISON_SIZE, COMPARISON_SIZE))
    start = (COMPARISON_SIZE - left - right) / 2
    ImageDraw.Draw(image).text((start, BASELINE * COMPARISON_SIZE), character, fill=255, font=face, anchor="ls")
    return np.asarray(image, np.float32).ravel() / np.float32(255)


# --- how they are split ---


def _bare_capital(character: str) -> str:
    """The letter in upper case without accents, strokes and hooks: O for U+00F8 (o with stroke)."""
    bare = unicodedata.normalize("NFD", character)[0]
    bare = unicodedata.lookup(unicodedata.name(bare).partition(" WITH ")[0])
    return bare.upper() if len(bare.upper()) == 1 else bare


@functools.cache
def _families() -> tuple[tuple[str, ...], ...]:
    """The characters in families: linked by a common bare capital, or by looking alike before duplicates went."""
    family_of: dict[str, set[str]] = {}
    for character, first in _look_alikes().items():
        links = {character, first, _bare_capital(character)}
        joined = links.union(*(family_of.get(link, ()) for link in links))
        family_of.update(dict.fromkeys(joined, joined))
    distinct = {id(family): family for family in family_of.values()}.values()
    families = (tuple(character for character in characters() if character in family) for family in distinct)
    return tuple(sorted((family for family in families if family), key=lambda family: characters().index(family[0])))


def _families_by_script() -> dict[str, list[tuple[str, ...]]]:
    """The families under the script (first word of the Unicode name) of their first character."""
    scripts: dict[str, list[tuple[str, ...]]] = {}
    for family in _families():
        scripts.setdefault(unicodedata.name(family[0]).split()[0], []).append(family)
    return scripts


def _take_families(waiting: Sequence[tuple[str, ...]], budget: int) -> list[tuple[str, ...]]:
    """Families in order, up to `budget` characters in all; none larger than a third of it (or a pair of cases)."""
    largest = max(2, budget // 3)
    taken: list[tuple[str, ...]] = []
    for family in waiting:
        if len(family) <= min(budget, largest):
            taken.append(family)
            budget -= len(family)
    return taken


# --- how one is drawn ---


@functools.cache
def _load_font(font: str, points: float) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    # The basic layout is in every build of Pillow, so every machine draws the same pixels.
    return ImageFont.truetype(path, points, layout_engine=ImageFont.Layout.BASIC)


def _letter_mask(character: str, font: str, side: int) -> Pixels:
    """How much of each pixel the letter covers, 0..255, (side, side)."""
    image = Image.new("L", (side, side))
    face = _load_font(font, FONT_SIZE * side)
    ImageDraw.Draw(image).text((side / 2, BASELINE * side), character, fill=255, font=face, anchor="ms")
    return np.array(image)


def _grow(mask: Pixels, distance: float) -> Pixels:
    """The mask made larger all around by `distance`, a fraction of the image side."""
    radius = max(1, round(distance * mask.shape[0]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, disc), np.uint8)


def _cast_shadow(mask: Pixels) -> Pixels:
    """The mask moved down and right and softened."""
    side = mask.shape[0]
    offset = round(SHADOW_OFFSET * side)
    moved = np.zeros_like(mask)
    moved[offset:, offset:] = mask[:-offset, :-offset]
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), SHADOW_BLUR * side), np.uint8)


def _coverage(mask: Pixels, size: int) -> Values:
    """A supersampled mask 0..255 averaged down to (size, size), in 0..1."""
    small = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


@functools.cache
def _stripes(size: int) -> Values:
    """Coverage (size, size) in 0..1 of diagonal stripes, as wide as the gaps between them."""
    side = size * SUPERSAMPLING
    steps = np.arange(side)
    phase = (steps[:, None] + steps[None, :]) / (STRIPE_PERIOD * side) % 1
    return _coverage(np.where(phase < 0.5, 255, 0).astype(np.uint8), size)


def _gradient(ends: tuple[Color, Color], size: int) -> Values:
    """Colours (size, size, 3) in 0..255 from the first end at the top to the second at the bottom."""
    rows = np.linspace(np.asarray(ends[0], np.float32), np.asarray(ends[1], np.float32), size, dtype=np.float32)
    return np.repeat(rows[:, None], size, axis=1)


def _paint(image: Values, color: Color | Values, coverage: Values) -> Values:
    """`color` laid over `image` (size, size, 3) where `coverage` (size, size) says, in 0..1."""
    share = coverage[..., None]
    return image * (1 - share) + np.asarray(color, np.float32) * share


# --- how a data set is written ---


def _is_drawn(place: Path, settings: Mapping[str, Any]) -> bool:
    """True: drawn with these settings. False: free to draw. A UserError where neither holds."""
    settings_file = place / SETTINGS_FILE
    if settings_file.is_file():
        _require_same_settings(settings_file, settings)
        return True
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(_conflict(place, f"it exists without a {SETTINGS_FILE}, so it is not a drawn data set"))
    return False


def _require_same_settings(settings_file: Path, settings: Mapping[str, Any]) -> None:
    try:
        found = json.loads(settings_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(_conflict(settings_file.parent, f"its {SETTINGS_FILE} is not readable: {error}")) from error
    found = found if isinstance(found, dict) else {}
    differences = [
        f"{name} is {found.get(name)!r} there, asked was {asked!r}"
        for name, asked in settings.items()
        if found.get(name) != asked
    ]
    if differences:
        raise UserError(_conflict(settings_file.parent, "it was drawn with other settings: " + "; ".join(differences)))


def _conflict(place: Path, reason: str) -> str:
    return f"cannot draw the letters into {place}: {reason}. Choose another data.root=FOLDER or delete the folder"


def _write_images(folder: Path, letters: Mapping[str, Sequence[str]], styles: Sequence[str], size: int) -> None:
    for split, style in itertools.product(SPLITS, styles):
        target = folder / split / style
        target.mkdir(parents=True)
        for character in letters[split]:
            _write_png(target / f"{letter_name(character)}.png", draw_glyph(character, style, size))


def _write_png(path: Path, image: Pixels) -> None:
    # cv2.imwrite answers a full disk with False and fails on some paths; write_bytes raises and takes any path.
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    path.write_bytes(encoded.tobytes())


def _move_into_place(partial: Path, place: Path, settings: Mapping[str, Any]) -> None:
    try:
        partial.rename(place)
    except OSError:
        # Another process may have been faster: its folder is as good as this one if it was drawn the same way.
        if not _is_drawn(place, settings):
            raise
