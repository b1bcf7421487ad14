"""Whether the images of pairs lie on top of one another, told from their edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import cv2
import numpy as np

from translate.data.thumbnail import grey_thumbnail

SIZE = 128
NEAR = 1.5
"""Offsets of single pairs are told apart if they differ by more cells of SIZE: 3 pixels of 256."""
NOTABLE = 0.8
"""An offset of all pairs is measured more finely: so many cells matter."""
CLEAR = 15.0
"""Height of a peak, in standard deviations of the correlation, that chance and repeating patterns do not make.

Measured: aligned photographs and label maps of facades, drawings and silhouettes, reach 11 at wrong places.
"""


@dataclass(frozen=True)
class PairOffset:
    """How far the second image of a pair lies from the first.

    Attributes:
        name: what the pair is called.
        dx: to the right, as a share of the width.
        dy: downward, as a share of the height.
        peak: how clear that is: the height of the correlation there, in its standard deviations.
        at_zero: its height where the images lie on top of one another.
    """

    name: str
    dx: float
    dy: float
    peak: float
    at_zero: float

    def is_near(self, dx: float, dy: float) -> bool:
        """Whether the offset is that one, but for what cannot be measured."""
        return max(abs(self.dx - dx), abs(self.dy - dy)) <= NEAR / SIZE


class Alignment:
    """Correlates the edges of pairs, one pair after the other, from any thread.

    Of one pair, label maps and drawings have edges that photographs lack, so that the peak of its phase correlation
    (Kuglin and Hines 1975) is often lost in noise. In the sum over the pairs of a data set, noise averages out, and an
    offset that many of them share stands out.
    """

    def __init__(self) -> None:
        self.offsets: list[PairOffset] = []
        self._sum = np.zeros((SIZE, SIZE // 2 + 1), np.complex64)
        self._lock = Lock()

    def add(self, name: str, first: np.ndarray, second: np.ndarray) -> None:
        """Take in the `edges` of a pair."""
        product = np.conj(np.fft.rfft2(first)) * np.fft.rfft2(second)
        phases = (product / (np.abs(product) + 1e-6) * _BLUR).astype(np.complex64)
        offset = _find_offset(name, phases)
        with self._lock:
            self.offsets.append(offset)
            self._sum += phases

    def common_offset(self) -> PairOffset | None:
        """The offset that many pairs share, if it is clear and not none."""
        if not self.offsets:
            return None
        common = _find_offset("", self._sum)
        share = np.mean([offset.is_near(common.dx, common.dy) for offset in self.offsets])
        is_shifted = max(abs(common.dx), abs(common.dy)) >= NOTABLE / SIZE
        return common if is_shifted and common.peak >= CLEAR and share >= 0.4 else None

    def strays(self) -> list[PairOffset]:
        """The few pairs that lie clearly apart while the others do not, the clearest first.

        Where many do, as letters that are drawn slanted, it is no mistake.
        """
        if not self.offsets or _find_offset("", self._sum).at_zero < CLEAR:
            return []
        apart = [
            offset
            for offset in self.offsets
            if offset.peak >= CLEAR and offset.at_zero < offset.peak / 4 and not offset.is_near(0, 0)
        ]
        is_rare = len(apart) <= max(1, 0.03 * len(self.offsets))
        return sorted(apart, key=lambda offset: -offset.peak) if is_rare else []

    def strangers(self) -> list[str]:
        """Pairs whose images have no edges in common, of a data set in which all others do."""
        peaks = sorted(
            offset.peak for offset in self.offsets if offset.peak
        )  # 0 is a flat image, such as an empty mask
        if len(peaks) < 8 or (usual := peaks[len(peaks) // 10]) < CLEAR:
            return []
        return sorted(offset.name for offset in self.offsets if 0 < offset.peak < min(CLEAR, usual / 3))


def edges(image: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) magnitudes of the gradient of (H, W, C) pixels, faded out towards the border, of mean 0."""
    grey = grey_thumbnail(image, SIZE)
    slopes = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.asarray((slopes - slopes.mean()) * _WINDOW)


def describe_offset(offset: PairOffset) -> str:
    """In words, such as `2.3 % of the width to the right, 4.0 % of the height up`."""
    parts: Sequence[tuple[float, str, str, str]] = (
        (offset.dx, "width", "to the right", "to the left"),
        (offset.dy, "height", "down", "up"),
    )
    return ", ".join(
        f"{abs(share):.1%} of the {axis} {forward if share > 0 else backward}"
        for share, axis, forward, backward in parts
        if abs(share) >= 0.5 / SIZE
    )


def _find_offset(name: str, phases: np.ndarray) -> PairOffset:
    surface = np.fft.irfft2(phases, s=(SIZE, SIZE))
    spread = float(surface.std())
    if not spread:
        return PairOffset(name, 0.0, 0.0, 0.0, 0.0)
    y, x = np.unravel_index(surface.argmax(), surface.shape)
    dx = _centre(surface[y, (x - 1) % SIZE], surface[y, x], surface[y, (x + 1) % SIZE], int(x))
    dy = _centre(surface[(y - 1) % SIZE, x], surface[y, x], surface[(y + 1) % SIZE, x], int(y))
    near = surface[np.ix_((-1, 0, 1), (-1, 0, 1))]
    return PairOffset(name, dx / SIZE, dy / SIZE, float(surface.max()) / spread, float(near.max()) / spread)


def _centre(before: float, peak: float, after: float, place: int) -> float:
    """Where the parabola through a peak and its neighbours is highest; from the middle of the row on, below zero."""
    between = 0.5 * (before - after) / (before - 2 * peak + after) if before + after < 2 * peak else 0.0
    return float((place + SIZE // 2) % SIZE - SIZE // 2 + between)


_WINDOW = cv2.createHanningWindow((SIZE, SIZE), cv2.CV_32F)
# A Gaussian of one cell around the peak, which offsets between two cells would split otherwise.
_BLUR = np.exp(-2 * np.pi**2 * (np.fft.fftfreq(SIZE)[:, None] ** 2 + np.fft.rfftfreq(SIZE) ** 2)).astype(np.float32)
