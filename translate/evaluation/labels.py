"""Scores of translations that are label maps: which class does each pixel show? (Long et al. 2015, section 5)"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from translate.errors import UserError
from translate.pixels import Side

MOST_COLORS = 256
APART = 32 / 255
"""How far the colours of two classes lie apart at least, in one channel, where files blur them."""
NEAR, LEAST_NEAR = 8 / 255, 0.3
"""Which share of the pixels lies so near to a colour of a palette: of JPEG label maps of facades 0.38 with their 2
commonest colours and 0.63 with 13; of photographs at most 0.23, however many colours are taken."""
FINEST = 65536
"""Levels of a channel that are told apart."""
SAMPLED = 200
"""Label images whose colours are looked at."""


def choose_palette(
    images: Iterable[Float[Tensor, "channels height width"]], wanted: int | None
) -> Float[Tensor, "classes channels"] | None:
    """The colours of label images in [0, 1], the commonest first: all of them, or None if they are more than 256.

    With `wanted`, the so many commonest that lie at least 32 of 255 levels apart in a channel, for files whose
    compression has blurred the colours.

    Raises:
        UserError: with `wanted`, most pixels lie near none of them: these are photographs, not label maps.
    """
    found = [_merge(pixels, torch.ones(len(pixels))) for pixels in (image.flatten(1).T for image in images)]
    colors, counts = _merge(torch.cat([colors for colors, _ in found]), torch.cat([counts for _, counts in found]))
    if wanted is None:
        order = counts.argsort(descending=True, stable=True)
        return colors[order] if len(colors) <= MOST_COLORS else None
    chosen: list[Tensor] = []
    left, is_near = counts.clone(), torch.zeros(len(colors), dtype=torch.bool)
    while len(chosen) < wanted and left.any():
        chosen.append(colors[left.argmax()])
        distances = (colors - chosen[-1]).abs().amax(1)
        left[distances <= APART] = 0
        is_near |= distances <= NEAR
    share = float(counts[is_near].sum() / counts.sum())
    if share < LEAST_NEAR:
        raise UserError(
            f"--palette {wanted}: the true answers are no label maps of so many colours: {share:.0%} of their pixels "
            f"lie near one of the commonest, of label maps {LEAST_NEAR:.0%} do at least. For photographs leave "
            "--palette out; for label maps give more colours, or a file of them (--palette FILE)"
        )
    return torch.stack(chosen)


def _merge(
    colors: Float[Tensor, "pixels channels"], counts: Float[Tensor, " pixels"]
) -> tuple[Float[Tensor, "colors channels"], Float[Tensor, " colors"]]:
    """Every colour once, with the sum of its counts. Numbers that hold a colour are sorted much faster than rows."""
    keys, *levels = colors.double().mul(FINEST - 1).round().long().T
    for place, level in enumerate(levels):
        if place > 1:  # a fourth channel of 16 bits would overflow
            keys = torch.unique(keys, return_inverse=True)[1]
        keys = keys * FINEST + level
    unique, places = torch.unique(keys, return_inverse=True)
    member = torch.empty_like(unique).index_copy_(0, places, torch.arange(len(places)))
    return colors[member], torch.zeros(len(unique), dtype=torch.float64).index_add_(0, places, counts.double())


def read_palette(path: Path, side: Side) -> Float[Tensor, "classes channels"]:
    """The colours in a text file, one class per line, its channels' pixel values separated by commas or spaces.

    Raises:
        UserError: the file cannot be read, or does not hold at least two colours of the side's channels.
    """
    try:
        lines = [line.replace(",", " ").split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        colors = np.array([[float(value) for value in line] for line in lines if line], np.float32)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--palette {path} cannot be read as colours: a line per class, such as 255 128 0 ({error})"
        ) from error
    if colors.ndim != 2 or len(colors) < 2 or colors.shape[1] != side.channels:
        raise UserError(
            f"--palette {path} must hold at least two lines of {side.channels} pixel values: the label images have "
            f"{side.channels} channels"
        )
    return torch.from_numpy((colors - side.low) / (side.high - side.low))


def decode(
    images: Float[Tensor, "batch channels height width"], palette: Float[Tensor, "classes channels"]
) -> Int[Tensor, "batch height width"]:
    """The class whose colour is nearest to each pixel."""
    pixels = images.permute(0, 2, 3, 1)
    return torch.stack([_distances(image.flatten(0, 1), palette).argmin(1).view(image.shape[:2]) for image in pixels])


def _distances(pixels: Float[Tensor, "pixels channels"], palette: Float[Tensor, "classes channels"]) -> Tensor:
    """Exact: products of matrices, which are faster, confuse neighbours of 16 bits."""
    return torch.cdist(pixels, palette, compute_mode="donot_use_mm_for_euclid_dist")


def count_classes(
    outputs: Float[Tensor, "batch channels height width"],
    targets: Float[Tensor, "batch channels height width"],
    palette: Float[Tensor, "classes channels"],
) -> np.ndarray:
    """By image, how many pixels of each class are right, are truly of it, and were given it: (B, 3, classes)."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    counts = []
    for given, true in zip(decode(outputs, palette), decode(targets, palette), strict=True):
        confusion = multiclass_confusion_matrix(given, true, num_classes=len(palette)).double()
        counts.append(torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)]).numpy())
    return np.stack(counts)


def label_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Of counts (..., 3, classes) as of `count_classes`: `pixel_accuracy`, the share of pixels that are right;
    `class_accuracy`, its mean over the true classes; `mean_iou`, intersection over union of the pixels that are and
    those that are said to be of a class, its mean over the classes that occur. (...,) each.
    """
    right, true, given = np.moveaxis(counts, -2, 0)
    union = true + given - right
    return {
        "pixel_accuracy": right.sum(-1) / true.sum(-1),
        "class_accuracy": _mean_share(right, true),
        "mean_iou": _mean_share(right, union),
    }


def _mean_share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The mean of part / whole over the last axis, where there is a whole."""
    occurs = whole > 0
    means: np.ndarray = (part / np.where(occurs, whole, 1) * occurs).sum(-1) / occurs.sum(-1)
    return means
