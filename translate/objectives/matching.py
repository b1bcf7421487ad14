"""Feature matching: a generated image shall look to the discriminator's layers as the real one does."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import l1_loss


def feature_matching(
    features: Callable[[Tensor], Sequence[Tensor]],
    real: Float[Tensor, "batch channels height width"],
    fake: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, ""]:
    """Mean absolute difference of the features of real and generated images. Wang et al. 2018, equation 4.

    The mean over layers and scales, where the paper sums: with its four layers its weight of 10 is one of 40 here.

    Args:
        features: gives the maps that a discriminator's layers make of images.
        real: what the discriminator sees of real images; no gradients flow through it.
        fake: what it sees of generated ones.
    """
    with torch.no_grad():
        wanted = features(real)
    found = features(fake.to(real.dtype))
    return torch.stack([l1_loss(one, other) for one, other in zip(found, wanted, strict=True)]).mean()
