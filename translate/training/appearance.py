"""What images tell of a sick run: pure functions of images (B, C, H, W) in [-1, 1], each a scalar."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "batch channels height width"]
BLOCK = 16
_HALF, _QUARTER = BLOCK // 2, BLOCK // 4
AXES = {(0, _HALF): [(0, 1)], (_HALF, 0): [(1, 0)], (0, _QUARTER): [(0, 1)], (_QUARTER, 0): [(1, 0)]}
DIAGONALS = {
    (_HALF, _HALF): [(1, 1), (1, -1)],
    (_QUARTER, _QUARTER): [(1, 1)],
    (_QUARTER, -_QUARTER): [(1, -1)],
    (_HALF, _QUARTER): [(1, 1), (1, -1)],
    (_QUARTER, _HALF): [(1, 1), (1, -1)],
}
"""Where a grid shows in the spectrum of a block, and the steps both ways to the neighbours it is compared with."""


def contrast(images: Images) -> Float[Tensor, ""]:
    """Standard deviation within images, averaged over channels and images: 0 for flat ones, at most about 1."""
    return _moments(images, 2, 3)[1].mean()


def diversity(images: Images) -> Float[Tensor, ""]:
    """Standard deviation across images, averaged over pixels: 0 where all are the same, at most about 1."""
    return _moments(images, 0)[1].mean()


def colour_distance(images: Images, others: Images) -> Float[Tensor, ""]:
    """How far the colours of images as a whole are from those of others, from 0 to about 2.

    The root mean square over channels of the Wasserstein-2 distance between Gaussians of their mean and deviation.
    """
    distances = [
        (first - second).square()
        for first, second in zip(_moments(images, 0, 2, 3), _moments(others, 0, 2, 3), strict=True)
    ]
    return torch.stack(distances).sum(0).mean().sqrt()


def colour_noise(images: Images, others: Images) -> Float[Tensor, ""]:
    """How large `colour_distance` is by chance alone: the standard error of means over so many images."""
    variances = [each.mean((2, 3)).var(0, correction=0).mean() for each in (images, others)]
    return ((variances[0] + variances[1]) / len(images)).sqrt()


def colour_agreement(images: Images, others: Images) -> Float[Tensor, ""]:
    """Correlation of the values of images with those of others at the same places: -1 where they are inverted.

    It is 0 where either hardly differs from its mean, such as the colour of grey images.
    """
    first, second = (each - each.mean((0, 2, 3), keepdim=True) for each in (images, others))
    deviations = first.square().mean().sqrt(), second.square().mean().sqrt()
    correlation = (first * second).mean() / (deviations[0] * deviations[1]).clamp_min(1e-6)
    return torch.where(torch.minimum(*deviations) > 0.03, correlation, torch.zeros_like(correlation))


def checkerboard(images: Images) -> Float[Tensor, ""]:
    """Spectral energy at periods of 2 and 4 pixels, where upsampling leaves its grid, against that of their neighbours.

    That along the axes or that across both, whichever stands out more. About 1 for photographs, noise and edges, whose
    spectra are smooth; of blocks of 16 x 16 pixels of up to 16 images. Images that are smaller, or smooth to the last
    digit, give 1. Odena et al. 2016, Deconvolution and Checkerboard Artifacts.
    """
    height, width = (size // BLOCK * BLOCK for size in images.shape[2:])
    if not height or not width:
        return images.new_ones(())
    blocks = images[:16, :, :height, :width].unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    blocks = blocks - blocks.mean((-2, -1), keepdim=True)
    energy = torch.fft.fft2(blocks).abs().square().mean((0, 1, 2, 3))  # (16, 16)
    floor = 1e-4 * energy.sum() / BLOCK**2 + 1e-9

    def times(places: Mapping[tuple[int, int], Sequence[tuple[int, int]]]) -> Tensor:
        grid = torch.stack([energy[place] for place in places]).mean()
        beside = [
            torch.stack([energy[y + sign * down, x + sign * right] for down, right in steps for sign in (-1, 1)]).mean()
            for (y, x), steps in places.items()
        ]
        times_beside: Tensor = (grid + floor) / (torch.stack(beside).mean() + floor)
        return times_beside

    return torch.maximum(times(AXES), times(DIAGONALS))


def relatedness(outputs: Images, targets: Images) -> Float[Tensor, ""]:
    """Correlation of what is particular to each output with what is particular to its own target: 0 if nothing is.

    Particular is the difference from the mean image of the batch.
    """
    first, second = outputs - outputs.mean(0), targets - targets.mean(0)
    covariance = (first * second).mean()
    correlation: Tensor = covariance / (first.square().mean() * second.square().mean()).sqrt().clamp_min(1e-9)
    return correlation


def _moments(images: Images, *dimensions: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over dimensions; as means of powers, which is several times faster than `std`."""
    mean = images.mean(dimensions)
    return mean, (images.square().mean(dimensions) - mean.square()).clamp_min(0).sqrt()
