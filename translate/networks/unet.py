"""The U-Net generator: an encoder and a decoder with a skip connection at every scale.

Ronneberger et al. 2015; as a generator Isola et al. 2017 (pix2pix), section 3.2.1. Module names reproduce the
reference implementation's, so its weights load by name.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from translate.errors import UserError
from translate.networks.attention import SelfAttention
from translate.networks.layers import (
    Initialization,
    Norm,
    Padding,
    TakesLabels,
    Upsample,
    check_latent,
    condition,
    needs_bias,
    norm_layer,
    padding_mode,
    run_layers,
    upsampling_layer,
)
from translate.networks.parametrized import draw_weights

ATTENTION_LEVEL = 2
"""The level that may have self-attention, counted from 0 at full size: its maps are an eighth of the image."""


class UNet(nn.Module):
    """Maps images of `in_channels` to images of `out_channels`, both in [-1, 1] and of equal size.

    Height and width must be multiples of `size_multiple` = 2 ** num_downs. With `num_domains` it translates into what
    label vectors say, by normalisation that is conditional on them; with `latent` in the same way as a code says, of
    which zeros are the middle.

    Args:
        in_channels: channels of the source images.
        out_channels: channels of the translated images.
        num_domains: length of the label vectors that say what to translate into; 0 is a generator without labels.
        latent: numbers of the code that chooses among several translations of one image; 0 is a generator of one.
        num_downs: how often the image is halved; 8 brings 256 pixels down to 1.
        width: filters of the outermost level; they double per level up to 8 * width.
        norm: normalisation after every convolution but the first, the innermost and the last.
        dropout: probability of dropping a feature in the widest levels of the decoder (0.5 in the paper, 0 is off).
        upsample: `deconv` as in the paper, or `resize` against checkerboards.
        padding: border of the strided convolutions (transposed convolutions know only zero).
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time (see `Equalized`); `gain` is then that of batch
            norm alone.
        attention: let every place look at all others (`SelfAttention`), where the image has been halved three times
            (fewer in a shallow network: all but once), before it is halved again.

    Raises:
        UserError: a choice that does not exist, two that do not go together, num_downs below 2, or a negative latent;
            or, when called, a size that is no multiple, labels that are missing, or labels or a code of another shape.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        num_domains: int = 0,
        latent: int = 0,
        num_downs: int = 8,
        width: int = 64,
        norm: Norm = "batch",
        dropout: float = 0.0,
        upsample: Upsample = "deconv",
        padding: Padding = "zero",
        initialization: Initialization = "normal",
        gain: float = 0.02,
        spectral_norm: bool = False,
        equalized: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        if num_downs < 2:
            raise UserError(f"generator.num_downs={num_downs}: a U-Net needs at least 2")
        check_latent(latent)
        self.num_domains = num_domains
        self.latent = latent
        self.size_multiple = 2**num_downs
        widths = [width * min(2**level, 8) for level in range(num_downs)]
        block: SkipBlock | None = None
        for level in reversed(range(num_downs)):
            is_widest_middle = 0 < level < num_downs - 1 and widths[level - 1] == 8 * width
            block = SkipBlock(
                image_channels=(in_channels, out_channels) if level == 0 else None,
                outer=widths[max(level - 1, 0)],
                inner=widths[level],
                inside=block,
                num_domains=num_domains + latent,
                norm=norm,
                dropout=dropout if is_widest_middle else 0.0,
                upsample=upsample,
                padding=padding,
                attention=attention and level == min(ATTENTION_LEVEL, num_downs - 2),
            )
        assert block is not None
        self.model = block
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
        """Its layers by stage, as images pass them: `encoder_1` to `encoder_n`, then `decoder_1` to `decoder_n`; and
        `attention`."""
        encoder: list[list[nn.Module]] = []
        decoder: list[list[nn.Module]] = []
        attention: list[nn.Module] = []
        block: SkipBlock | None = self.model
        while block is not None:
            down, block, up = block.parts
            attention += [layer for layer in down if isinstance(layer, SelfAttention)]
            encoder.append([layer for layer in down if not isinstance(layer, SelfAttention)])
            decoder.insert(0, up)
        stages = {f"encoder_{count}": layers for count, layers in enumerate(encoder, start=1)}
        stages |= {f"decoder_{count}": layers for count, layers in enumerate(decoder, start=1)}
        return stages | ({"attention": attention} if attention else {})

    def forward(
        self,
        source: Float[Tensor, "batch in_channels height width"],
        labels: Float[Tensor, "batch num_domains"] | None = None,
        code: Float[Tensor, "batch latent"] | None = None,
    ) -> Float[Tensor, "batch out height width"]:
        told = condition(source, labels, code, num_domains=self.num_domains, latent=self.latent)
        multiple = self.size_multiple
        if source.shape[2] % multiple or source.shape[3] % multiple:
            raise UserError(
                f"a U-Net of this depth takes sizes that are multiples of {multiple}, not {tuple(source.shape[2:])}"
            )
        output: Tensor = self.model(source, told)
        return output


class SkipBlock(TakesLabels):
    """One scale: halve, run what is `inside`, double; then concatenate the input, except at the outermost scale.

    `image_channels` (of source and output) marks the outermost block; `inside=None` the innermost.
    """

    def __init__(
        self,
        *,
        image_channels: tuple[int, int] | None,
        outer: int,
        inner: int,
        inside: "SkipBlock | None",
        num_domains: int,
        norm: Norm,
        dropout: float,
        upsample: Upsample,
        padding: Padding,
        attention: bool,
    ) -> None:
        super().__init__()
        self.is_outermost = image_channels is not None
        in_channels, out_channels = image_channels or (outer, outer)
        bias = needs_bias(norm)
        down = nn.Conv2d(in_channels, inner, 4, stride=2, padding=1, padding_mode=padding_mode(padding), bias=bias)
        up = upsampling_layer(
            upsample,
            inner if inside is None else 2 * inner,
            out_channels,
            kernel=4,
            padding=padding,
            bias=bias or self.is_outermost,
        )
        look = [SelfAttention(inner)] if attention else []
        layers: list[nn.Module]
        if self.is_outermost:
            assert inside is not None
            layers = [down, *look, inside, nn.ReLU(), up, nn.Tanh()]
        elif inside is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm_layer(norm, outer, num_domains)]
        else:
            middle = [norm_layer(norm, inner, num_domains), *look, inside, nn.ReLU()]
            layers = [nn.LeakyReLU(0.2), down, *middle, up, norm_layer(norm, outer, num_domains)]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.model = nn.Sequential(*layers)

    @property
    def parts(self) -> "tuple[list[nn.Module], SkipBlock | None, list[nn.Module]]":
        """What halves, what is inside, and what doubles."""
        layers = list(self.model)
        for place, layer in enumerate(layers):
            if isinstance(layer, SkipBlock):
                return layers[:place], layer, layers[place + 1 :]
        return layers[:2], None, layers[2:]

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        output = run_layers(self.model, features, labels)
        return output if self.is_outermost else torch.cat([features, output], 1)
