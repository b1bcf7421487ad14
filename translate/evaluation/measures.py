"""What can be measured of a model's images here, and why the rest cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from translate.errors import UserError
from translate.evaluation.distances import Distances, RandomFilters
from translate.evaluation.metrics import LEAST_MS_SSIM, quantize
from translate.evaluation.pretrained import (
    ALEXNET,
    INCEPTION,
    LEAST_LPIPS,
    Inception,
    Perceptual,
    find_weights,
    load_lpips,
)
from translate.pixels import Side

NAME_FOLDER = "name its folder, with evaluate's --weights or with validation.weights= of a training"


@dataclass(frozen=True)
class Options:
    """What a user may say about measuring.

    Attributes:
        weights: the folder of the weights of LPIPS and of Inception; None is torch's cache.
        palette: a file of the colours of label images, or how many they have; None is what they hold.
    """

    weights: Path | None = None
    palette: str | None = None


@dataclass(frozen=True)
class Measures:
    """Measures of images of one side, in [-1, 1] as networks give them.

    Attributes:
        side: what their files look like.
        lpips: LPIPS; None where its weights are missing.
        distances: of sets of images.
        notes: what is missing, why, and what to do.
    """

    side: Side
    lpips: Perceptual | None
    distances: tuple[Distances, ...]
    notes: tuple[str, ...]

    def add(self, name: str, images: Tensor) -> None:
        """Take images into a set, rounded as files would be."""
        for distances in self.distances:
            distances.add(name, quantize(images, self.side))

    def measure(self, sets: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """The distances of each set (key) from a real one (value), where both have two images."""
        found = {
            name: {key: value for distances in self.distances for key, value in distances.measure(name, real).items()}
            for name, real in sets.items()
        }
        return {name: values for name, values in found.items() if values}


def missing_measures(side: Side, size: int, options: Options, *, has_answers: bool) -> dict[str, str]:
    """Why some of ms_ssim, lpips, fid and kid cannot be measured of square images of `size` pixels, by their names.

    Without true answers nobody asks for the first two.

    Raises:
        UserError: a folder of weights that is none.
    """
    if options.weights is not None and not options.weights.is_dir():
        raise UserError(f"{options.weights} is no folder of weights: name the one that holds {ALEXNET} or {INCEPTION}")
    missing = {}
    if has_answers and size < LEAST_MS_SSIM:
        missing["ms_ssim"] = f"ms_ssim needs images of {LEAST_MS_SSIM} pixels or more; these have {size}"
    if side.channels not in (1, 3):
        why = f"lpips, fid and kid are for grey and coloured images; these have {side.channels} channels"
        return missing | dict.fromkeys(("lpips", "fid", "kid"), why)
    if has_answers and size < LEAST_LPIPS:
        missing["lpips"] = f"lpips needs images of {LEAST_LPIPS} pixels or more; these have {size}"
    elif has_answers and find_weights(ALEXNET, options.weights) is None:
        missing["lpips"] = (
            f"lpips needs AlexNet's weights, the file {ALEXNET}: torchvision.models.alexnet(weights='IMAGENET1K_V1') "
            f"puts it into torch's cache where there is a connection; or {NAME_FOLDER}"
        )
    if find_weights(INCEPTION, options.weights) is None:
        missing["fid"] = missing["kid"] = (
            f"fid and kid need Inception's weights, the file {INCEPTION} of torch-fidelity, in torch's cache; or "
            f"{NAME_FOLDER}. feature_distance and kernel_distance are the same formulas on other "
            "features; their values are no fid and no kid"
        )
    elif find_spec("torch_fidelity") is None:
        missing["fid"] = missing["kid"] = "fid and kid need the fid extra: pip install 'translate-images[fid]'"
    return missing


def choose_measures(
    side: Side, size: int, options: Options, device: torch.device, *, has_answers: bool, has_sets: bool = True
) -> Measures:
    """The measures that apply to square images of `size` pixels, `has_answers` whether their true answers are known,
    `has_sets` whether sets of them are to be compared.

    Raises:
        UserError: a folder of weights that is none, or weights that are damaged.
    """
    missing = missing_measures(side, size, options, has_answers=has_answers)
    lpips = None
    distances = [
        Distances(
            RandomFilters(channels=side.channels).to(device), ("feature_distance", "kernel_distance"), relative=True
        )
    ]
    alexnet, inception = (find_weights(name, options.weights) for name in (ALEXNET, INCEPTION))
    if has_answers and alexnet is not None and "lpips" not in missing:
        lpips = load_lpips(alexnet, device)
    if not has_sets:
        distances = []
    elif inception is not None and "fid" not in missing:
        distances.append(Distances(Inception(inception).to(device), ("fid", "kid"), relative=False))
    return Measures(side, lpips, tuple(distances), tuple(dict.fromkeys(missing.values())))
