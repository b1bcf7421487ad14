"""The networks of StarGAN: a generator that is told the domain by extra input channels, a discriminator that names it.

Choi et al. 2018, appendix tables 4 and 5. Module names reproduce the reference implementation's, so its weights load
by name. Both start from PyTorch's own draws, as there.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import instance_norm

from translate.errors import UserError
from translate.networks.layers import (
    DomainLogits,
    Norm,
    PatchLogits,
    check_labels,
    discriminator_stages,
    generator_stages,
    normalize_spectrally,
    stage_features,
)


class StarGANGenerator(nn.Module):
    """Maps images of `in_channels` to images of `out_channels`, both in [-1, 1], as label vectors say.

    Labels become constant channels after the image's. Instance norm subtracts a constant, so zero padding has to carry
    them from the borders: it is no choice here. Height and width must be multiples of `size_multiple` = 4 to come back
    unchanged.

    Args:
        in_channels: channels of the source images.
        out_channels: channels of the translated images.
        num_domains: length of the label vectors that say what to translate into; 0 is a generator without labels.
        num_blocks: residual blocks.
        width: filters of the first layer; the residual blocks have 4 * width.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).

    Raises:
        UserError: when called, labels that are missing or of another shape.
    """

    size_multiple = 4
    min_size = 8

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        num_domains: int = 0,
        num_blocks: int = 6,
        width: int = 64,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_domains = num_domains
        convolution = nn.Conv2d(in_channels + num_domains, width, 7, padding=3, bias=False)
        layers: list[nn.Module] = [convolution, ImageNorm(width), nn.ReLU()]
        for channels in (width, 2 * width):
            convolution = nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False)
            layers += [convolution, ImageNorm(2 * channels), nn.ReLU()]
        layers += [ResidualBlock(4 * width) for _ in range(num_blocks)]
        for channels in (4 * width, 2 * width):
            deconvolution = nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False)
            layers += [deconvolution, ImageNorm(channels // 2), nn.ReLU()]
        layers += [nn.Conv2d(width, out_channels, 7, padding=3, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        if spectral_norm:
            normalize_spectrally(self)

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `encoder_1` to `encoder_3`, `block_1`, ..., `decoder_1` to `decoder_3`."""
        return generator_stages(self.main)

    def forward(
        self,
        source: Float[Tensor, "batch in_channels height width"],
        labels: Float[Tensor, "batch num_domains"] | None = None,
    ) -> Float[Tensor, "batch out height width"]:
        check_labels(labels, source, self.num_domains)
        if labels is not None:
            maps = labels[:, :, None, None].expand(-1, -1, *source.shape[2:])  # (B, num_domains, H, W)
            source = torch.cat([source, maps], 1)
        output: Tensor = self.main(source)
        return output


class StarGANDiscriminator(nn.Module):
    """Logits of overlapping patches and, with `num_domains`, domain logits (B, num_domains) of the whole image.

    The domain logits come from a convolution as large as the last feature map, so with `num_domains` it takes images
    of `image_size` alone. It has no normalisation, and so goes with a gradient penalty.

    Args:
        in_channels: channels of what is judged (source and output together for a conditional discriminator).
        num_domains: domains to tell apart; 0 is none, and logits alone are returned.
        image_size: height and width of the images with `num_domains`, a multiple of 2 ** num_layers.
        width: filters of the first layer; they double per layer.
        num_layers: strided convolutions.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).

    Raises:
        UserError: num_layers below 1, or an image_size that it does not divide; when called with `num_domains`, images
            of another size.
    """

    norm: Norm = "none"

    def __init__(
        self,
        *,
        in_channels: int,
        num_domains: int = 0,
        image_size: int = 128,
        width: int = 64,
        num_layers: int = 6,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise UserError(f"discriminator.num_layers={num_layers}: it needs at least 1")
        self.image_size = image_size if num_domains else None
        self.min_size = 2**num_layers
        if num_domains and (image_size < 1 or image_size % self.min_size):
            fitting = max((layers for layers in range(1, num_layers) if image_size % 2**layers == 0), default=0)
            remedies = [f"discriminator.num_layers={fitting}"] if fitting and image_size > 0 else []
            remedies.append(f"image_size={max(-(-image_size // self.min_size), 1) * self.min_size}")
            raise UserError(
                f"discriminator.num_layers={num_layers} halves images {num_layers} times, and image_size={image_size} "
                f"is no multiple of {self.min_size}: use {' or '.join(remedies)}"
            )
        layers: list[nn.Module] = []
        for layer in range(num_layers):
            channels = width * 2 ** (layer - 1) if layer else in_channels
            layers += [nn.Conv2d(channels, width * 2**layer, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        channels = width * 2 ** (num_layers - 1)
        self.conv1 = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        side = image_size // self.min_size
        self.conv2 = nn.Conv2d(channels, num_domains, side, bias=False) if num_domains else None
        if spectral_norm:
            normalize_spectrally(self)

    @property
    def logit_layers(self) -> nn.Sequential:
        """The layers from an image to its logits, one after the other."""
        return nn.Sequential(*self.main, self.conv1)

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `layer_1`, ..., the last of which gives the logits, and `domain_head`."""
        return discriminator_stages(self.logit_layers, self.conv2)

    def features(self, images: Float[Tensor, "batch in_channels height width"]) -> list[Tensor]:
        """What every stage but the last makes of images."""
        return stage_features(self.logit_layers, images)

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> PatchLogits | tuple[PatchLogits, DomainLogits]:
        height, width = images.shape[2:]
        if self.conv2 is not None and (height, width) != (self.image_size, self.image_size):
            raise UserError(
                f"this StarGAN discriminator was made for image_size={self.image_size} and names the domain of images "
                f"of that size alone, not of {height}x{width}: use discriminator=patchgan for other sizes"
            )
        features = self.main(images)
        logits: Tensor = self.conv1(features)
        return logits if self.conv2 is None else (logits, self.conv2(features).flatten(1))


class ImageNorm(nn.InstanceNorm2d):
    """Instance norm with a learned scale and shift that uses each image's own statistics always.

    The reference implementation gathers running statistics too, saves them, and never evaluates with them. Here they
    are kept for the files alone: never updated, and not used unless `running_at_test` says so, which makes evaluation
    mode what it would be there.
    """

    running_at_test = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True, track_running_stats=True)

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        if self.running_at_test and not self.training:
            return super().forward(features)
        return instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)


class ResidualBlock(nn.Module):
    """x + F(x) with two 3x3 convolutions and no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.main = nn.Sequential(first, ImageNorm(channels), nn.ReLU(), second, ImageNorm(channels))

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = features + self.main(features)
        return output
