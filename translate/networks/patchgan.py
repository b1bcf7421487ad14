"""Discriminators that judge patches: one logit per overlapping patch instead of one per image.

Isola et al. 2017 (pix2pix), section 3.2.2 and appendix 6.1.2. Module names reproduce the reference
implementation's, so its weights load by name. Outputs are logits: the objective decides what they mean. With
`num_domains` they are a pair: the logits, and domain logits (B, num_domains) at any image size.
"""

from jaxtyping import Float
from torch import Tensor, nn

from translate.errors import UserError
from translate.networks.attention import SelfAttention
from translate.networks.layers import (
    DomainLogits,
    Initialization,
    Norm,
    PatchLogits,
    discriminator_stages,
    halving_layers,
    needs_bias,
    norm_layer,
    stage_features,
)
from translate.networks.minibatch import MinibatchStddev
from translate.networks.parametrized import draw_weights


class PatchGAN(nn.Module):
    """Logits of overlapping patches, 70x70 pixels each with the default 3 layers.

    Layers, receptive field and logits per side at 256 pixels: 1: 16, 126; 2: 34, 62; 3: 70, 30; 4: 142, 14; 5: 286, 6.

    Args:
        in_channels: channels of what is judged (source and output together for a conditional discriminator).
        num_domains: domains to tell apart by a second output: the mean over all places of what a convolution finds
            in the features that the logits are made of; 0 is none.
        num_layers: strided convolutions, 1 to 5.
        width: filters of the first layer; they double per layer up to 8 * width.
        norm: normalisation after every convolution but the first and the last.
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time (see `Equalized`); `gain` is then that of batch
            norm alone.
        minibatch_stddev: give the last convolution of the logits one more channel that says how varied the batch is
            (`MinibatchStddev`).
        attention: let every place look at all others (`SelfAttention`), after the last strided convolution: a logit is
            then one of the whole image.

    Raises:
        UserError: a choice that does not exist, two that do not go together, or num_layers outside 1 to 5; or, when
            called in training, one image with `minibatch_stddev`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_domains: int = 0,
        num_layers: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        initialization: Initialization = "normal",
        gain: float = 0.02,
        spectral_norm: bool = False,
        equalized: bool = False,
        minibatch_stddev: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= num_layers <= 5:
            raise UserError(f"discriminator.num_layers={num_layers} is not one of 1, 2, 3, 4, 5")
        self.norm: Norm = norm
        self.min_size = 2 ** (num_layers + 1) + 2**num_layers
        widths = [width * min(2**layer, 8) for layer in range(num_layers + 1)]
        layers = halving_layers(in_channels, widths, norm, last_stride=1)
        if attention:
            layers.insert(-3, SelfAttention(widths[-2]))
        if minibatch_stddev:
            layers.append(MinibatchStddev())
        self.model = nn.Sequential(*layers, nn.Conv2d(widths[-1] + minibatch_stddev, 1, 4, stride=1, padding=1))
        self.domain_head = nn.Conv2d(widths[-1], num_domains, 4, stride=1, padding=1) if num_domains else None
        draw_weights(
            self,
            "discriminator",
            initialization=initialization,
            gain=gain,
            spectral_norm=spectral_norm,
            equalized=equalized,
        )

    @property
    def logit_layers(self) -> nn.Sequential:
        """The layers from an image to its logits, one after the other."""
        return self.model

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `layer_1`, ..., the last of which gives the logits, and `domain_head`."""
        return discriminator_stages(self.model, self.domain_head)

    def features(self, images: Float[Tensor, "batch in_channels height width"]) -> list[Tensor]:
        """What every stage but the last makes of images."""
        return stage_features(self.model, images)

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> PatchLogits | tuple[PatchLogits, DomainLogits]:
        return _judge(images, self.model, self.domain_head)


class PixelDiscriminator(nn.Module):
    """A logit per pixel from 1x1 convolutions: it judges colours, not structure.

    Args:
        in_channels: channels of what is judged (source and output together for a conditional discriminator).
        num_domains: domains to tell apart by a second output: the mean over all places of what a convolution finds
            in the features that the logits are made of; 0 is none.
        width: filters of the first layer; the second has twice as many.
        norm: normalisation after the second convolution.
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time (see `Equalized`); `gain` is then that of batch
            norm alone.
    """

    min_size = 1

    def __init__(
        self,
        *,
        in_channels: int,
        num_domains: int = 0,
        width: int = 64,
        norm: Norm = "batch",
        initialization: Initialization = "normal",
        gain: float = 0.02,
        spectral_norm: bool = False,
        equalized: bool = False,
    ) -> None:
        super().__init__()
        self.norm: Norm = norm
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=needs_bias(norm)),
            norm_layer(norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=needs_bias(norm)),
        )
        self.domain_head = nn.Conv2d(2 * width, num_domains, 1) if num_domains else None
        draw_weights(
            self,
            "discriminator",
            initialization=initialization,
            gain=gain,
            spectral_norm=spectral_norm,
            equalized=equalized,
        )

    @property
    def logit_layers(self) -> nn.Sequential:
        """The layers from an image to its logits, one after the other."""
        return self.net

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `layer_1`, ..., the last of which gives the logits, and `domain_head`."""
        return discriminator_stages(self.net, self.domain_head)

    def features(self, images: Float[Tensor, "batch in_channels height width"]) -> list[Tensor]:
        """What every stage but the last makes of images."""
        return stage_features(self.net, images)

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> PatchLogits | tuple[PatchLogits, DomainLogits]:
        return _judge(images, self.net, self.domain_head)


def _judge(
    images: Tensor, layers: nn.Sequential, domain_head: nn.Conv2d | None
) -> PatchLogits | tuple[PatchLogits, DomainLogits]:
    if domain_head is None:
        logits: Tensor = layers(images)
        return logits
    last = 2 if isinstance(layers[-2], MinibatchStddev) else 1  # what differs in a batch says nothing of the domains
    features = layers[:-last](images)
    return layers[-last:](features), domain_head(features).mean((2, 3))
