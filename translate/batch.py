"""What a data set hands to a method: batches of images.

As loaded, images are (B, C, H, W) in the data's own type, uint8, uint16 or float32. The engine moves a batch to the
device and brings its images to float in [-1, 1] before a method sees it.
"""

from typing import NamedTuple

from torch import Tensor


class Pair(NamedTuple):
    """Images and what they should become, aligned pixel by pixel."""

    source: Tensor
    target: Tensor


class Unpaired(NamedTuple):
    """Images of two kinds that know nothing of one another, but for how many there are."""

    source: Tensor
    target: Tensor


class Labeled(NamedTuple):
    """Images, the domains they show, and the domains they are to be translated into.

    `labels` and `targets` are (B, width) vectors of 0 and 1 as `translate.domains.Domains` lays them out.
    """

    images: Tensor
    labels: Tensor
    targets: Tensor


BatchType = type[Pair] | type[Unpaired] | type[Labeled]
DESCRIBED: dict[BatchType, str] = {
    Pair: "pairs of aligned images (data=paired)",
    Unpaired: "images of two kinds (data=unpaired)",
    Labeled: "images labelled with their domain (data=domains)",
}
"""What each kind of batch is made of, in a user's words."""
