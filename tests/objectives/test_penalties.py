"""Gradient penalties of critics whose slopes are known."""

import pytest
import torch

from translate.errors import UserError
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.stargan import StarGANDiscriminator
from translate.objectives.penalties import dragan, is_piecewise_linear, one_sided, r1, r2, two_sided, zero_centered


def linear_critic(weight):
    critic = torch.nn.Conv2d(1, 1, 2, bias=False).double()
    critic.weight.data = torch.tensor([[weight]], dtype=torch.float64)
    return critic


PENALTIES = [two_sided, one_sided, zero_centered, r1, r2, dragan]


@pytest.mark.parametrize(
    ("penalty", "steep", "flat"),
    [
        (two_sided, 16, 0.25),
        (one_sided, 16, 0),
        (zero_centered, 25, 0.25),
        (r1, 12.5, 0.125),
        (r2, 12.5, 0.125),
        (dragan, 16, 0.25),
    ],
)
def test_penalties_of_a_linear_critic_follow_from_its_slope(penalty, steep, flat):
    real, fake = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)
    for weight, expected in (([[3.0, 0.0], [0.0, 4.0]], steep), ([[0.3, 0.0], [0.0, 0.4]], flat)):
        critic = linear_critic(weight)  # its gradient has a norm of 5 or 0.5 everywhere
        for factor, options in ((1, {"weight": 1.0}), (6, {"weight": 2.0, "every": 3})):
            found = penalty(**options)(critic, real, fake, torch.rand(3)).item()
            assert found == pytest.approx(factor * expected, abs=1e-12)


def test_a_lazy_penalty_is_paid_every_so_many_steps():
    assert [step for step in range(9) if r1(every=4).applies(step)] == [0, 4, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0.0}, r"gradient_penalty\.weight=0\.0 must be more than 0; gradient_penalty=none is off"),
        ({"every": 0}, r"gradient_penalty\.every=0 must be at least 1"),
    ],
)
def test_values_without_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        r1(**options)


@pytest.mark.parametrize("make", PENALTIES)
def test_a_penalty_reaches_the_critic_and_its_gradient_is_right(make):
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.Tanh(), torch.nn.Conv2d(2, 1, 1)).double()
    real, fake = torch.randn(2, 2, 1, 3, 3, dtype=torch.float64)
    alpha = torch.rand(2, 1, 1, 1, dtype=torch.float64)
    weight = critic[0].weight.detach().clone().requires_grad_(True)

    def penalty(weight):
        def run(images):
            features = torch.tanh(torch.nn.functional.conv2d(images, weight, critic[0].bias))
            return critic[2](features)

        torch.manual_seed(0)  # of DRAGAN's noise
        return make(weight=1.0)(run, real, fake, alpha)

    assert torch.autograd.gradcheck(penalty, weight)


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        (StarGANDiscriminator(in_channels=2, num_domains=3, width=3, num_layers=2, image_size=8), 8),
        (PatchGAN(in_channels=2, width=3, norm="none", num_layers=2), 15),
        (PixelDiscriminator(in_channels=2, width=3, norm="none", num_domains=2), 5),
    ],
    ids=["stargan", "patchgan", "pixel"],
)
def test_penalty_without_differentiating_twice_is_the_same(layers, size):
    critic = layers.double()
    real, fake = torch.randn(2, 3, 2, size, size, dtype=torch.float64)
    alpha = torch.rand(3, dtype=torch.float64)

    def by_autograd(images):
        judged = critic(images)
        return judged[0] if isinstance(judged, tuple) else judged

    plain = torch.nn.Module()
    plain.forward = by_autograd
    assert is_piecewise_linear(critic.logit_layers)
    results = []
    for discriminator in (critic, plain):
        critic.zero_grad()
        penalty = two_sided(weight=1.0)(discriminator, real, fake, alpha)
        penalty.backward()
        weights = critic.logit_layers.named_parameters()
        results.append((penalty.detach(), {name: p.grad for name, p in weights if name.endswith("weight")}))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", PENALTIES)
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_penalties_are_float32_under_mixed_precision(norm, make):
    critic = PatchGAN(in_channels=1, width=2, norm=norm, num_layers=1)
    real, fake, alpha = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2)
    torch.manual_seed(0)
    expected = make()(critic, real, fake, alpha)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(real).dtype == torch.bfloat16
        mixed = make()(critic, real, fake, alpha)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, expected)


def test_norms_are_not_taken_for_piecewise_linear():
    assert not is_piecewise_linear(PatchGAN(in_channels=1, width=1, norm="instance").logit_layers)
    assert not is_piecewise_linear([torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")])
    assert not is_piecewise_linear([torch.nn.Tanh()])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (two_sided, [1.0, -0.5]),
        (one_sided, [1.0, -0.5]),
        (zero_centered, [1.0, -0.5]),
        (r1, [1.0, 1.0]),
        (r2, [-1.0, -1.0]),
        (dragan, [1.0, 1.0]),  # real images without spread have no noise
    ],
)
def test_penalties_look_where_their_papers_do(make, expected):
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    make()(critic, torch.ones(2, 1, 1, 1), -torch.ones(2, 1, 1, 1), torch.tensor([1.0, 0.25]))
    assert seen[0].flatten().tolist() == expected


def test_dragan_looks_up_to_half_a_standard_deviation_above_real_images():
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    real = torch.randn(400, 1, 2, 2)
    dragan(perturbation=0.5)(critic, real, real, torch.ones(400))
    noise = (seen[0] - real) / real.std()
    assert 0 <= noise.min() < 0.01
    assert 0.49 < noise.max() <= 0.5 + 1e-5
