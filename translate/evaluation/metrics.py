"""How near translated images are to their true targets."""

import torch
from jaxtyping import Float
from torch import Tensor

SSIM_WINDOW = 11


def paired_metrics(
    outputs: Float[Tensor, "batch channels height width"], targets: Float[Tensor, "batch channels height width"]
) -> dict[str, Float[Tensor, " batch"]]:
    """Per image, for pixels in [0, 1]: `l1` (mean absolute difference), `psnr` in dB, and `ssim`.

    PSNR is 10 log10(1 / mean squared error). SSIM (Wang et al. 2004) uses a Gaussian window of 11 pixels, sigma 1.5,
    averaged over all pixels and channels.
    """
    from kornia.metrics import ssim

    difference = outputs - targets
    squared = difference.square().flatten(1).mean(1)
    return {
        "l1": difference.abs().flatten(1).mean(1),
        "psnr": 10 * torch.log10(1 / squared.clamp_min(1e-10)),
        "ssim": ssim(outputs, targets, SSIM_WINDOW).flatten(1).mean(1),
    }
