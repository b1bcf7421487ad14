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
    count = min(SHOWN, -(-len(places) // 2))
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    columns, written = [], []
    for kind, chosen in (("best", places[:count]), ("worst", places[::-1][: min(count, len(places) - count)])):
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
    caption = f"{name}: {metric} {row.values[metric]:.4g}".encode("ascii", "replace").decode()
    return np.concatenate([title_row([caption], line.shape[1]), title_row(list(images), line.shape[1]), line])


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
