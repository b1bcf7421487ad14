"""What shows a discriminator how varied a batch is. Karras et al. 2018 (ProGAN), section 3."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from translate.errors import UserError


class MinibatchStddev(nn.Module):
    """One more channel, the same everywhere: the mean over features and places of the standard deviation in the batch.

    In evaluation one image alone deviates by nothing.

    Raises:
        UserError: a batch of one image in training.
    """

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch more height width"]:
        if self.training and len(features) < 2:
            raise UserError(
                "discriminator.minibatch_stddev=true compares the images of a batch, and batch_size=1 has but one: use "
                "batch_size=2 or more"
            )
        deviation = (features.var(0, correction=0) + 1e-8).sqrt().mean()  # else its gradient at 0 is infinite
        return torch.cat([features, deviation.expand_as(features[:, :1])], 1)
