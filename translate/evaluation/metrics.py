"""How near translated images are to their true targets, and tables of it."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from translate.evaluation.pretrained import Perceptual
from translate.files import write_text
from translate.pixels import Side

SSIM_WINDOW = 11
LEAST_MS_SSIM = 176
"""Pixels per side: the coarsest of its five scales, a 16th, must hold its window of 11."""
BETTER_WHEN_HIGHER = ("psnr", "ssim", "ms_ssim", "recognized", "pixel_accuracy", "class_accuracy", "mean_iou")


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


def compare(
    outputs: Float[Tensor, "batch channels height width"],
    targets: Float[Tensor, "batch channels height width"],
    side: Side,
    lpips: Perceptual | None = None,
) -> list[dict[str, float]]:
    """The metrics of each image, for pixels in [-1, 1], which are rounded as the files of `side` would hold them.

    Those of `paired_metrics`, `lpips` where it is given, and `ms_ssim` (Wang et al. 2003) of images that are large
    enough.
    """
    outputs, targets = quantize(outputs, side), quantize(targets, side)
    metrics = paired_metrics(outputs, targets)
    if min(outputs.shape[2:]) >= LEAST_MS_SSIM:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

        metrics["ms_ssim"] = torch.as_tensor(ms_ssim(outputs, targets, data_range=1.0, reduction="none"))
    if lpips is not None:
        metrics["lpips"] = lpips(outputs.float(), targets.float())
    return [{name: float(values[index]) for name, values in metrics.items()} for index in range(len(outputs))]


def quantize(images: Tensor, side: Side) -> Tensor:
    """From [-1, 1] to [0, 1] with the steps that the files of `side` have."""
    images = images.clamp(-1, 1).add(1).div(2)
    if side.dtype == "float32":
        return images
    steps = side.high - side.low
    return images.mul(steps).round().div(steps)


def quantized_l1(images: Tensor, wanted: Tensor, side: Side) -> Tensor:
    """The L1 distance (B,) of images in [-1, 1] (B, C, H, W) from others, both rounded as the files of `side`."""
    return (quantize(images, side) - quantize(wanted, side)).abs().flatten(1).mean(1)


def mean_of(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over the rows that have it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def write_rows(path: Path, rows: Sequence[Mapping[str, str | float]]) -> None:
    """Write a CSV with a line per row; a column that a row lacks stays empty there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()})
    write_text(path, text.getvalue())
