"""Distances between sets of images: the formulas beside NumPy, SciPy and torchmetrics, and how the features rank."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from translate.evaluation.distances import (
    Distances,
    RandomFilters,
    frechet_distance,
    kernel_distance,
    kernel_distance_and_error,
    standardize,
)


def features(count: int, width: int, seed: int, *, shift: float = 0.0) -> Tensor:
    """Correlated features."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=torch.Generator().manual_seed(9)) / width**0.5
    return torch.randn(count, width, generator=generator) @ mixing + shift


def frechet_by_scipy(one: Tensor, other: Tensor) -> float:
    a, b = one.double().numpy(), other.double().numpy()
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    difference = a.mean(0) - b.mean(0)
    return float(difference @ difference + np.trace(c + d - 2 * sqrtm(c @ d).real))


def kernel_by_hand(one: Tensor, other: Tensor) -> float:
    a, b = one.double().numpy(), other.double().numpy()

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    own = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    return float(own[0] + own[1] - 2 * np.mean([kernel(x, y) for x in a for y in b]))


# --- formulas ---


@pytest.mark.parametrize(("one", "other"), [(40, 40), (100, 25), (30, 9)])
def test_the_frechet_distance_is_that_of_scipy(one: int, other: int) -> None:
    a, b = features(one, 12, 1), 1.5 * features(other, 12, 2, shift=0.3)
    assert frechet_distance(a, b) == pytest.approx(frechet_by_scipy(a, b), abs=1e-4)


def test_the_frechet_distance_of_lines_by_hand() -> None:
    # One feature: (mean 1 - mean 4)^2 + (deviation 1 - deviation 3)^2.
    assert frechet_distance(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [4.0], [7.0]])) == pytest.approx(
        13
    )


def test_the_kernel_distance_by_hand() -> None:
    one, other = features(7, 5, 1), features(10, 5, 2, shift=0.5)
    assert kernel_distance(one, other) == pytest.approx(kernel_by_hand(one, other), abs=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_both_are_what_torchmetrics_computes_on_the_same_features() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Unchanged(nn.Module):
        num_features = 8

        def forward(self, given: Tensor) -> Tensor:
            return given

    one, other = features(50, 8, 1), features(50, 8, 2, shift=0.2)
    frechet = FrechetInceptionDistance(feature=Unchanged(), normalize=True)
    kernel = KernelInceptionDistance(feature=Unchanged(), subsets=2, subset_size=50)
    for metric in (frechet, kernel):
        metric.update(other, real=True)
        metric.update(one, real=False)
    assert frechet_distance(one, other) == pytest.approx(float(frechet.compute()), abs=1e-4)
    assert kernel_distance(one, other) == pytest.approx(float(kernel.compute()[0]), abs=1e-4)


@pytest.mark.parametrize("count", [20, 64])
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_standard_error_is_the_deviation_of_repetitions(count: int, shift: float) -> None:
    found = [
        kernel_distance_and_error(features(count, 96, 2 * seed), features(count + 5, 96, 2 * seed + 1, shift=shift))
        for seed in range(120)
    ]
    values, errors = zip(*found, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)
    assert values[0] == kernel_distance(features(count, 96, 0), features(count + 5, 96, 1, shift=shift))


def test_the_kernel_distance_has_no_bias() -> None:
    for shift in (0.0, 0.4):
        values = [
            kernel_distance(features(12, 6, seed), features(10, 6, seed + 500, shift=shift)) for seed in range(200)
        ]
        far = kernel_distance(features(1000, 6, 1001), features(1000, 6, 1002, shift=shift))
        assert np.mean(values) == pytest.approx(far, abs=3 * np.std(values) / 200**0.5)


def test_of_large_sets_a_thousand_images_are_compared_always_the_same() -> None:
    one, other = features(1500, 2, 1), features(1001, 2, 2, shift=0.4)
    value, error = kernel_distance_and_error(one, other)
    assert (value, error) == kernel_distance_and_error(one, other)
    chosen = [
        part[torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:1000]] for part in (one, other)
    ]
    assert value == pytest.approx(kernel_distance(*chosen), rel=1e-9)
    assert value != pytest.approx(kernel_distance(one[:1000], other[:1000]), rel=1e-9)


# --- features ---


def pictures(count: int, seed: int, *, warm: float = 0.0) -> Tensor:
    """Soft blobs in colours with a fine texture; `warm` shifts the colours."""
    generator = torch.Generator().manual_seed(seed)
    soft = interpolate(torch.rand(count, 3, 4, 4, generator=generator), size=32, mode="bicubic", align_corners=False)
    fine = interpolate(torch.rand(count, 1, 16, 16, generator=generator), size=32, mode="bilinear", align_corners=False)
    return (0.7 * soft + 0.3 * fine + warm * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)).clamp(0, 1)


def test_worse_images_are_farther_away_than_other_good_ones() -> None:
    real, others = pictures(48, 1), pictures(48, 2)
    noise = torch.randn(others.shape, generator=torch.Generator().manual_seed(3))
    blurred = interpolate(avg_pool2d(others, 4), size=32, mode="bilinear", align_corners=False)
    checkerboard = 0.1 * ((torch.arange(32).view(-1, 1) + torch.arange(32)) % 2 * 2 - 1)
    made = {
        "the same": real,
        "others": others,
        "a little noise": (others + 0.03 * noise).clamp(0, 1),
        "noise": (others + 0.1 * noise).clamp(0, 1),
        "blurred": blurred,
        "checkerboard": (others + checkerboard).clamp(0, 1),
        "another domain": pictures(48, 4, warm=0.2),
        "collapsed": others[:2].repeat(24, 1, 1, 1),
    }
    distances = Distances(RandomFilters(channels=3), ("feature_distance", "kernel_distance"), relative=True)
    distances.add("real", real)
    for name, images in made.items():
        distances.add(name, images)
    for kind in ("feature_distance", "kernel_distance"):
        found = {name: distances.measure(name, "real")[kind] for name in made}
        assert found["the same"] < found["others"] < found["a little noise"] < found["noise"]
        for worse in ("noise", "blurred", "checkerboard", "another domain", "collapsed"):
            assert found[worse] > 2 * found["others"], (kind, worse)


def test_the_filters_are_always_the_same_and_take_any_channels_and_size() -> None:
    for channels in (1, 3, 5):
        images = torch.rand(2, channels, 6, 9)
        torch.testing.assert_close(RandomFilters(channels=channels)(images), RandomFilters(channels=channels)(images))
        assert RandomFilters(channels=channels)(images).shape == (2, RandomFilters(channels=channels).num_features)
    assert RandomFilters(channels=1)(torch.rand(1, 1, 1, 1)).isfinite().all()


def test_blank_images_divide_by_nothing() -> None:
    reference = torch.zeros(3, 2)
    torch.testing.assert_close(standardize(torch.full((1, 2), 0.05), reference), torch.full((1, 2), 5.0))


def test_sets_of_less_than_two_images_have_no_distance_and_small_ones_no_error() -> None:
    distances = Distances(RandomFilters(channels=1), ("feature_distance", "kernel_distance"), relative=True)
    distances.add("real", torch.rand(10, 1, 8, 8))
    distances.add("one", torch.rand(1, 1, 8, 8))
    distances.add("nine", torch.rand(9, 1, 8, 8))
    assert distances.measure("one", "real") == {}
    assert distances.measure("none", "real") == {}
    assert list(distances.measure("nine", "real")) == ["feature_distance", "kernel_distance"]
    assert "kernel_distance_error" in distances.measure("real", "real")


def test_images_that_are_not_numbers_have_no_distance() -> None:
    distances = Distances(RandomFilters(channels=1), ("feature_distance", "kernel_distance"), relative=True)
    real = distances.features(pictures(4, 1)[:, :1])
    found = distances.between(real * math.nan, real)
    assert all(math.isnan(found[name]) for name in distances.names)
