"""Objectives at logits whose losses can be worked out by hand."""

from math import exp, log

import pytest
import torch

from translate.errors import UserError
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.stargan import StarGANDiscriminator
from translate.objectives.adversarial import hinge, lsgan, minimax, nonsaturating, wasserstein
from translate.objectives.penalties import gradient_penalty, is_piecewise_linear

LOGITS = (2.0, -0.5)


def mean(function):
    return sum(function(logit) for logit in LOGITS) / len(LOGITS)


def sigmoid(logit):
    return 1 / (1 + exp(-logit))


@pytest.mark.parametrize(
    ("objective", "real", "fake", "generator"),
    [
        (
            nonsaturating(),
            mean(lambda logit: -log(sigmoid(logit))),
            mean(lambda logit: -log(1 - sigmoid(logit))),
            mean(lambda logit: -log(sigmoid(logit))),
        ),
        (
            minimax(),
            mean(lambda logit: -log(sigmoid(logit))),
            mean(lambda logit: -log(1 - sigmoid(logit))),
            mean(lambda logit: log(1 - sigmoid(logit))),
        ),
        (lsgan(), (1 + 2.25) / 2, (4 + 0.25) / 2, (1 + 2.25) / 2),
        (
            lsgan(fake_label=-1.0, real_label=1.0, generator_label=0.0),
            (1 + 2.25) / 2,
            (9 + 0.25) / 2,
            (4 + 0.25) / 2,
        ),
        (hinge(), (0 + 1.5) / 2, (3 + 0.5) / 2, -0.75),
        (wasserstein(), -0.75, 0.75, -0.75),
    ],
    ids=["nonsaturating", "minimax", "lsgan", "lsgan_pearson", "hinge", "wasserstein"],
)
def test_losses_are_those_worked_out_by_hand(objective, real, fake, generator):
    logits = torch.tensor([[[list(LOGITS)]]], dtype=torch.float64)
    assert objective.real(logits).item() == pytest.approx(real)
    assert objective.fake(logits).item() == pytest.approx(fake)
    assert objective.generator(logits).item() == pytest.approx(generator)


def test_nonsaturating_survives_extreme_logits():
    logits = torch.tensor([1e4, -1e4])
    assert nonsaturating().real(logits).item() == pytest.approx(5e3)
    assert nonsaturating().fake(logits).item() == pytest.approx(5e3)


# Of four images P has 1, 2, 1, 4 of 8, and Q 3, 2, 1, 2 of 8.
REAL, FAKE = (0, 1, 1, 2, 3, 3, 3, 3), (0, 0, 0, 1, 1, 2, 3, 3)


def best_logits(objective):
    """What a discriminator ends at that may give each image any logit, by gradient descent."""
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    for _ in range(400):
        loss = objective.real(logits[list(REAL)]) + objective.fake(logits[list(FAKE)])
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_(True)
    return logits.detach(), loss.item()


def test_the_best_minimax_discriminator_is_p_over_p_plus_q():
    logits, loss = best_logits(minimax())
    best = [1 / 4, 2 / 4, 1 / 2, 4 / 6]
    assert torch.sigmoid(logits).tolist() == pytest.approx(best)
    value = sum(log(best[place]) for place in REAL) / 8 + sum(log(1 - best[place]) for place in FAKE) / 8
    assert -loss == pytest.approx(value)
    assert value > -log(4)


def test_minimax_has_value_minus_log_4_where_generated_images_are_like_real_ones():
    logits = torch.zeros(8, dtype=torch.float64)  # D = 1/2
    assert -(minimax().real(logits) + minimax().fake(logits)).item() == pytest.approx(-log(4))
    moved = logits.requires_grad_(True)
    loss = minimax().real(moved) + minimax().fake(moved)
    assert torch.autograd.grad(loss, moved)[0].abs().max() == 0


def test_a_sure_discriminator_teaches_a_nonsaturating_generator_alone():
    slopes = []
    for objective in (minimax(), nonsaturating()):
        logits = torch.tensor([-20.0], requires_grad=True)
        objective.generator(logits).backward()
        slopes.append(logits.grad.item())
    assert slopes == pytest.approx([-sigmoid(-20), -1], rel=1e-5)


def test_least_squares_with_labels_minus_one_one_zero_minimises_a_pearson_divergence():
    objective = lsgan(fake_label=-1.0, real_label=1.0, generator_label=0.0)
    logits, _ = best_logits(objective)
    p, q = (torch.bincount(torch.tensor(places)).double() / 8 for places in (REAL, FAKE))
    torch.testing.assert_close(logits, (p - q) / (p + q))  # (b p + a q) / (p + q)
    loss = objective.generator(logits[list(REAL)]) + objective.generator(logits[list(FAKE)])
    # Mao et al. 2017, section 3.2: sum of (2 q - (p + q))^2 / (p + q)
    assert loss.item() == pytest.approx((4 / 4 + 0 + 0 + 4 / 6) / 8)
    assert objective.middle == 0


@pytest.mark.parametrize("labels", [(1.0, 0.0, 1.0), (0.0, 1.0, -1.0), (0.5, 0.5, 1.0)])
def test_least_squares_refuses_labels_that_make_no_game(labels):
    fake, real, generator = labels
    message = f"objective.fake_label={fake} must be less than objective.real_label={real} and .*={generator}, as in 0"
    with pytest.raises(UserError, match=message):
        lsgan(fake_label=fake, real_label=real, generator_label=generator)


def test_only_wasserstein_asks_for_a_penalty():
    makers = (nonsaturating, minimax, lsgan, hinge, wasserstein)
    assert [make().gradient_penalty for make in makers] == [0, 0, 0, 0, 10]


def linear_critic(weight):
    critic = torch.nn.Conv2d(1, 1, 2, bias=False).double()
    critic.weight.data = torch.tensor([[weight]], dtype=torch.float64)
    return critic


def test_penalty_of_a_linear_critic_is_its_slope_minus_one_squared():
    critic = linear_critic([[3.0, 0.0], [0.0, 4.0]])  # gradient of norm 5 everywhere
    real, fake = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64)
    assert gradient_penalty(critic, real, fake, torch.rand(3)).item() == pytest.approx(16)


def test_penalty_reaches_the_critic_and_its_gradient_is_right():
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.Tanh(), torch.nn.Conv2d(2, 1, 1)).double()
    real, fake = torch.randn(2, 2, 1, 3, 3, dtype=torch.float64)
    alpha = torch.rand(2, 1, 1, 1, dtype=torch.float64)
    weight = critic[0].weight.detach().clone().requires_grad_(True)

    def penalty(weight):
        def run(images):
            features = torch.tanh(torch.nn.functional.conv2d(images, weight, critic[0].bias))
            return critic[2](features)

        return gradient_penalty(run, real, fake, alpha)

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
        penalty = gradient_penalty(discriminator, real, fake, alpha)
        penalty.backward()
        weights = critic.logit_layers.named_parameters()
        results.append((penalty.detach(), {name: p.grad for name, p in weights if name.endswith("weight")}))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_penalty_is_float32_under_mixed_precision(norm):
    critic = PatchGAN(in_channels=1, width=2, norm=norm, num_layers=1)
    real, fake, alpha = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2)
    expected = gradient_penalty(critic, real, fake, alpha)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(real).dtype == torch.bfloat16
        mixed = gradient_penalty(critic, real, fake, alpha)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, expected)


def test_norms_are_not_taken_for_piecewise_linear():
    assert not is_piecewise_linear(PatchGAN(in_channels=1, width=1, norm="instance").logit_layers)
    assert not is_piecewise_linear([torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")])
    assert not is_piecewise_linear([torch.nn.Tanh()])


def test_penalty_is_taken_between_real_and_fake():
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    gradient_penalty(
        critic, torch.ones(2, 1, 1, 1), -torch.ones(2, 1, 1, 1), torch.tensor([1.0, 0.25]).view(2, 1, 1, 1)
    )
    assert seen[0].flatten().tolist() == [1.0, -0.5]
