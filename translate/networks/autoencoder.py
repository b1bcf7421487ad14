"""A discriminator that judges an image by how well it can describe it: an auto-encoder.

Zhao et al. 2017 (EBGAN), section 2.1 and appendix; Berthelot et al. 2017 (BEGAN), section 3.1. It gives energies, the
reconstruction errors, and so goes with the objectives that are made of them alone.
"""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from translate.errors import UserError, check_choice
from translate.networks.layers import (
    DomainLogits,
    Initialization,
    Norm,
    halving_layers,
    needs_bias,
    norm_layer,
)
from translate.networks.parametrized import draw_weights

Distance = Literal["l1", "l2"]
Energies = Float[Tensor, " batch"]


class Autoencoder(nn.Module):
    """Energies (B,) of images: the mean over pixels and channels of |image - decode(encode(image))|, or its square.

    With `num_domains` the output is a pair: the energies, and domain logits (B, num_domains) from the code.

    Args:
        in_channels: channels of what is judged (source and output together for a conditional discriminator).
        num_domains: domains to tell apart by a second output; 0 is none.
        num_layers: strided convolutions of the encoder, at least 1; the decoder doubles as often.
        width: filters of the first layer; they double per layer up to 8 * width.
        code: channels of the code between encoder and decoder.
        distance: `l1` (BEGAN) or `l2` (EBGAN).
        norm: normalisation after every convolution but the first and the last.
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time (see `Equalized`); `gain` is then that of batch
            norm alone.

    Raises:
        UserError: a choice that does not exist, or num_layers below 1.
    """

    judges_by: ClassVar = "energy"
    judged_channels: int | None = None
    """How many channels, the last ones, count in the energy; None is all. What it is shown beside them guides it."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_domains: int = 0,
        num_layers: int = 3,
        width: int = 64,
        code: int = 64,
        distance: Distance = "l2",
        norm: Norm = "batch",
        initialization: Initialization = "normal",
        gain: float = 0.02,
        spectral_norm: bool = False,
        equalized: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise UserError(f"discriminator.num_layers={num_layers} must be at least 1")
        check_choice("discriminator.distance", distance, ("l1", "l2"))
        self.norm: Norm = norm
        self.distance: Distance = distance
        self.min_size = 2**num_layers
        widths = [width * min(2**layer, 8) for layer in range(num_layers)]
        layers = halving_layers(in_channels, widths, norm)
        self.encoder = nn.Sequential(*layers, nn.Conv2d(widths[-1], code, 3, padding=1))
        self.decoder = nn.ModuleList()
        for before, after in zip([code, *reversed(widths[1:])], reversed(widths), strict=True):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=needs_bias(norm))
            self.decoder.append(nn.Sequential(convolution, norm_layer(norm, after), nn.LeakyReLU(0.2)))
        self.output = nn.Conv2d(width, in_channels, 3, padding=1)
        self.domain_head = nn.Conv2d(code, num_domains, 1) if num_domains else None
        draw_weights(
            self,
            "discriminator",
            initialization=initialization,
            gain=gain,
            spectral_norm=spectral_norm,
            equalized=equalized,
        )

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `encoder`, `decoder_1`, ..., and `domain_head`."""
        stages: dict[str, list[nn.Module]] = {"encoder": [self.encoder]}
        stages |= {f"decoder_{place}": [layer] for place, layer in enumerate([*self.decoder, self.output], start=1)}
        return stages if self.domain_head is None else stages | {"domain_head": [self.domain_head]}

    def encode(self, images: Float[Tensor, "batch in_channels height width"]) -> Float[Tensor, "batch features"]:
        """The codes of images, each as one vector."""
        codes: Tensor = self.encoder(images)
        return codes.flatten(1)

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Energies | tuple[Energies, DomainLogits]:
        code: Tensor = self.encoder(images)
        features = code
        for place, layer in enumerate(self.decoder, start=1):
            shrunk = len(self.decoder) - place
            features = layer(interpolate(features, [side >> shrunk for side in images.shape[2:]], mode="nearest"))
        error = images - self.output(features)
        if self.judged_channels is not None:
            error = error[:, -self.judged_channels :]
        energies = (error.abs() if self.distance == "l1" else error.square()).flatten(1).mean(1)
        return energies if self.domain_head is None else (energies, self.domain_head(code).mean((2, 3)))
