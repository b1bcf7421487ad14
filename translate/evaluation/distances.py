"""How far two sets of images lie apart when nobody knows which belongs to which: distances between their features."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

Features = Float[Tensor, "count features"]
SCALES = 3
WINDOW = 5
LEAST_SPREAD = 0.01
"""Of a feature, where 2 is the full contrast: about one level of 8 bits, so that blank images divide by no zero."""
SUBSETS = 100


class RandomFilters(nn.Module):
    """Colours and textures of an image: mean and spread of its responses to random filters at three scales.

    Random filters tell textures apart nearly as well as learned ones, if there are several scales of them
    (Ustyuzhaninov et al. 2017, "What does it take to generate natural textures?"). They are always the same ones, and
    nothing has to be downloaded for them.

    Args:
        channels: channels of the images.
        count: filters of 5 by 5 pixels; each gives two features at each scale.
    """

    filters: Tensor

    def __init__(self, *, channels: int, count: int = 16) -> None:
        super().__init__()
        filters = torch.randn(count, channels, WINDOW, WINDOW, generator=torch.Generator().manual_seed(0))
        self.register_buffer("filters", filters / filters.flatten(1).norm(dim=1)[:, None, None, None])
        self.num_features = 2 * SCALES * count

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Features:
        """Images in [0, 1] to (B, 96) features."""
        images = images.float() * 2 - 1
        features: list[Tensor] = []
        for _ in range(SCALES):
            responses = conv2d(pad(images, (WINDOW // 2,) * 4, mode="replicate"), self.filters).flatten(2)
            features += [responses.mean(2), responses.std(2, unbiased=False)]
            images = avg_pool2d(images, 2, ceil_mode=True)
        return torch.cat(features, 1)


def standardize(features: Features, reference: Features) -> Features:
    """In units of the reference's spread, so that every feature counts alike."""
    return (features - reference.mean(0)) / reference.std(0).clamp_min(LEAST_SPREAD)


def frechet_distance(one: Features, other: Features) -> float:
    """Between the normal distributions with the means and covariances of two sets (Heusel et al. 2017, equation 6):
    |m - n|^2 + tr(C + D - 2 (C D)^(1/2)). On features of the Inception network it is FID.

    It falls as sets grow: compare sets of equal size alone.
    """
    means = one.double().mean(0), other.double().mean(0)
    roots = [_root(features.double() - mean) for features, mean in zip((one, other), means, strict=True)]
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()  # tr (C D)^(1/2) for C = R'R and D = S'S
    total = (means[0] - means[1]).square().sum() + roots[0].square().sum() + roots[1].square().sum() - 2 * shared
    return float(total.clamp_min(0))


def kernel_distance(one: Features, other: Features) -> float:
    """The squared maximum mean discrepancy under the kernel (x.y / features + 1)^3, unbiased (Binkowski et al. 2018,
    section 4; Gretton et al. 2012, lemma 6). On features of the Inception network it is KID.

    About 0 for two samples of one distribution, however small; it may be negative.
    """
    one, other = one.double(), other.double()
    count = len(one), len(other)
    own = [
        (kernel.sum() - kernel.trace()) / (size * (size - 1))
        for kernel, size in zip((_kernel(one, one), _kernel(other, other)), count, strict=True)
    ]
    return float(own[0] + own[1] - 2 * _kernel(one, other).mean())


def kernel_error(one: Features, other: Features) -> float:
    """The standard error of `kernel_distance`: its standard deviation over 100 random halves of both sets.

    A mean over half of a finite set, drawn without replacement, varies as the mean over the whole set does over new
    sets.
    """
    generator = torch.Generator().manual_seed(0)

    def half(features: Features) -> Features:
        return features[torch.randperm(len(features), generator=generator)[: len(features) // 2]]

    values = [kernel_distance(half(one), half(other)) for _ in range(SUBSETS)]
    return float(torch.tensor(values).std())


def _kernel(one: Features, other: Features) -> Tensor:
    kernel: Tensor = (one @ other.T / one.shape[1] + 1) ** 3
    return kernel


def _root(centred: Tensor) -> Tensor:
    """A matrix R of few rows with R'R the covariance of centred features."""
    count, features = centred.shape
    root: Tensor = torch.linalg.qr(centred, mode="r").R if count > features else centred
    return root / math.sqrt(count - 1)


class Distances:
    """Features of named sets of images, and the distances between two of them.

    Args:
        extractor: images in [0, 1] to features.
        names: what the Frechet and the kernel distance are called on them.
        relative: whether features are compared in units of the real images' spread.
    """

    def __init__(
        self,
        extractor: nn.Module,
        names: tuple[Literal["feature_distance", "fid"], Literal["kernel_distance", "kid"]],
        *,
        relative: bool,
    ) -> None:
        self.extractor, self.names, self.relative = extractor, names, relative
        self._features: dict[str, list[Features]] = {}

    @torch.inference_mode()
    def add(self, name: str, images: Float[Tensor, "batch channels height width"]) -> None:
        """Take images in [0, 1] into a set."""
        if len(images):
            self._features.setdefault(name, []).append(self.extractor(images).cpu())

    def measure(self, name: str, real: str) -> dict[str, float]:
        """The distances of a set from the real one, from 2 images on; from 4 on the second's standard error."""
        if any(sum(map(len, self._features.get(key, []))) < 2 for key in (name, real)):
            return {}
        made, wanted = (torch.cat(self._features[key]) for key in (name, real))
        if self.relative:
            made, wanted = standardize(made, wanted), standardize(wanted, wanted)
        frechet, kernel = self.names
        found: dict[str, float] = {frechet: frechet_distance(made, wanted), kernel: kernel_distance(made, wanted)}
        if min(len(made), len(wanted)) < 4:
            return found
        return found | {f"{kernel}_error": kernel_error(made, wanted)}
