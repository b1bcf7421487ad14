"""Finding images that show nearly the same: copies that were resized, compressed again, or made lighter or darker."""

from collections.abc import Sequence

import numpy as np

from translate.data.thumbnail import grey_thumbnail

SIZE = 32
FREQUENCIES = 12
SIMILAR = 0.93
DIFFERENT = 1.6
"""Two images are nearly the same if their low frequencies have a correlation of SIMILAR or more, and their thumbnails
nowhere differ by more than DIFFERENT standard deviations.

Measured on photographs, paintings, microscopy and drawings: of copies at half the size, as JPEG of quality 30, with
other brightness, contrast or gamma, or with noise, correlations are 0.95 or more and differences up to 1.5. Other
photographs correlate up to 0.90; letters that differ by an accent up to 0.99, with differences from 2. Copies that
were cropped or shifted by more than 1 % of their size are not found.
"""
CHUNK = 256

_steps = np.arange(SIZE)
_COSINES = np.cos(np.pi * (2 * _steps + 1) * _steps[:FREQUENCIES, None] / (2 * SIZE)).astype(np.float32)
_WEIGHTS = np.hypot(_steps[:FREQUENCIES, None], _steps[:FREQUENCIES]).astype(np.float32)


def describe_image(image: np.ndarray) -> np.ndarray:
    """A grey thumbnail of (H, W, C) pixels, (SIZE, SIZE) uint8 of full contrast; zeros for a flat image."""
    grey = grey_thumbnail(image, SIZE)
    low, high = float(grey.min()), float(grey.max())
    if high - low <= 1e-3 * max(abs(low), abs(high)):
        return np.zeros((SIZE, SIZE), np.uint8)
    return np.asarray(np.rint((grey - low) * (255 / (high - low))), np.uint8)


def find_duplicates(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[tuple[float, int, int]]:
    """(correlation, place in `first`, place in `second`) of what is nearly the same, the most similar first.

    Each entry of `second` is compared with the entry of `first` that resembles it most. Every pair is looked at, by
    matrix products: 85,000 with 15,000 images take some ten seconds on one core.

    Args:
        first: thumbnails by `describe_image`, (N, SIZE, SIZE); one such array for each image that makes an entry, so
            that of two pairs of images both images have to resemble their counterparts.
        second: the same of others, (M, SIZE, SIZE) each.
    """
    waves = [low_frequencies(thumbnails) for thumbnails in first]
    found = []
    for start in range(0, len(second[0]) if len(first[0]) else 0, CHUNK):
        chunk = [thumbnails[start : start + CHUNK] for thumbnails in second]
        likeness = [low_frequencies(own) @ of.T for own, of in zip(chunk, waves, strict=True)]
        least = likeness[0] if len(likeness) == 1 else np.minimum.reduce(likeness)
        nearest = least.argmax(1)
        best = least[np.arange(len(nearest)), nearest]
        for place in np.flatnonzero(best >= SIMILAR):
            i = int(nearest[place])
            if all(_difference(of[i], own[place]) <= DIFFERENT for of, own in zip(first, chunk, strict=True)):
                found.append((float(best[place]), i, start + int(place)))
    return sorted(found, key=lambda match: (-match[0], match[1:]))


def low_frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """(N, FREQUENCIES^2) vectors of length 1, or 0 for flat ones, whose products are the correlations of images.

    A discrete cosine transform, each wave multiplied by its frequency: in natural images amplitudes fall as one over
    the frequency, so that all of them count alike. The mean is left out.
    """
    waves = np.empty((len(thumbnails), FREQUENCIES**2), np.float32)
    for start in range(0, len(thumbnails), CHUNK):
        few = thumbnails[start : start + CHUNK].astype(np.float32)
        waves[start : start + CHUNK] = (_COSINES @ few @ _COSINES.T * _WEIGHTS).reshape(len(few), -1)
    lengths = np.linalg.norm(waves, axis=1, keepdims=True)
    waves /= np.maximum(lengths, 1e-6)
    return waves


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    """The most that two thumbnails differ by, in standard deviations, brightness and contrast apart."""
    a, b = ((one - one.mean()) / max(float(one.std()), 1e-6) for one in (first, second))
    return float(np.abs(a - b).max())
