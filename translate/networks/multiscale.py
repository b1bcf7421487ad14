"""A discriminator that judges an image at several sizes, each with a PatchGAN of its own.

Wang et al. 2018 (pix2pixHD), section 3.2: the coarsest sees most of the image and guides the generator to a whole that
holds together, the finest to details.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from translate.errors import UserError
from translate.networks.layers import DomainLogits, Initialization, Norm, PatchLogits
from translate.networks.patchgan import PatchGAN


class MultiscaleDiscriminator(nn.Module):
    """Logits of overlapping patches of an image, of the image halved, halved again, ...: a list, finest first.

    With `num_domains` the output is a pair: that list, and the mean over the scales of domain logits (B, num_domains).

    Args:
        in_channels: channels of what is judged (source and output together for a conditional discriminator).
        num_domains: domains to tell apart by a second output; 0 is none.
        num_scales: how many PatchGANs, at least 1; each but the first sees half the height and width of the one before.
        num_layers: strided convolutions of each, 1 to 5.
        width: filters of the first layer of each; they double per layer up to 8 * width.
        norm: normalisation after every convolution but the first and the last.
        initialization: distribution of the first weights.
        gain: its scale.
        spectral_norm: divide weights by their largest singular value (Miyato et al. 2018).
        equalized: draw weights from N(0, 1) and scale them at run time, as a PatchGAN does.
        minibatch_stddev: give each PatchGAN a channel that says how varied the batch is.
        attention: let every place of each PatchGAN look at all others.

    Raises:
        UserError: num_scales below 1, or as `PatchGAN`.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_domains: int = 0,
        num_scales: int = 3,
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
        if num_scales < 1:
            raise UserError(f"discriminator.num_scales={num_scales} must be at least 1")
        judges = [
            PatchGAN(
                in_channels=in_channels,
                num_domains=num_domains,
                num_layers=num_layers,
                width=width,
                norm=norm,
                initialization=initialization,
                gain=gain,
                spectral_norm=spectral_norm,
                equalized=equalized,
                minibatch_stddev=minibatch_stddev,
                attention=attention,
            )
            for _ in range(num_scales)
        ]
        self.norm: Norm = norm
        self.num_domains = num_domains
        self.scales = nn.ModuleList(judges)
        self.min_size = (judges[-1].min_size - 1) * 2 ** (num_scales - 1) + 1  # an odd side is halved and rounded up

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `scale_1.layer_1`, ..., the finest scale first, with `scale_1.domain_head`."""
        return {
            f"scale_{place}.{name}": layers
            for place, judge in enumerate(self._judges, start=1)
            for name, layers in judge.stages.items()
        }

    @property
    def _judges(self) -> list[PatchGAN]:
        return list(self.scales)  # type: ignore[arg-type]

    def looks(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> list[tuple[PatchGAN, Float[Tensor, "batch in_channels rows columns"]]]:
        """Each PatchGAN with what it sees of images, finest first."""
        looks: list[tuple[PatchGAN, Tensor]] = []
        for judge in self._judges:
            if looks:
                images = avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            looks.append((judge, images))
        return looks

    def features(self, images: Float[Tensor, "batch in_channels height width"]) -> list[Tensor]:
        """What every stage but the last makes of images, the stages of the finest scale first."""
        return [features for judge, seen in self.looks(images) for features in judge.features(seen)]

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> list[PatchLogits] | tuple[list[PatchLogits], DomainLogits]:
        judged = [judge(seen) for judge, seen in self.looks(images)]
        if not self.num_domains:
            return judged
        return [logits for logits, _ in judged], torch.stack([domains for _, domains in judged]).mean(0)
