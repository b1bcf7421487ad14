"""The ResNet generator: two strided convolutions, residual blocks at a quarter of the size, two upsamplings.

Johnson et al. 2016; as a generator Zhu et al. 2017 (CycleGAN), appendix 7.2. Module names reproduce the reference
implementation's, so its weights load by name.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad

from translate.errors import check_choice
from translate.networks.attention import SelfAttention
from translate.networks.layers import (
    Initialization,
    Norm,
    Padding,
    TakesLabels,
    check_latent,
    condition,
    generator_stages,
    needs_bias,
    norm_layer,
    padding_layer,
    run_layers,
    upsampling_layer,
)
from translate.networks.parametrized import draw_weights

Downsample = Literal["stride", "blur"]
Upsample = Literal["deconv", "resize", "blur"]


class ResNet(nn.Module):
    """Maps images of `in_channels` to images of `out_channels`, both in [-1, 1].

    Height and width must be multiples of `size_multiple` = 4 to come back unchanged. With `num_domains` it translates
    into what label vectors say, by normalisation that is conditional on them; with `latent` in the same way as a code
    says, of which zeros are the middle.

    Args:
        in_channels: channels of the source images.
        out_channels: channels of the translated images.
        num_domains: length of the label vectors that say what to translate into; 0 is a generator without labels.
        latent: numbers of the code that chooses among several translations of one image; 0 is a generator of one.
        num_blocks: residual blocks (the papers: 6 for 128 pixels, 9 for 256).
        width: filters of the first layer; the residual blocks have 4 * width.
        norm: normalisation after every convolution but the last.
        dropout: probability of dropping a feature inside each residual block (0 is off).
        downsample: `stride`, convolutions of stride 2 as in the paper; or `blur`, which blurs before it halves (Zhang
            2019), as CUT does (Park et al. 2020).
        upsample: `deconv` as in the paper, `resize` against checkerboards, or `blur`, which enlarges by interpolation
            before it convolves, as CUT does.
        padding: border of the 7x7 convolutions and of the residual blocks.
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time (see `Equalized`); `gain` is then that of batch
            norm alone.
        attention: let every place look at all others (`SelfAttention`), in the middle of the residual blocks.

    Raises:
        UserError: a choice that does not exist, two that do not go together, or a negative latent; or, when called,
            labels that are missing, or labels or a code of another shape.
    """

    size_multiple = 4
    min_size = 8

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        num_domains: int = 0,
        latent: int = 0,
        num_blocks: int = 9,
        width: int = 64,
        norm: Norm = "instance",
        dropout: float = 0.0,
        downsample: Downsample = "stride",
        upsample: Upsample = "deconv",
        padding: Padding = "reflect",
        initialization: Initialization = "normal",
        gain: float = 0.02,
        spectral_norm: bool = False,
        equalized: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        check_choice("downsample", downsample, ("stride", "blur"))
        check_choice("upsample", upsample, ("deconv", "resize", "blur"))
        check_latent(latent)
        self.num_domains = num_domains
        self.latent = latent
        told = num_domains + latent
        bias = needs_bias(norm)
        layers: list[nn.Module] = [
            padding_layer(padding, 3),
            nn.Conv2d(in_channels, width, 7, bias=bias),
            norm_layer(norm, width, told),
            nn.ReLU(),
        ]
        for channels in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2 if downsample == "stride" else 1, padding=1, bias=bias),
                norm_layer(norm, 2 * channels, told),
                nn.ReLU(),
            ]
            if downsample == "blur":
                layers.append(BlurDown(2 * channels))
        blocks: list[nn.Module] = [
            ResidualBlock(4 * width, num_domains=told, norm=norm, dropout=dropout, padding=padding)
            for _ in range(num_blocks)
        ]
        if attention:
            blocks.insert(num_blocks // 2, SelfAttention(4 * width))
        layers += blocks
        for channels in (4 * width, 2 * width):
            if upsample == "blur":
                layers += [BlurUp(channels), nn.Conv2d(channels, channels // 2, 3, padding=1, bias=bias)]
            else:
                layers.append(upsampling_layer(upsample, channels, channels // 2, kernel=3, padding=padding, bias=bias))
            layers += [norm_layer(norm, channels // 2, told), nn.ReLU()]
        layers += [padding_layer(padding, 3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        draw_weights(
            self,
            "generator",
            initialization=initialization,
            gain=gain,
            spectral_norm=spectral_norm,
            equalized=equalized,
        )

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `encoder_1` to `encoder_3`, `block_1`, ..., `decoder_1` to `decoder_3`, `attention`."""
        return generator_stages(self.model)

    def forward(
        self,
        source: Float[Tensor, "batch in_channels height width"],
        labels: Float[Tensor, "batch num_domains"] | None = None,
        code: Float[Tensor, "batch latent"] | None = None,
    ) -> Float[Tensor, "batch out height width"]:
        told = condition(source, labels, code, num_domains=self.num_domains, latent=self.latent)
        return run_layers(self.model, source, told)


class ResidualBlock(TakesLabels):
    """x + F(x) with two 3x3 convolutions and, as in the reference, no activation after the sum."""

    def __init__(self, channels: int, *, num_domains: int, norm: Norm, dropout: float, padding: Padding) -> None:
        super().__init__()
        first, second = (self._convolution(channels, num_domains, norm, padding) for _ in range(2))
        drop = [nn.Dropout(dropout)] if dropout else []
        self.conv_block = nn.Sequential(*first, nn.ReLU(), *drop, *second)

    @staticmethod
    def _convolution(channels: int, num_domains: int, norm: Norm, padding: Padding) -> list[nn.Module]:
        # Zero padding belongs to the convolution here: the reference numbers its layers so.
        border = [] if padding == "zero" else [padding_layer(padding, 1)]
        convolution = nn.Conv2d(channels, channels, 3, padding=1 if padding == "zero" else 0, bias=needs_bias(norm))
        return [*border, convolution, norm_layer(norm, channels, num_domains)]

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return features + run_layers(self.conv_block, features, labels)


class BlurDown(nn.Module):
    """Blur by [1, 2, 1] / 4 in both directions, then keep every second pixel (Zhang 2019): shifts alias less.

    The filter is a buffer (channels, 1, 3, 3), which the reference implementation saves with the weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _filter(channels, (1.0, 2.0, 1.0)))
        self.filt: Tensor

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        return conv2d(pad(features, [1] * 4, mode="reflect"), self.filt, stride=2, groups=len(self.filt))


class BlurUp(nn.Module):
    """Double height and width: zeros between the pixels, blurred by [1, 3, 3, 1] / 4 in both directions.

    That is bilinear interpolation. The filter is a buffer (channels, 1, 4, 4), as in `BlurDown`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", 4 * _filter(channels, (1.0, 3.0, 3.0, 1.0)))
        self.filt: Tensor

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        padded = pad(features, [1] * 4, mode="replicate")
        return conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=len(self.filt))


def _filter(channels: int, row: tuple[float, ...]) -> Tensor:
    """The filter (channels, 1, len(row), len(row)) of sum 1 that is `row` in both directions."""
    square = torch.outer(torch.tensor(row), torch.tensor(row))
    return (square / square.sum()).repeat(channels, 1, 1, 1)
