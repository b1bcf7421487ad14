"""Feature matching by layers whose output is known."""

import pytest
import torch

from translate.objectives.matching import feature_matching


def test_it_is_the_mean_over_layers_of_the_mean_difference():
    real, fake = torch.full((2, 1, 4, 4), 1.0), torch.full((2, 1, 4, 4), 0.25)
    # Differences of 0.75 in 16 places, and of 8 * 0.75 in one: each layer counts alike.
    found = feature_matching(lambda images: [images, 8 * images[:, :, :1, :1]], real, fake)
    assert found.item() == pytest.approx((0.75 + 6) / 2)


def test_gradients_flow_through_generated_images_alone():
    real, fake = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 2, 2, requires_grad=True)
    learned = []

    def features(images):
        learned.append(torch.is_grad_enabled())
        return [3 * images]

    feature_matching(features, real, fake).backward()
    assert real.grad is None
    assert fake.grad.flatten().tolist() == pytest.approx([3 / 4] * 4)
    assert learned == [False, True]
