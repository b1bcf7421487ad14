"""What is remembered of every decoded image, so that advice on a data set needs no second pass over it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from translate.data.alignment import Alignment, edges
from translate.data.duplicates import describe_image
from translate.data.loading import Picture

MOST_PAIRS = 300
"""Pairs whose alignment is measured, spread over the data set: one or two milliseconds each."""
SAMPLE = 2048


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Statistics of one picture.

    Attributes:
        path: the file.
        height: pixels.
        width: pixels.
        low: the least value of any pixel and channel.
        high: the greatest.
        dark: the value that 1 % of the pixels are below, of a sample.
        light: the value that 1 % are above.
        mean: of the sample.
        levels: how many different values the sample has.
        at_top: share of the sample that has its greatest value.
        commonest: share of the sample that has its commonest value.
        look: the thumbnail by `describe_image`.
    """

    path: Path
    height: int
    width: int
    low: float
    high: float
    dark: float
    light: float
    mean: float
    levels: int
    at_top: float
    commonest: float
    look: np.ndarray


def glance(path: Path, image: np.ndarray) -> Glimpse:
    """The statistics of (H, W, C) pixels."""
    height, width, _ = image.shape
    step = max(1, round((height * width / SAMPLE) ** 0.5))
    is_integer = image.dtype != np.float32  # for those, the stable way is the fast one, by digits
    sample = np.sort(image[::step, ::step], axis=None, kind="stable" if is_integer else None)
    last = len(sample) - 1
    starts = np.concatenate([[0], 1 + np.flatnonzero(sample[1:] != sample[:-1])])  # where another value begins
    return Glimpse(
        path=path,
        height=height,
        width=width,
        low=float(image.min()),
        high=float(image.max()),
        dark=float(sample[round(0.01 * last)]),
        light=float(sample[round(0.99 * last)]),
        mean=float(sample.mean(dtype=np.float64)),
        levels=len(starts),
        at_top=1 - int(starts[-1]) / len(sample),
        commonest=int(np.diff(starts, append=len(sample)).max()) / len(sample),
        look=describe_image(image),
    )


class Observer:
    """Called with every decoded file, from any thread; gathers a glimpse of each picture in it.

    Args:
        pictures: what to look at; two may lie in one file.
        pairs: pictures that should lie on top of one another.

    Attributes:
        glimpses: by picture.
        alignment: of the pairs, or of MOST_PAIRS of them.
    """

    def __init__(self, pictures: Iterable[Picture], pairs: Sequence[tuple[Picture, Picture]] = ()) -> None:
        self.glimpses: dict[Picture, Glimpse] = {}
        self.alignment = Alignment()
        self._pictures: dict[Path, list[Picture]] = defaultdict(list)
        for picture in dict.fromkeys(pictures):
            self._pictures[picture.path].append(picture)
        self._pairs: dict[Picture, list[tuple[Picture, Picture]]] = defaultdict(list)
        for place in np.unique(np.linspace(0, len(pairs) - 1, MOST_PAIRS).round().astype(int)) if pairs else ():
            for picture in pairs[place]:
                self._pairs[picture].append(pairs[place])
        self._waiting: dict[tuple[Picture, Picture], np.ndarray] = {}
        self._lock = Lock()

    def __call__(self, path: Path, image: np.ndarray) -> None:
        """Look at the (H, W, C) pixels of a file."""
        for picture in self._pictures[path]:
            pixels = picture.cut(image)
            if pixels.size:
                self.glimpses[picture] = glance(path, pixels)
                if picture in self._pairs:
                    self._compare(picture, edges(pixels))

    def of(self, pictures: Iterable[Picture]) -> list[Glimpse]:
        """The glimpses of these."""
        return [self.glimpses[picture] for picture in pictures]

    def _compare(self, picture: Picture, own: np.ndarray) -> None:
        for pair in self._pairs[picture]:
            with self._lock:
                other = self._waiting.pop(pair, None)
                if other is None:
                    self._waiting[pair] = own
            if other is not None:
                first, second = (own, other) if picture == pair[0] else (other, own)
                self.alignment.add(str(pair[0].path), first, second)
