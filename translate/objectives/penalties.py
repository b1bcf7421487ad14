"""Penalties on the discriminator's gradient with respect to its input."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d


def gradient_penalty(
    discriminator: nn.Module,
    real: Float[Tensor, "batch channels height width"],
    fake: Float[Tensor, "batch channels height width"],
    alpha: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean squared distance of the gradient's norm from 1 between real and fake. Gulrajani et al. 2017, equation 3.

    At x = alpha * real + (1 - alpha) * fake: mean over the batch of (||grad_x sum D(x)||_2 - 1)^2. `discriminator` is
    the bare network (double backward does not pass through a distributed wrapper), and runs at full precision. `alpha`
    is the interpolation draw, uniform in [0, 1] per image.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = alpha.view(-1, 1, 1, 1)
        between = (share * real + (1 - share) * fake).detach()  # (B, C, H, W)
        layers = getattr(discriminator, "logit_layers", None)
        if layers is not None and is_piecewise_linear(layers):
            gradient = piecewise_linear_gradient(layers, between)
        else:
            between.requires_grad_(True)
            judged = discriminator(between)
            logits = judged[0] if isinstance(judged, tuple) else judged
            (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
    return (slopes - 1).square().mean()


def is_piecewise_linear(layers: Iterable[nn.Module]) -> bool:
    """Whether these are plain convolutions with zero padding and (leaky) rectifiers alone."""
    return all(
        isinstance(layer, nn.LeakyReLU | nn.ReLU | nn.Identity)
        or (
            isinstance(layer, nn.Conv2d)
            and layer.padding_mode == "zeros"
            and isinstance(layer.padding, tuple)
            and (layer.groups, layer.dilation) == (1, (1, 1))
        )
        for layer in layers
    )


def piecewise_linear_gradient(
    layers: Iterable[nn.Module], images: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch channels height width"]:
    """The gradient of the sum of the last layer's output with respect to `images`, differentiable in the weights.

    Between the kinks of the rectifiers such a network is linear, so its gradient is the product of the transposed
    convolutions with constant masks. Written out it costs one pass forwards and one backwards, where differentiating
    a backward pass costs several more. For layers that `is_piecewise_linear` accepts.
    """
    features = images
    backwards: list[Callable[[Tensor], Tensor]] = []
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                backwards.append(partial(_through_convolution, layer, features.shape[2:]))
            elif isinstance(layer, nn.LeakyReLU | nn.ReLU):
                backwards.append(partial(_through_rectifier, getattr(layer, "negative_slope", 0.0), features > 0))
            features = layer(features)
    gradient = torch.ones_like(features)
    for step in reversed(backwards):
        gradient = step(gradient)
    return gradient


def _through_rectifier(slope: float, is_positive: Tensor, gradient: Tensor) -> Tensor:
    return torch.where(is_positive, gradient, gradient * slope)


def _through_convolution(layer: nn.Conv2d, size: torch.Size, gradient: Tensor) -> Tensor:
    padding = [int(each) for each in layer.padding]
    # Rows and columns at the end that the stride passes over get no gradient.
    passed_over = [
        size[axis] - ((gradient.shape[2 + axis] - 1) * layer.stride[axis] - 2 * padding[axis] + layer.kernel_size[axis])
        for axis in (0, 1)
    ]
    return conv_transpose2d(gradient, layer.weight, stride=layer.stride, padding=padding, output_padding=passed_over)
