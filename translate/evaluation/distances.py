"""How far two sets of images lie apart when nobody knows which belongs to which: distances between their features."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

from translate.evaluation.bootstrap import FEWEST

Features = Float[Tensor, "count features"]
SCALES = 3
WINDOW = 5
LEAST_SPREAD = 0.01
"""Of a feature, where 2 is the full contrast: about one level of 8 bits, so that blank images divide by no zero."""
LEAST_WITH_ERROR = 4
"""Images of each set from which on the kernel distance has a standard error."""
MOST_IMAGES = 1000
"""Of each set that the kernel distance compares, which takes time and memory by their square."""


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

    About 0 for two samples of one distribution, however small; it may be negative. Of a set of more than 1000, it is of
    1000 drawn at random, the same in every run.
    """
    return _discrepancy(*_kernels(one, other))


def kernel_distance_and_error(one: Features, other: Features) -> tuple[float, float]:
    """`kernel_distance` and its standard error, of two sets of at least 4.

    The variance of this U-statistic (Hoeffding 1948, section 5) has a part of each image alone, which is all of it
    where the sets differ, and one of the pairs of images, all of it where they do not. Both are estimated without bias,
    that of the pairs from centred kernels (Szekely and Rizzo 2014, section 3); a part below 0 is taken as 0.
    """
    kernels = _kernels(one, other)
    own, cross = kernels[:2], kernels[2]
    centred = cross - cross.mean(0) - cross.mean(1, keepdim=True) + cross.mean()
    of_cross = centred.square().sum() / ((len(own[0]) - 1) * (len(own[1]) - 1))
    variance = 4 * of_cross / cross.numel()
    for kernel, across in zip(own, (cross, cross.T), strict=True):
        count = len(kernel)
        rows = kernel.sum(1) / (count - 2)
        centred = kernel - rows - rows[:, None] + kernel.sum() / ((count - 1) * (count - 2))
        of_pairs = (centred.square().sum() - centred.diagonal().square().sum()) / (count * (count - 3))
        alone = (rows - across.mean(1)).var() - of_pairs / (count - 2) - of_cross / across.shape[1]
        variance += 4 * alone.clamp_min(0) / count + 2 * of_pairs / (count * (count - 1))
    return _discrepancy(*kernels), math.sqrt(variance)


def _discrepancy(one: Tensor, other: Tensor, cross: Tensor) -> float:
    own = [kernel.sum() / (len(kernel) * (len(kernel) - 1)) for kernel in (one, other)]
    return float(own[0] + own[1] - 2 * cross.mean())


def _kernels(one: Features, other: Features) -> tuple[Tensor, Tensor, Tensor]:
    """Of pairs in the one set, in the other, and across; 0 where both are the same image."""
    one, other = (_at_most(MOST_IMAGES, features).double() for features in (one, other))
    within = [_kernel(features, features).fill_diagonal_(0) for features in (one, other)]
    return within[0], within[1], _kernel(one, other)


def _at_most(count: int, features: Features) -> Features:
    if len(features) <= count:
        return features
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:count]]


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
        extractor: images in [0, 1] to `num_features` features.
        names: what the Frechet and the kernel distance are called on them.
        relative: whether features are compared in units of the real images' spread.
    """

    def __init__(
        self,
        extractor: nn.Module,
        names: tuple[str, str],
        *,
        relative: bool,
    ) -> None:
        self.extractor, self.names, self.relative = extractor, names, relative
        self.num_features = int(extractor.num_features)  # type: ignore[arg-type]
        self._features: dict[str, list[Features]] = {}

    @torch.inference_mode()
    def features(self, images: Float[Tensor, "batch channels height width"]) -> Features:
        """Of images in [0, 1]."""
        features: Features = self.extractor(images).cpu()
        return features

    def add(self, name: str, images: Float[Tensor, "batch channels height width"]) -> None:
        """Take images in [0, 1] into a set."""
        if len(images):
            self._features.setdefault(name, []).append(self.features(images))

    def count(self, name: str) -> int:
        """Images of a set."""
        return sum(map(len, self._features.get(name, [])))

    def measure(self, name: str, real: str) -> dict[str, float]:
        """The distances of a set from the real one, from 2 images on; from 10 on the second's standard error."""
        fewest = min(self.count(name), self.count(real))
        if fewest < 2:
            return {}
        found = self.between(torch.cat(self._features[name]), torch.cat(self._features[real]))
        return {key: value for key, value in found.items() if fewest >= FEWEST or not key.endswith("_error")}

    def between(self, made: Features, wanted: Features) -> dict[str, float]:
        """The distances of features from those of real images, at least 2; from 4 on the second's standard error."""
        if self.relative:
            made, wanted = standardize(made, wanted), standardize(wanted, wanted)
        frechet, kernel = self.names
        if not (made.isfinite().all() and wanted.isfinite().all()):
            return {frechet: math.nan, kernel: math.nan}
        found: dict[str, float] = {frechet: frechet_distance(made, wanted)}
        if min(len(made), len(wanted)) < LEAST_WITH_ERROR:
            return found | {kernel: kernel_distance(made, wanted)}
        found[kernel], found[f"{kernel}_error"] = kernel_distance_and_error(made, wanted)
        return found
