"""Metrics that need weights trained elsewhere. They are looked for on the disk, and never downloaded."""

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from torch import Tensor, nn

from translate.errors import UserError

ALEXNET = "alexnet-owt-7be5be79.pth"
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
LEAST_LPIPS = 32
Perceptual = Callable[[Tensor, Tensor], Float[Tensor, " batch"]]


def find_weights(name: str, folder: Path | None) -> Path | None:
    """A file of weights in `folder`, or else where torch keeps what it downloads; None if it is not there."""
    path = (folder or Path(torch.hub.get_dir()) / "checkpoints") / name
    return path if path.is_file() else None


def load_lpips(path: Path, device: torch.device) -> Perceptual:
    """LPIPS (Zhang et al. 2018) on AlexNet, whose ImageNet weights lie at `path`: two batches in [0, 1] to (B,).

    Raises:
        UserError: the file is damaged, or holds something else.
    """
    weights = _read(path, "AlexNet")
    # torchmetrics' public class would download these weights if they lie elsewhere.
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    network = _NoTrainLpips(net="alex", pnet_rand=True)
    for part in network.net.children():
        for place, layer in part.named_children():
            if isinstance(layer, nn.Conv2d):
                layer.load_state_dict({name: weights[f"features.{place}.{name}"] for name in ("weight", "bias")})
    network.to(device)

    @torch.inference_mode()
    def measure(outputs: Tensor, targets: Tensor) -> Tensor:
        values: Tensor = network(as_color(outputs).to(device), as_color(targets).to(device), normalize=True)
        return values.flatten().cpu()

    return measure


class Inception(nn.Module):
    """The 2048 features that FID and KID are defined on: the Inception network of 2015, images resized to 299 pixels
    with antialiasing.

    Raises:
        UserError: the file `path` is damaged, or holds something else than tensors.
    """

    num_features = 2048

    def __init__(self, path: Path) -> None:
        super().__init__()
        from torchmetrics.image.fid import NoTrainInceptionV3

        _read(path, "Inception")  # torch-fidelity would run what a file says
        self.network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 2048"]:
        """Images in [0, 1], rounded to 8 bits."""
        features: Tensor = self.network(as_color(images).mul(255).round().byte())
        return features


def _read(path: Path, network: str) -> dict[str, Tensor]:
    """The tensors in a file."""
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise UserError(f"{path} holds no weights of {network}: remove it, or get it anew ({error})") from error
    return weights


def as_color(images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Grey images (1 channel) with three equal channels; colour as it is."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
