"""Metrics of single images against values worked out by hand and a plain NumPy SSIM."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from translate.evaluation.metrics import mean_of, paired_metrics, quantize, write_rows
from translate.pixels import Side


def reference_ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, for (C, H, W) in [0, 1]: windows of 11x11 pixels, the border reflected."""
    distances = np.arange(11) - 5
    line = np.exp(-(distances**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def smooth(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, ((0, 0), (5, 5), (5, 5)), mode="reflect")
        return (np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(1, 2)) * window).sum((-2, -1))

    mean_one, mean_other = smooth(one), smooth(other)
    variance_one, variance_other = smooth(one**2) - mean_one**2, smooth(other**2) - mean_other**2
    covariance = smooth(one * other) - mean_one * mean_other
    luminance = (2 * mean_one * mean_other + 0.01**2) / (mean_one**2 + mean_other**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_one + variance_other + 0.03**2)
    return float((luminance * structure).mean())


def random_images(count: int, *shape: int) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))


def test_l1_and_psnr_by_hand() -> None:
    target = torch.zeros(3, 1, 8, 8)
    output = torch.zeros(3, 1, 8, 8)
    output[1] = 0.1
    output[2, :, :4] = 0.5  # half of the pixels
    metrics = paired_metrics(output, target)
    torch.testing.assert_close(metrics["l1"], torch.tensor([0, 0.1, 0.25]))
    expected = [100, 10 * math.log10(1 / 0.01), 10 * math.log10(1 / 0.125)]
    torch.testing.assert_close(metrics["psnr"], torch.tensor(expected))


def test_the_worst_psnr_is_zero() -> None:
    assert paired_metrics(torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))["psnr"].item() == pytest.approx(0, abs=1e-5)


def test_equal_images_have_an_ssim_of_one() -> None:
    images = random_images(3, 3, 16, 16)
    torch.testing.assert_close(paired_metrics(images, images.clone())["ssim"], torch.ones(3))


def test_negatives_have_a_negative_ssim() -> None:
    images = random_images(2, 1, 16, 16)
    assert (paired_metrics(1 - images, images)["ssim"] < 0).all()


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 11, 11), (3, 17, 29), (5, 32, 16)])
@pytest.mark.parametrize("error", [0.01, 0.1, 1.0])
def test_ssim_against_numpy(shape: tuple[int, ...], error: float) -> None:
    targets = random_images(4, *shape)
    outputs = (targets + error * (random_images(4, *shape).flip(0) - 0.5)).clamp(0, 1)
    expected = [
        reference_ssim(output, target)
        for output, target in zip(outputs.double().numpy(), targets.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(paired_metrics(outputs, targets)["ssim"], expected, atol=1e-4)


def test_every_image_is_measured_alone() -> None:
    outputs, targets = random_images(3, 3, 12, 12), random_images(6, 3, 12, 12)[:3]
    together = paired_metrics(outputs, targets)
    for index in range(3):
        alone = paired_metrics(outputs[index : index + 1], targets[index : index + 1])
        for name, value in alone.items():
            torch.testing.assert_close(together[name][index : index + 1], value)


# --- quantize ---


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (Side(1, "uint8", 0, 255), [0, 0, 128 / 255, 153 / 255, 1, 1]),
        (Side(1, "uint8", 0, 1), [0, 0, 0, 1, 1, 1]),
        (Side(1, "uint16", 0, 4), [0, 0, 0.5, 0.5, 1, 1]),
        (Side(1, "float32", -1000, 1000), [0, 0, 0.5, 0.601, 1, 1]),
    ],
)
def test_quantize_by_hand(side: Side, expected: list[float]) -> None:
    images = torch.tensor([-1.5, -1, 0, 0.202, 1, 1.5])
    torch.testing.assert_close(quantize(images, side), torch.tensor(expected, dtype=torch.float32))


def test_quantizing_leaves_the_images_as_they_are() -> None:
    images = torch.tensor([0.1, 0.2])
    quantize(images, Side(1, "uint8", 0, 255))
    torch.testing.assert_close(images, torch.tensor([0.1, 0.2]))


# --- tables ---


def test_the_mean_of_a_metric_is_over_the_rows_that_have_it() -> None:
    assert mean_of([{"l1": 1.0, "ssim": 0.5}, {"l1": 3.0}]) == {"l1": 2.0, "ssim": 0.5}
    assert mean_of([]) == {}


def test_a_table_has_all_columns_and_leaves_open_what_a_row_lacks(tmp_path: Path) -> None:
    write_rows(tmp_path / "table.csv", [{"name": "a", "seen": 1}, {"name": "b, c", "seen": 0, "l1": 0.25}])
    assert (tmp_path / "table.csv").read_text() == 'name,seen,l1\na,1,\n"b, c",0,0.250000\n'
