"""Looking at every image of a data set before training: what it is, and what is wrong with it."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from translate.data.image import TIFF, ImageError, read_image
from translate.errors import UserError
from translate.pixels import FULL_RANGE, Side


@dataclass(frozen=True)
class Facts:
    """What one decoded image is. `channels` leaves out a transparency channel."""

    height: int
    width: int
    channels: int
    dtype: str


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set.

    Attributes:
        counts: how many there are of what, in words to print: `train pairs`, `test images B`.
        sides: what the images are, by the side's name, such as "A" and "B"; None where the problems leave it open.
        sizes: (height, width) of the images and how many have it.
        problems: everything wrong, one line each, beginning with the path.
        warnings: what may go badly although nothing is wrong, a sentence or two each; empty if not asked for, or while
            there are problems.
    """

    counts: dict[str, int]
    sides: dict[str, Side | None]
    sizes: Counter[tuple[int, int]]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def raise_problems(self, *, most: int = 20) -> None:
        """Raise UserError listing the problems, if there are any: all, or of more than `most` one of each kind."""
        if not self.problems:
            return
        shown = [f"  {problem}" for problem in self.problems]
        if len(self.problems) > most:
            kinds = group_problems(self.problems)
            shown = [f"  {first}{f' (and {count - 1} more like it)' * (count > 1)}" for first, count in kinds[:most]]
            more = f"  ... and {len(kinds) - most} more kinds;" if len(kinds) > most else " "
            shown.append(f"{more} `translate check` with the same keys lists all")
        count = len(self.problems)
        raise UserError(f"the data has {count} problem{'s' * (count > 1)}:\n" + "\n".join(shown))


def group_problems(problems: Sequence[str]) -> list[tuple[str, int]]:
    """The first problem of each kind and how many there are of it; they differ in their path, which ends with a colon,
    and in numbers."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(re.sub(r"[0-9]+", "0", problem.partition(": ")[2] or problem), []).append(problem)
    return [(alike[0], len(alike)) for alike in kinds.values()]


def size_problems(path: Path, fact: Facts, smallest: int | None) -> list[str]:
    """That an image is smaller than `smallest`, in a list, or an empty one; None allows any size."""
    if smallest is None or min(fact.height, fact.width) >= smallest:
        return []
    return [
        f"{path}: is {fact.width}x{fact.height}, smaller than image_size={smallest}: "
        "use a smaller image_size or data.augmentation.resize=stretch"
    ]


def drop_alpha(image: np.ndarray, path: Path) -> np.ndarray:
    """Leave out the transparency of (H, W, 2 or 4) pixels, except in TIFF and NPY, where every channel is data."""
    is_transparency = image.shape[2] in (2, 4) and path.suffix.lower() not in TIFF | {".npy"}
    return image[..., :-1] if is_transparency else image


def inspect_images(
    paths: Collection[Path],
    progress: Callable[[Iterable[Facts | str], int], Iterable[Facts | str]] | None = None,
    observe: Callable[[Path, np.ndarray], None] | None = None,
) -> dict[Path, Facts | str]:
    """Decode every image in threads; the value is its Facts, or what is wrong with it.

    `progress` may wrap the iteration (its arguments: the iterable and its length) to show how far it is. `observe` is
    called in the threads with the (H, W, C) pixels of every image that is good.
    """

    def look(path: Path) -> Facts | str:
        try:
            height, width, channels = (image := drop_alpha(read_image(path), path)).shape
        except ImageError as error:
            return str(error)
        if image.dtype == np.float32 and not np.isfinite(image).all():
            return "has pixels that are NaN or infinite"
        if observe is not None:
            observe(path, image)
        return Facts(height, width, channels, str(image.dtype))

    ordered = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found: Iterable[Facts | str] = pool.map(look, ordered)
        if progress is not None:
            found = progress(found, len(ordered))
        return dict(zip(ordered, found, strict=True))


def derive_side(
    name: str,
    facts: Sequence[tuple[Path, Facts]],
    *,
    setting: str,
    channels: int | None,
    value_range: Sequence[float] | None,
    labels: bool,
) -> tuple[Side | None, list[str]]:
    """What the images called `name` are: the channels and pixel type they share, and the problems.

    Grey and RGB images mix (grey is repeated), as do 8 and 16 bits (8 is widened); anything else does not.
    `name` is words for a message, such as `images of side A`. `channels` (of the data setting `setting`) and
    `value_range` are the user's own, where given.
    """
    found_channels = Counter(fact.channels for _, fact in facts)
    found_types = Counter(fact.dtype for _, fact in facts)
    if not facts:
        return None, []
    derived = max(found_channels) if set(found_channels) <= {1, 3} else found_channels.most_common(1)[0][0]
    channels = derived if channels is None else channels
    dtype = max(found_types) if set(found_types) == {"float32"} else "uint16" if "uint16" in found_types else "uint8"
    problems = []
    for path, fact in facts:
        if not fits_channels(fact.channels, channels):
            problems.append(
                f"{path}: has {fact.channels} channels, but the {name} have {channels} "
                f"(convert the file, or set data.{setting})"
            )
        if (fact.dtype == "float32") != (dtype == "float32"):
            problems.append(f"{path}: has {fact.dtype} pixels, but other {name} have {dtype}: convert them to one")
    low, high = FULL_RANGE[dtype] if value_range is None else (value_range[0], value_range[1])
    return Side(channels, dtype, low, high, labels), problems  # type: ignore[arg-type]


def fits_channels(found: int, wanted: int) -> bool:
    """Whether `match_channels` can bring an image of `found` channels to `wanted`."""
    return found == wanted or {found, wanted} == {1, 3}


def check_range(setting: str, limits: Sequence[float] | None) -> None:
    """Raise UserError for pixel values that span no range."""
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise UserError(f"data.{setting}={list(limits)} is not [low, high] with low < high")


def match_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Bring (H, W, C) to `channels`: grey is repeated, RGB becomes grey by its luminance (ITU-R BT.601)."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    luminance = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return (luminance if image.dtype == np.float32 else luminance.round().astype(image.dtype))[..., None]
