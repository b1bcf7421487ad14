"""The comparison sheet: inputs beside what became of them."""

from pathlib import Path

import numpy as np

from translate.data.augmentation import resize_image
from translate.data.image import write_image
from translate.picture import title_row, to_display
from translate.pixels import Side

COMPARED = 12
SIDE = 256


class Sheet:
    """The first inputs and their outputs, each fitted into a square of at most 256 pixels."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, np.ndarray]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def takes(self, name: str) -> bool:
        """Whether there is room for an output of this input."""
        return len(self._rows) < COMPARED or name in self._rows

    def add(self, name: str, title: str, image: np.ndarray, side: Side) -> None:
        """Show an image of any depth, (H, W, C), in the row of an input; the title "" is the input itself."""
        scale = min(1, SIDE / max(image.shape[:2]))
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        shown = resize_image(to_display(image, *side.range_for(str(image.dtype))), height, width)
        self._rows.setdefault(name, {}).setdefault(title, shown)

    def write(self, path: Path) -> None:
        """Write the picture.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        rows = [self._rows[name] for name in sorted(self._rows)]
        side = max(max(image.shape[:2]) for row in rows for image in row.values())
        titles = list(dict.fromkeys(title for row in rows for title in row))  # "" is the input: no domain is called so
        per_line = min(max((6 if side > SIDE // 2 else 8) // len(titles), 1), len(rows))
        blank = np.full((side + 4, side + 4, 3), 255, np.uint8)
        cells = [
            np.concatenate([_fit(row[title], side) if title in row else blank for title in titles], axis=1)
            for row in rows
        ]
        cells += [np.full_like(cells[0], 255)] * (-len(cells) % per_line)
        lines = [np.concatenate(cells[start : start + per_line], axis=1) for start in range(0, len(cells), per_line)]
        headings = [title or "input" for title in titles] * per_line
        write_image(path, np.concatenate([title_row(headings, lines[0].shape[1]), *lines]))


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    """The picture, scaled to touch a square of `side` pixels from inside, on white with a small margin."""
    height, width = (max(1, round(length * side / max(image.shape[:2]))) for length in image.shape[:2])
    cell = np.full((side + 4, side + 4, 3), 255, np.uint8)
    top, left = 2 + (side - height) // 2, 2 + (side - width) // 2
    cell[top : top + height, left : left + width] = resize_image(image, height, width)
    return cell
