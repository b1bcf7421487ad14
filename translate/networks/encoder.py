"""The network that reads the code of an image, with which a generator would make it.

Zhu et al. 2017b (BicycleGAN), section 3. It is the head that holds the mutual information between a code and an image,
too: what it recovers of the code bounds it from below (InfoGAN, Chen et al. 2016, equation 5).
"""

from jaxtyping import Float
from torch import Tensor, nn

from translate.networks.layers import discriminator_stages, halving_layers, initialize

NUM_LAYERS = 4


class CodeEncoder(nn.Module):
    """Mean and log-variance, each (B, latent), of the normal distribution that the code of an image is drawn from.

    Four strided convolutions without normalisation, which would subtract the colours that codes are often about; the
    mean over all places, so that any size will do; a linear layer.

    Args:
        in_channels: channels of the images, which are in [-1, 1].
        latent: numbers of a code.
        width: filters of the first layer; they double per layer.
    """

    min_size = 2**NUM_LAYERS

    def __init__(self, *, in_channels: int, latent: int, width: int = 64) -> None:
        super().__init__()
        widths = [width * 2**layer for layer in range(NUM_LAYERS)]
        self.model = nn.Sequential(*halving_layers(in_channels, widths, "none"))
        self.head = nn.Linear(widths[-1], 2 * latent)
        initialize(self, "kaiming", 1.0)

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Its layers by stage: `layer_1` to `layer_4`, and `head`."""
        return discriminator_stages(self.model, None) | {"head": [self.head]}

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        mean, log_variance = self.head(self.model(images).mean((2, 3))).chunk(2, 1)
        return mean, log_variance
