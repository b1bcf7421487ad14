"""What a data set hands to a method: batches of images."""

from typing import NamedTuple

from torch import Tensor


class Pair(NamedTuple):
    """Images and what they should become, aligned pixel by pixel.

    As loaded: (B, C, H, W) in the data's own type, uint8, uint16 or float32. The engine moves them to the device and
    brings both to float in [-1, 1] before a method sees them.
    """

    source: Tensor
    target: Tensor
