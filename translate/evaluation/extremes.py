"""The images that a model did best and worst, side by side with what they were made from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from translate.data.augmentation import resize_image
from translate.data.image import write_image
from translate.evaluation.bootstrap import Scored
from translate.evaluation.metrics import BETTER_WHEN_HIGHER
from translate.picture import title_row, to_display

SHOWN = 6
SIDE = 160
GAP = 12
LETTER = 6
"""Pixels that a letter of a title is wide, on average, shrunk a little at most."""
RANKED_BY = ("l1", "cycle_source", "reconstruction", "recognized")
"""What ranks images: the first of these that there is."""


def rank(rows: Sequence[Scored]) -> tuple[str, list[int]] | None:
    """The metric that ranks the rows, and the places of those that have it, best first; None if none does."""
    for metric in RANKED_BY:
        places = [place for place, row in enumerate(rows) if metric in row.values]
        if places:
            sign = -1 if metric in BETTER_WHEN_HIGHER else 1
            return metric, sorted(places, key=lambda place: sign * rows[place].values[metric])
    return None


def choose_shown(rows: Sequence[Scored], places: Sequence[int]) -> tuple[list[int], list[int]]:
    """At most the 6 best and 6 worst of places, best first, none twice; one row of an image where there are enough
    images, for a StarGAN makes several of each."""
    count = min(SHOWN, -(-len(places) // 2))
    best = _different(rows, places)[:count]
    return best, [place for place in _different(rows, places[::-1]) if place not in best][:count]


def _different(rows: Sequence[Scored], places: Sequence[int]) -> list[int]:
    """The places in their order, those whose image came before behind all others."""
    first = {rows[place].name: place for place in reversed(places)}.values()
    return sorted(places, key=lambda place: place not in first)


def write_extremes(
    path: Path, rows: Sequence[Scored], picture: Callable[[int], dict[str, Tensor]]
) -> list[dict[str, Any]]:
    """Write at most the 6 best and 6 worst images as one picture, and each image of it into a folder of its name.

    Returns what was written of each, for JSON: `kind` (best or worst), `name`, `group`, `metric`, `value`, and the
    files of its `images` by title, as seen from the picture's folder; nothing if there is nothing to rank. `picture`
    gives the images to show of a row by title, (C, H, W) in [0, 1].

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    ranked = rank(rows)
    if ranked is None:
        return []
    metric, places = ranked
    best, worst = choose_shown(rows, places)
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    columns, written = [], []
    for kind, chosen in (("best", best), ("worst", worst)):
        blocks = []
        for number, place in enumerate(chosen, start=1):
            row, images = rows[place], picture(place)
            blocks.append(_block(row, metric, images))
            files = {title: f"{folder.name}/{kind}_{number}_{title.replace(' ', '_')}.png" for title in images}
            for title, image in images.items():
                write_image(path.parent / files[title], _shown(image))
            value = row.values[metric]
            written.append(
                {"kind": kind, "name": row.name, "group": row.group, "metric": metric, "value": value, "images": files}
            )
        if blocks:
            heading = title_row([f"{kind} by {metric}"], blocks[0].shape[1])
            columns.append(np.concatenate([heading, *blocks]))
    height = max(column.shape[0] for column in columns)
    padded = [
        np.pad(column, ((0, height - column.shape[0]), (0, GAP), (0, 0)), constant_values=255) for column in columns
    ]
    write_image(path, np.concatenate(padded, axis=1))
    return written


def _block(row: Scored, metric: str, images: dict[str, Tensor]) -> np.ndarray:
    """The images of a row beside one another under its name, and what each of them is."""
    cells = [_cell(image) for image in images.values()]
    line = np.concatenate(cells, axis=1)
    name = f"{row.name} to {row.group}" if row.group else row.name
    # The font has no letters but these.
    value = f": {metric} {row.values[metric]:.4g}"
    name = shorten(name.encode("ascii", "replace").decode(), line.shape[1] // LETTER - len(value))
    return np.concatenate([title_row([name + value], line.shape[1]), title_row(list(images), line.shape[1]), line])


def shorten(name: str, length: int) -> str:
    """A name of at most so many characters, but 8 at least: the middle gives way to dots."""
    length = max(length, 8)
    end = (length - 3) // 2
    return name if len(name) <= length else f"{name[: length - 3 - end]}...{name[-end:]}"


def _cell(image: Tensor) -> np.ndarray:
    """An image as a picture of about 160 pixels, on white with a small margin; small ones are enlarged by repeating
    their pixels."""
    shown = _shown(image)
    longest = max(shown.shape[:2])
    times = max(SIDE // longest, 1)
    shown = shown.repeat(times, 0).repeat(times, 1)
    if longest > SIDE:
        shown = resize_image(shown, *(max(1, round(length * SIDE / longest)) for length in shown.shape[:2]))
    return np.pad(shown, ((2, 2), (2, 2), (0, 0)), constant_values=255)


def _shown(image: Tensor) -> np.ndarray:
    """(C, H, W) in [0, 1] as 8-bit RGB."""
    return to_display(image.permute(1, 2, 0).numpy(), 0, 1)
