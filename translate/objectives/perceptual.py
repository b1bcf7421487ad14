"""Perceptual loss: images are compared by what a network that was trained to recognise things makes of them.

Johnson et al. 2016, with the layers and weights of Wang et al. 2018 (pix2pixHD).
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.errors import UserError

LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
"""relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 by their place in VGG19, with their weights."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, in [0, 1], by which VGG19 expects images to be normalised."""
FILE = "vgg19-dcbb9e9d.pth"
SMALLEST = 16
"""Pixels per side that are left with one after four halvings."""
DOWNLOAD = "download"
REMEDY = f"method.perceptual_weights=FILE, a file of torchvision's VGG19 weights ({FILE})"


class PerceptualLoss:
    """Sum over layers of weight times the mean absolute difference of VGG19's features of two batches of images.

    The network is no part of what trains: it is read when it is first needed, and never where a trained model
    translates.

    Args:
        weights: file of torchvision's VGG19 weights (.pth or .safetensors), or `download`; None is refused.
        channels: channels of the images: 3, or 1, which VGG19 is shown as grey.

    Raises:
        UserError: no weights, or other channels.
    """

    def __init__(self, weights: str | None, *, channels: int) -> None:
        if weights is None:
            raise UserError(
                f"method.perceptual_weight needs VGG19's weights: give {REMEDY}, or "
                f"method.perceptual_weights={DOWNLOAD}, which fetches them once"
            )
        if channels not in (1, 3):
            raise UserError(
                f"method.perceptual_weight compares images by VGG19, which takes 3 channels, or 1 as grey, not the "
                f"{channels} of the target: use method.perceptual_weight=0, or images of 1 or 3 channels"
            )
        self.weights = weights
        self.network: nn.Sequential | None = None

    def load(self) -> nn.Sequential:
        """VGG19 up to the last layer that counts, read the first time.

        Raises:
            UserError: the weights cannot be had, or are others.
        """
        if self.network is None:
            self.network = vgg19_layers(self.weights)
        return self.network

    def __call__(
        self,
        output: Float[Tensor, "batch channels height width"],
        target: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, ""]:
        """The loss of images in [-1, 1]; gradients flow into `output` alone. Errors as `load`, or images too small."""
        if min(target.shape[2:]) < SMALLEST:
            raise UserError(
                f"method.perceptual_weight halves images four times, which takes {SMALLEST} pixels per side at least, "
                f"not {min(target.shape[2:])}: use a larger image_size, or method.perceptual_weight=0"
            )
        network = self.load().to(target)
        with torch.no_grad():
            wanted = _features(network, target)
        found = _features(network, output.to(target.dtype))
        losses = [LAYERS[place] * l1_loss(found[place], wanted[place]) for place in wanted]
        return torch.stack(losses).sum()


def vgg19_layers(weights: str) -> nn.Sequential:
    """The layers of VGG19 up to relu5_1, which take normalised images of 3 channels; none of them learns.

    Args:
        weights: a file, or `download`.

    Raises:
        UserError: the weights cannot be had, or are others.
    """
    from torchvision.models import vgg19  # late: takes seconds, and translating needs none of it

    # Whatever device is the default: a run is checked without memory first.
    with torch.device("meta"):
        layers: nn.Sequential = vgg19(init_weights=False).features[: max(LAYERS) + 1]
    path = Path(weights).expanduser()
    tensors = _read(weights, path.stat().st_mtime_ns if path.is_file() else 0)
    try:
        layers.load_state_dict({name: tensors[f"features.{name}"] for name in layers.state_dict()}, assign=True)
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"method.perceptual_weights={weights} holds other weights than VGG19's: use {REMEDY}"
        ) from error
    return layers.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def _read(weights: str, changed: int) -> Mapping[str, Tensor]:
    """The tensors of VGG19's layers, read once for all that a process does with them.

    `changed` is when the file was written: another one is read again.
    """
    try:
        with torch.device("cpu"):
            tensors = _download() if weights == DOWNLOAD else _open(Path(weights).expanduser())
    except Exception as error:  # of many kinds: no connection, no such file, no such format
        if weights == DOWNLOAD:
            raise UserError(
                f"method.perceptual_weights={DOWNLOAD}: VGG19's weights could not be downloaded ({error}): put the "
                f"file somewhere and give its path with {REMEDY}"
            ) from error
        raise UserError(
            f"method.perceptual_weights={weights} cannot be read ({_first_line(error)}): use {REMEDY}"
        ) from error
    return {name: tensor.detach().float() for name, tensor in tensors.items() if name.startswith("features.")}


def _open(path: Path) -> Mapping[str, Tensor]:
    if path.suffix.lower() == ".safetensors":
        return load_file(path)
    try:
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of many kinds, with messages on how to run what is inside all the same
        raise ValueError("it is damaged, or holds more than tensors") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError("it holds no tensors by name")
    return tensors


def _download() -> Mapping[str, Tensor]:
    from torchvision.models import VGG19_Weights

    tensors: Mapping[str, Tensor] = VGG19_Weights.IMAGENET1K_V1.get_state_dict(
        progress=False, check_hash=True, map_location="cpu"
    )
    return tensors


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _features(network: nn.Sequential, images: Tensor) -> dict[int, Tensor]:
    """What the layers that count make of images in [-1, 1], by their place."""
    channels = ((images + 1) / 2).expand(-1, 3, -1, -1).unbind(1)
    normalized = [(each - mean) / deviation for each, mean, deviation in zip(channels, MEAN, DEVIATION, strict=True)]
    images = torch.stack(normalized, 1)
    features = {}
    for place, layer in enumerate(network):
        images = layer(images)
        if place in LAYERS:
            features[place] = images
    return features
