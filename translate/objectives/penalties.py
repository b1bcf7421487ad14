"""Penalties on the discriminator's gradient with respect to its input."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch channels height width"],
    fake: Float[Tensor, "batch channels height width"],
    alpha: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean squared distance of the gradient's norm from 1 between real and fake. Gulrajani et al. 2017, equation 3.

    At x = alpha * real + (1 - alpha) * fake: mean over the batch of (||grad_x sum D(x)||_2 - 1)^2.
    `discriminator` gives the logits of the bare network (double backward does not pass through a distributed wrapper),
    and runs at full precision. `alpha` is the interpolation draw, uniform in [0, 1] per image.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = alpha.view(-1, 1, 1, 1)
        between = (share * real + (1 - share) * fake).detach().requires_grad_(True)  # (B, C, H, W)
        logits = discriminator(between)
        (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
    return (slopes - 1).square().mean()
