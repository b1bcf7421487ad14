"""Objectives at logits whose losses can be worked out by hand."""

from math import exp, log

import pytest
import torch

from translate.errors import UserError
from translate.objectives.adversarial import hinge, lsgan, minimax, nonsaturating, wasserstein

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


def test_only_wasserstein_needs_bounded_slopes():
    made = {make: make().needs_bounded_slopes for make in (nonsaturating, minimax, lsgan, hinge, wasserstein)}
    assert [make for make, needs in made.items() if needs] == [wasserstein]


def test_weights_cannot_be_clipped_to_nothing():
    with pytest.raises(UserError, match=r"objective\.weight_clip=0\.0 must be more than 0, or null"):
        wasserstein(weight_clip=0.0)
