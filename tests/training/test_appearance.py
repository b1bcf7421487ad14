"""What images tell, by numbers that can be checked by hand."""

import pytest
import torch

from translate.training.appearance import (
    checkerboard,
    colour_agreement,
    colour_distance,
    colour_noise,
    contrast,
    diversity,
    relatedness,
)

NOISE = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_contrast_is_the_deviation_within_an_image():
    half = torch.ones(2, 1, 4, 4)
    half[..., :2] = -1
    assert contrast(half) == 1
    assert contrast(torch.full((2, 3, 4, 4), 0.7)).item() == pytest.approx(0, abs=1e-3)


def test_diversity_is_the_deviation_across_images():
    assert diversity(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)) == 1
    assert diversity(NOISE[:1].expand(5, 3, 32, 32)).item() == pytest.approx(0, abs=1e-3)


def test_colour_distance_is_that_of_means_and_deviations():
    black, grey = torch.full((2, 3, 4, 4), -1.0), torch.zeros(2, 3, 4, 4)
    assert colour_distance(black, grey) == 1
    red = grey.clone()
    red[:, 0] = 0.6
    assert colour_distance(red, grey).item() == pytest.approx((0.36 / 3) ** 0.5)
    assert colour_distance(NOISE, NOISE.flip(0)).item() == pytest.approx(0, abs=1e-6)


def test_colour_noise_is_the_standard_error_of_the_mean():
    shades = torch.tensor([-1.0, 1.0, -1.0, 1.0]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert colour_noise(shades, torch.zeros(4, 3, 2, 2)) == 0.5


def test_colours_agree_disagree_or_are_not_there():
    assert colour_agreement(NOISE, 0.3 * NOISE + 0.1).item() == pytest.approx(1)
    assert colour_agreement(NOISE, -0.3 * NOISE).item() == pytest.approx(-1)
    assert colour_agreement(NOISE, torch.full_like(NOISE, 0.5)) == 0


def test_a_checkerboard_stands_out_of_noise_and_edges_do_not():
    assert checkerboard(NOISE).item() == pytest.approx(1, abs=0.3)
    edges = torch.full((4, 3, 32, 32), -1.0)
    for place in range(4):
        edges[place, :, :, 9 + 2 * place :] = 1
    assert checkerboard(edges).item() < 1.5
    for period in (2, 4):
        grid = 0.2 * NOISE.clone()
        grid[:, :, ::period] += 0.3
        grid[:, :, :, ::period] += 0.3
        assert checkerboard(grid).item() > 10
    sign = 1 - 2 * (torch.arange(32) % 2)
    slow = 1 - 2 * (torch.arange(32) // 2 % 2)
    for down, right in ((sign, sign), (slow, slow), (sign, slow)):
        assert checkerboard(0.2 * NOISE + 0.3 * down[:, None] * right).item() > 10, "(-1)^(x + y) and slower"
    assert checkerboard(NOISE[..., :8, :8]) == 1
    assert checkerboard(torch.zeros(2, 1, 16, 16)) == 1


def test_relatedness_looks_at_what_is_particular_to_each_image():
    common = 5 * NOISE[:1]
    assert relatedness(common + 0.1 * NOISE, NOISE).item() == pytest.approx(1, abs=1e-4)
    assert abs(relatedness(common + 0.1 * NOISE.roll(1, 0), NOISE).item()) < 0.2
    assert relatedness(common.expand(8, 3, 32, 32), NOISE).item() == pytest.approx(0, abs=1e-3)
