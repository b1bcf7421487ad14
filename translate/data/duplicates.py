"""Finding images that show nearly the same: copies that were resized, compressed again, or made lighter or darker."""

from collections.abc import Sequence

import numpy as np

from translate.data.thumbnail import grey_thumbnail

SIZE = 32
FREQUENCIES = 12
SIMILAR = 0.93
"""Similarity from which two images count as nearly the same.

Measured on photographs, paintings, microscopy and drawings: copies at half the size, as JPEG of quality 30, with other
brightness, contrast or gamma, or with noise have 0.95 or more, other images of the same kind at most 0.90. Copies that
were cropped or shifted by more than 1 % of their size are not found.
"""
CHUNK = 256

_steps = np.arange(SIZE)
_COSINES = np.cos(np.pi * (2 * _steps + 1) * _steps[:FREQUENCIES, None] / (2 * SIZE)).astype(np.float32)
_WEIGHTS = np.hypot(_steps[:FREQUENCIES, None], _steps[:FREQUENCIES]).astype(np.float32)


def describe_image(image: np.ndarray) -> np.ndarray:
    """A vector of length 1 that is nearly the same for images that look nearly the same; zeros for a flat image.

    The low frequencies of a small grey copy (discrete cosine transform), each multiplied by its frequency: in natural
    images, amplitudes fall as one over the frequency, so that all of them count alike. The mean is left out.

    Args:
        image: (H, W, C) pixels of any type; of more than four channels, the first are looked at.
    """
    grey = grey_thumbnail(image, SIZE)
    waves = (_COSINES @ grey @ _COSINES.T * _WEIGHTS).ravel()
    length = float(np.linalg.norm(waves))
    is_flat = length <= 1e-3 * SIZE**2 * float(np.abs(grey).max())
    return np.zeros_like(waves) if is_flat else waves / length


def find_duplicates(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[tuple[float, int, int]]:
    """(similarity, place in `first`, place in `second`) of what is nearly the same, the most similar first.

    Of each entry of `second`, the entry of `first` that it resembles most. Every pair is compared, by matrix products:
    85,000 with 15,000 images take 8 seconds on one core.

    Args:
        first: what `describe_image` returned, (N, F); one such array for each image that makes an entry, so that of
            two pairs of images both images have to resemble their counterparts.
        second: the same of others, (M, F) each.
    """
    found = []
    for start in range(0, len(second[0]), CHUNK):
        likeness = _least([a @ b[start : start + CHUNK].T for a, b in zip(first, second, strict=True)])
        if not len(likeness):
            break
        nearest = likeness.argmax(0)
        best = likeness[nearest, np.arange(len(nearest))]
        found += [
            (float(best[place]), int(nearest[place]), start + int(place)) for place in np.flatnonzero(best >= SIMILAR)
        ]
    return sorted(found, key=lambda match: (-match[0], match[1:]))


def _least(arrays: Sequence[np.ndarray]) -> np.ndarray:
    least = arrays[0]
    for array in arrays[1:]:
        np.minimum(least, array, out=least)
    return least
