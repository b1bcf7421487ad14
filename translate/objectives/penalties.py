"""Penalties on the discriminator's gradient with respect to its input.

Each function named after a penalty makes a `GradientPenalty`: points to look at, and what a slope there costs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import conv_transpose2d, relu
from torch.nn.utils.parametrize import is_parametrized

from translate.errors import UserError

Points = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Points (B, C, H, W) from real and generated images of that shape, and draws (B, 1, 1, 1) from U(0, 1)."""


@dataclass(frozen=True)
class GradientPenalty:
    """Weight times the mean over points x of cost(||grad_x sum D(x)||_2), which a discriminator minimises too.

    Attributes:
        points: where the gradient is taken.
        cost: from slopes (B,) to costs (B,).
        weight: its weight.
        wanted_slope: the slope at which it costs least.
        every: steps between two applications, each of which then counts as many times (Karras et al. 2020, StyleGAN2,
            appendix B: lazy regularisation).
    """

    points: Points
    cost: Callable[[Tensor], Tensor]
    weight: float
    every: int = 1
    wanted_slope: float = 0.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise UserError(f"gradient_penalty.weight={self.weight} must be more than 0; gradient_penalty=none is off")
        if self.every < 1:
            raise UserError(f"gradient_penalty.every={self.every} must be at least 1")

    @property
    def bounds_slopes(self) -> bool:
        """Whether slopes are kept small wherever images may lie, and not at some of them alone."""
        return self.points is between

    def applies(self, step: int) -> bool:
        """Whether the discriminator pays it in the step after `step` steps."""
        return step % self.every == 0

    def __call__(
        self,
        discriminator: nn.Module,
        real: Float[Tensor, "batch channels height width"],
        fake: Float[Tensor, "batch channels height width"],
        draws: Float[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """What it costs, in a step in which it applies.

        `discriminator` is the bare network (double backward does not pass through a distributed wrapper), and runs at
        full precision. `draws` are from U(0, 1), one per image.
        """
        with torch.autocast(real.device.type, enabled=False):
            points = self.points(real, fake, draws.view(-1, 1, 1, 1)).detach()
            gradient = input_gradient(discriminator, points)
        slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)  # (B,)
        return self.every * self.weight * self.cost(slopes).mean()


def two_sided(*, weight: float = 10.0, every: int = 1) -> GradientPenalty:
    """(slope - 1)^2 between real and fake. Gulrajani et al. 2017 (WGAN-GP), equation 3.

    Args:
        weight: lambda (10 in the paper).
        every: steps between two applications.
    """
    return GradientPenalty(between, lambda slopes: (slopes - 1).square(), weight, every, wanted_slope=1.0)


def one_sided(*, weight: float = 10.0, every: int = 1) -> GradientPenalty:
    """max(0, slope - 1)^2 between real and fake. Petzka et al. 2018 (WGAN-LP), equation 8.

    Args:
        weight: lambda.
        every: steps between two applications.
    """
    return GradientPenalty(between, lambda slopes: relu(slopes - 1).square(), weight, every, wanted_slope=1.0)


def zero_centered(*, weight: float = 10.0, every: int = 1) -> GradientPenalty:
    """slope^2 between real and fake. Thanh-Tung et al. 2019, equation 9.

    Args:
        weight: lambda.
        every: steps between two applications.
    """
    return GradientPenalty(between, torch.square, weight, every)


def r1(*, weight: float = 10.0, every: int = 1) -> GradientPenalty:
    """slope^2 / 2 at real images. Mescheder et al. 2018, equation 9.

    Args:
        weight: gamma.
        every: steps between two applications (16 in StyleGAN2).
    """
    return GradientPenalty(lambda real, fake, draws: real, lambda slopes: slopes.square() / 2, weight, every)


def r2(*, weight: float = 10.0, every: int = 1) -> GradientPenalty:
    """slope^2 / 2 at generated images. Mescheder et al. 2018, equation 10.

    Args:
        weight: gamma.
        every: steps between two applications.
    """
    return GradientPenalty(lambda real, fake, draws: fake, lambda slopes: slopes.square() / 2, weight, every)


def dragan(*, weight: float = 10.0, perturbation: float = 0.5, every: int = 1) -> GradientPenalty:
    """(slope - 1)^2 around real images. Kodali et al. 2017 (DRAGAN), section 2.3 and algorithm 1.

    A point lies, by a draw per image, between a real image and that image with noise: perturbation times the standard
    deviation of the real images, times U(0, 1) per pixel.

    Args:
        weight: lambda.
        perturbation: the noise, in standard deviations of the real images.
        every: steps between two applications.
    """

    def around(real: Tensor, fake: Tensor, draws: Tensor) -> Tensor:
        return real + draws * perturbation * real.std() * torch.rand_like(real)

    return GradientPenalty(around, lambda slopes: (slopes - 1).square(), weight, every, wanted_slope=1.0)


def between(real: Tensor, fake: Tensor, draws: Tensor) -> Tensor:
    """draws * real + (1 - draws) * fake."""
    return draws * real + (1 - draws) * fake


def input_gradient(
    discriminator: nn.Module, images: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch channels height width"]:
    """The gradient of the sum of a discriminator's logits with respect to images, differentiable in its weights."""
    layers = getattr(discriminator, "logit_layers", None)
    if layers is not None and is_piecewise_linear(layers):
        return piecewise_linear_gradient(layers, images)
    images.requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH):  # the others cannot be differentiated twice
        judged = discriminator(images)
    logits = judged[0] if isinstance(judged, tuple) else judged
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def is_piecewise_linear(layers: Iterable[nn.Module]) -> bool:
    """Whether these are plain convolutions with zero padding and (leaky) rectifiers alone."""
    return all(
        isinstance(layer, nn.LeakyReLU | nn.ReLU | nn.Identity)
        or (
            isinstance(layer, nn.Conv2d)
            and layer.padding_mode == "zeros"
            and isinstance(layer.padding, tuple)
            and (layer.groups, layer.dilation) == (1, (1, 1))
            and not is_parametrized(layer)  # its weights would change from one look to the next
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
