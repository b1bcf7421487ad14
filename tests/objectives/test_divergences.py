"""f-divergences against their definitions: suprema and integrals taken numerically, and values worked out by hand."""

from math import e, erf, exp, log, pi, sqrt
from typing import get_args

import pytest
import torch

from translate.errors import UserError
from translate.objectives.divergences import DivergenceName, divergence

WEIGHT = 0.3
ORDERS = (-1.0, 0.5, 1.5, 3.0)
PLAIN = [divergence(name) for name in get_args(DivergenceName) if name not in ("jensen_shannon_weighted", "alpha")]
ALL = {each.name: each for each in [*PLAIN, divergence("jensen_shannon_weighted", pi=WEIGHT)]}
ALL |= {f"alpha_{order}": divergence("alpha", alpha=order) for order in ORDERS}
every = pytest.mark.parametrize("name", ALL)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def line(low, high, count):
    return torch.linspace(low, high, count, dtype=torch.float64)


def at(function, value):
    return function(tensor(value)).item()


@every
def test_the_formula_that_is_shown_is_the_function(name):
    ratios = line(0.1, 5, 50)
    names = {"u": ratios, "log": torch.log, "sqrt": torch.sqrt, "pi": WEIGHT}
    if name.startswith("alpha_"):
        names["alpha"] = float(name.removeprefix("alpha_"))
    shown = eval(ALL[name].formula.replace("^", "**"), names)
    torch.testing.assert_close(ALL[name].function(ratios), shown)


@every
def test_f_is_convex_and_zero_at_one(name):
    f = ALL[name].function
    assert at(f, 1.0) == pytest.approx(-log(4) if name == "gan" else 0)  # the paper leaves gan as it is
    low, high = torch.meshgrid(line(-5, 5, 41).exp(), line(-5, 5, 41).exp(), indexing="ij")
    assert (f((low + high) / 2) <= (f(low) + f(high)) / 2 + 1e-12).all()


@every
def test_the_derivative_is_that_of_f(name):
    ratios = tensor(0.01, 0.3, 0.9, 1.1, 4.0, 50.0).requires_grad_(True)
    (slope,) = torch.autograd.grad(ALL[name].function(ratios).sum(), ratios)
    torch.testing.assert_close(ALL[name].derivative(ratios).detach(), slope)


@every
def test_the_conjugate_is_the_supremum_over_all_ratios(name):
    chosen = ALL[name]
    ratios = line(-14, 14, 40_001).exp()
    t = chosen.activation(line(-3, 3, 13))
    supremum = (t[:, None] * ratios - chosen.function(ratios)).amax(1)
    torch.testing.assert_close(chosen.conjugate(t), supremum, rtol=1e-5, atol=2e-5)


@every
def test_the_conjugate_of_the_conjugate_is_f(name):
    chosen = ALL[name]
    ratios = tensor(0.1, 0.5, 1.0, 2.0, 10.0)
    logits = line(-60, 60, 120_001)
    supremum = (ratios[:, None] * chosen.activation(logits) - chosen.conjugate_of_logits(logits)).amax(1)
    torch.testing.assert_close(supremum, chosen.function(ratios), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "t", "value"),
    [
        ("pearson", 2.0, 3.0),  # the paper's t^2 / 4 + t
        ("pearson", -5.0, -1.0),  # -f(0)
        ("total_variation", -3.0, -0.5),
        ("alpha_3.0", -2.0, -1 / 3),
        ("alpha_0.5", 1.0, 2.0),
        ("neyman", 0.75, 1.0),
        ("squared_hellinger", 0.5, 1.0),
        ("jensen_shannon", 0.0, 0.0),
        ("jeffrey", 0.0, 0.0),
        ("jeffrey", 2 - 1 / e, e),  # where W is 1 / e
        ("jeffrey", -e, 1 / e - 2),  # where W is e
        ("jeffrey", -1e9, -1 - log(1e9 - log(1e9))),
    ],
)
def test_conjugates_worked_out_by_hand(name, t, value):
    assert at(ALL[name].conjugate, t) == pytest.approx(value, rel=1e-12)


def test_thresholds_are_those_of_the_paper():
    others = {"kullback_leibler": 1, "reverse_kullback_leibler": -1, "gan": -log(2)}
    for name, chosen in ALL.items():
        assert chosen.threshold == pytest.approx(others.get(name, 0), abs=1e-15)
        assert at(chosen.activation, chosen.middle) == pytest.approx(chosen.threshold, abs=1e-12)


def test_the_middle_is_found_for_parameters_near_their_ends():
    chosen = [divergence("jensen_shannon_weighted", pi=weight) for weight in (1e-6, 0.999)]
    chosen += [divergence("alpha", alpha=order) for order in (-1e6, 1e-6, 0.9999)]
    for each in chosen:
        assert at(each.activation, each.middle) == pytest.approx(0, abs=1e-9)


@every
def test_the_activation_rises_within_the_domain_and_reaches_every_value_of_the_derivative(name):
    chosen = ALL[name]
    low, high = chosen.domain
    values = chosen.activation(line(-15, 15, 301))
    assert (values.diff() > 0).all()
    assert low < values[0]
    assert values[-1] < high
    derivatives = chosen.derivative(line(-8, 8, 101).exp())
    assert at(chosen.activation, -1e7) <= derivatives.min()
    assert derivatives.max() <= at(chosen.activation, 1e7) <= high


@every
def test_both_functions_of_logits_are_the_same_game(name):
    chosen = ALL[name]
    logits = line(-8, 8, 101)
    expected = chosen.conjugate(chosen.activation(logits))
    torch.testing.assert_close(chosen.conjugate_of_logits(logits), expected, rtol=1e-7, atol=1e-9)


@every
def test_gradients_are_right(name):
    chosen = ALL[name]
    logits = tensor(-2.9, -1.3, -0.4, 0.3, 1.7, 2.6).requires_grad_(True)
    assert torch.autograd.gradcheck(chosen.activation, logits)
    assert torch.autograd.gradcheck(chosen.conjugate_of_logits, logits)
    assert torch.autograd.gradcheck(chosen.conjugate, chosen.activation(logits).detach().requires_grad_(True))
    assert torch.autograd.gradgradcheck(chosen.conjugate_of_logits, logits)


@pytest.mark.parametrize(
    "chosen",
    [
        *ALL.values(),
        *(divergence("jensen_shannon_weighted", pi=weight) for weight in (0.01, 0.99)),
        *(divergence("alpha", alpha=order) for order in (-5.0, -0.1, 0.1, 0.6, 1.01, 10.0)),
    ],
    ids=lambda chosen: chosen.name,
)
def test_float32_logits_of_30_have_finite_losses_and_gradients(chosen):
    logits = torch.linspace(-30, 30, 601, requires_grad=True)
    for function in (chosen.activation, chosen.conjugate_of_logits):
        values = function(logits)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert values.isfinite().all()
        assert gradient.isfinite().all()
        assert (gradient >= 0).all()
        exact = function(logits.detach().double())
        torch.testing.assert_close(values.detach().double(), exact, rtol=3e-5, atol=1e-5)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_stays_what_it_is(name, dtype):
    logits = line(-4, 4, 9)
    for function in (ALL[name].activation, ALL[name].conjugate_of_logits):
        assert function(logits.to(dtype)).dtype == dtype
        torch.testing.assert_close(function(logits.to(dtype)).double(), function(logits), rtol=0.05, atol=0.05)


X = line(-14, 15, 5_801)
P, Q = (torch.exp(-((X - mean) ** 2) / 2) / sqrt(2 * pi) for mean in (0, 1))
MIXED = WEIGHT * P + (1 - WEIGHT) * Q


def integral(values):
    return values.sum().item() * (X[1] - X[0]).item()


def alpha_by_hand(order):
    return (exp(order * (order - 1) / 2) - 1) / (order * (order - 1))


JENSEN_SHANNON = integral(P * (2 * P / (P + Q)).log() + Q * (2 * Q / (P + Q)).log())
GAUSSIAN = {
    "total_variation": erf(1 / sqrt(8)),
    "kullback_leibler": 0.5,
    "reverse_kullback_leibler": 0.5,
    "pearson": e - 1,
    "neyman": e - 1,
    "squared_hellinger": 2 - 2 * exp(-1 / 8),
    "jeffrey": 1.0,
    "jensen_shannon": JENSEN_SHANNON,
    "gan": JENSEN_SHANNON - log(4),
    "jensen_shannon_weighted": integral(WEIGHT * P * (P / MIXED).log() + (1 - WEIGHT) * Q * (Q / MIXED).log()),
    **{f"alpha_{order}": alpha_by_hand(order) for order in ORDERS},
}
"""The divergences of N(0, 1) from N(1, 1), in closed form; the Jensen-Shannon family integrated from its definition."""


@every
def test_divergences_of_two_gaussians_are_the_known_ones(name):
    assert integral(Q * ALL[name].function(P / Q)) == pytest.approx(GAUSSIAN[name], rel=1e-5)


@every
def test_the_bound_is_tight_at_the_derivative_and_lower_elsewhere(name):
    chosen = ALL[name]

    def bound(t):
        return integral(P * t - Q * chosen.conjugate(t))

    best = chosen.derivative(P / Q)
    assert bound(best) == pytest.approx(GAUSSIAN[name], rel=1e-5)
    others = [
        chosen.activation(v) for v in (0 * X, 3 * torch.tanh(0.2 - X), X - 0.5, torch.sin(X), torch.cos(3 * X) - 1)
    ]
    for other in others:
        for share in (0.1, 0.5, 1.0):
            assert bound(best + share * (other - best)) < GAUSSIAN[name] - 2e-4 * share**2


@pytest.mark.parametrize(
    ("order", "times", "name"), [(2, 0.5, "pearson"), (-1, 0.5, "neyman"), (0.5, 2, "squared_hellinger")]
)
def test_alpha_divergences_include_multiples_of_the_others(order, times, name):
    ours, theirs = divergence("alpha", alpha=order), ALL[name]
    ratios, t = line(0.1, 5, 50), line(-4, 0.4, 50)
    torch.testing.assert_close(ours.function(ratios), times * theirs.function(ratios))
    torch.testing.assert_close(ours.conjugate(t), times * theirs.conjugate(t / times))


def test_half_a_weight_halves_the_jensen_shannon_divergence():
    ours, theirs = divergence("jensen_shannon_weighted", pi=0.5), ALL["jensen_shannon"]
    ratios, t = line(0.1, 5, 50), line(-4, 0.3, 50)
    torch.testing.assert_close(ours.function(ratios), theirs.function(ratios) / 2)
    torch.testing.assert_close(ours.conjugate(t), theirs.conjugate(2 * t) / 2)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("chi_squared", {}, "objective.divergence='chi_squared' is not one of total_variation, .*, alpha"),
        (
            "pearson",
            {"pi": 0.5},
            "objective.pi=0.5 does nothing with objective.divergence=pearson: leave it out, or use",
        ),
        ("gan", {"alpha": 2.0}, "objective.alpha=2.0 does nothing .* or use objective.divergence=alpha"),
        (
            "jensen_shannon_weighted",
            {},
            "needs objective.pi, the weight of real images, between 0 and 1 .*; it is null",
        ),
        ("jensen_shannon_weighted", {"pi": 1.0}, "between 0 and 1 .*; it is 1.0"),
        ("alpha", {}, "needs objective.alpha, any number but 0 and 1, .*; it is null"),
        ("alpha", {"alpha": 0.0}, "whose limits are reverse_kullback_leibler and kullback_leibler .*; it is 0.0"),
        ("alpha", {"alpha": 1.0}, "it is 1.0"),
        ("alpha", {"alpha": float("nan")}, "it is nan"),
    ],
)
def test_what_makes_no_divergence_is_refused_by_name(name, parameters, message):
    with pytest.raises(UserError, match=message):
        divergence(name, **parameters)
