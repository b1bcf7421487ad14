"""f-divergences, in the form in which an f-GAN minimises them. Nowozin, Cseke, Tomioka 2016.

For a convex f, D_f(P||Q) is the mean of f(p(x) / q(x)) over x from Q (equation 2). P is what real images are drawn
from, Q what generated ones are. Every function T of an image gives a lower bound (equation 4),

    D_f(P||Q) >= E_P[T(x)] - E_Q[f*(T(x))],    f*(t) = sup over u > 0 of u t - f(u),

which T = f'(p/q) reaches (equation 5). A discriminator with logits v raises it by T = g_f(v) (equation 7).

f and g_f are those of tables 1 and 2 and of the longer ones in the appendix; f* is derived from f. It differs from the
appendix where u t - f(u) is largest as u falls to 0, for Pearson at t < -2: there f* is -f(0), while t^2 / 4 + t would
rise again as t falls, and turn the generator's gradient round. Likewise for alpha > 1, where the appendix's formula has
no value there, and for total variation at t < -1/2, where g_f does not go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import expm1, inf, isfinite, log
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus

from translate.errors import UserError, check_choice

DivergenceName = Literal[
    "total_variation",
    "kullback_leibler",
    "reverse_kullback_leibler",
    "pearson",
    "neyman",
    "squared_hellinger",
    "jeffrey",
    "jensen_shannon",
    "jensen_shannon_weighted",
    "gan",
    "alpha",
]


@dataclass(frozen=True)
class Divergence:
    """One row of the paper's tables; its functions take tensors of any shape and float type, element by element.

    Attributes:
        name: what it is typed as.
        formula: f(u), to be read.
        function: f(u) for u > 0.
        derivative: f'(u), where T is tight at u = p/q.
        conjugate: f*(t) within its domain.
        domain: the interval of t in which f* is finite; of a finite end the inside alone.
        activation: g_f(v), increasing, from all reals into the domain; in float32 large v may round to its end.
        conjugate_of_logits: f*(g_f(v)), written so that it stays exact there.
        middle: the logit at which g_f is f'(1), solved by hand: above it an image is more likely real, p > q.
    """

    name: str
    formula: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    domain: tuple[float, float]
    activation: Callable[[Tensor], Tensor]
    conjugate_of_logits: Callable[[Tensor], Tensor]
    middle: float = 0.0

    @property
    def threshold(self) -> float:
        """f'(1), the value of T that stands between real and generated."""
        return self.derivative(torch.ones((), dtype=torch.float64)).item()


def divergence(name: str, *, pi: float | None = None, alpha: float | None = None) -> Divergence:
    """The divergence of a name.

    Args:
        name: one of `DivergenceName`.
        pi: weight of the real distribution, between 0 and 1: for jensen_shannon_weighted, which needs it.
        alpha: the order, any number but 0 and 1: for alpha, which needs it.

    Raises:
        UserError: an unknown name, or a parameter that is missing, out of its range, or of another divergence.
    """
    check_choice("objective.divergence", name, get_args(DivergenceName))
    for key, value, owner in (("pi", pi, "jensen_shannon_weighted"), ("alpha", alpha, "alpha")):
        if value is not None and name != owner:
            raise UserError(
                f"objective.{key}={value} does nothing with objective.divergence={name}: leave it out, or use "
                f"objective.divergence={owner}"
            )
    if name == "jensen_shannon_weighted":
        if pi is None or not 0 < pi < 1:
            raise UserError(
                f"objective.divergence={name} needs objective.pi, the weight of real images, between 0 and 1 (0.5 is "
                f"half of jensen_shannon); it is {_shown(pi)}"
            )
        return jensen_shannon_weighted(pi)
    if name == "alpha":
        if alpha is None or not isfinite(alpha) or alpha in (0, 1):
            raise UserError(
                "objective.divergence=alpha needs objective.alpha, any number but 0 and 1, whose limits are "
                "reverse_kullback_leibler and kullback_leibler (2 is half of pearson, -1 half of neyman, 0.5 twice "
                f"squared_hellinger); it is {_shown(alpha)}"
            )
        return alpha_divergence(alpha)
    return FIXED[name]


EXAMPLE_PARAMETERS = {"jensen_shannon_weighted": {"pi": 0.25}, "alpha": {"alpha": 0.5}}
"""Those of the divergences that need some, to show them."""


def examples() -> list[Divergence]:
    """One of every name, in the order of `DivergenceName`, with `EXAMPLE_PARAMETERS`."""
    return [divergence(name, **EXAMPLE_PARAMETERS.get(name, {})) for name in get_args(DivergenceName)]


def jensen_shannon_weighted(pi: float) -> Divergence:
    """pi KL(P || M) + (1 - pi) KL(Q || M) with M = pi P + (1 - pi) Q, for 0 < pi < 1."""
    rest = 1 - pi
    top = -pi * log(pi)
    return Divergence(
        name="jensen_shannon_weighted",
        formula="pi * u * log(u) - (1 - pi + pi * u) * log(1 - pi + pi * u)",
        function=lambda u: pi * torch.xlogy(u, u) - (rest + pi * u) * torch.log(rest + pi * u),
        derivative=lambda u: pi * torch.log(u / (rest + pi * u)),
        conjugate=lambda t: rest * (log(rest) - torch.log1p(-pi * torch.exp(t / pi))),
        domain=(-inf, top),
        activation=lambda v: top + logsigmoid(v),
        # pi exp(g_f(v) / pi) = sigmoid(v)^(1 / pi)
        conjugate_of_logits=lambda v: rest * (log(rest) - torch.log(-torch.expm1(logsigmoid(v) / pi))),
        middle=-_softplus_inverse(top),
    )


def alpha_divergence(alpha: float) -> Divergence:
    """The alpha-divergence for any alpha but 0 and 1; its activation is another below 1 than above.

    Between 0 and 1, f* of a logit v > 0 grows as exp(v alpha / (1 - alpha)); above 0.6 its gradient leaves float32
    before v is 30. There kullback_leibler, the limit, or an alpha above 1 does better.
    """
    less = alpha - 1
    power = alpha / less

    def conjugate(t: Tensor) -> Tensor:
        return (relu(1 + less * t) ** power - 1) / alpha

    is_below = alpha < 1
    return Divergence(
        name="alpha",
        formula="(u^alpha - 1 - alpha * (u - 1)) / (alpha * (alpha - 1))",
        function=lambda u: (u**alpha - 1 - alpha * (u - 1)) / (alpha * less),
        derivative=lambda u: (u**less - 1) / less,
        conjugate=conjugate,
        domain=(-inf, -1 / less if is_below else inf),
        activation=(lambda v: -1 / less - softplus(-v)) if is_below else _identity,
        conjugate_of_logits=(lambda v: ((-less * softplus(-v)) ** power - 1) / alpha) if is_below else conjugate,
        middle=-_softplus_inverse(-1 / less) if is_below else 0.0,
    )


def _identity(v: Tensor) -> Tensor:
    return v


def _softplus_inverse(y: float) -> float:
    """The x with log(1 + exp(x)) = y, for y > 0."""
    return y + log(-expm1(-y))


def _shown(value: float | None) -> str:
    return "null" if value is None else str(value)


class _LogRatio(torch.autograd.Function):
    """s with s + 1 - exp(-s) = t: the log of the ratio u at which Jeffrey's f'(u) is t.

    With w = exp(-s) that is w exp(w) = exp(1 - t), so w = W(exp(1 - t)) of Lambert; in s nothing overflows.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        # All three lie below the root of a concave function, so Newton's steps rise to it: five reach float64.
        s = torch.maximum(torch.maximum(t / 2, t - 1), -torch.log1p(relu(-t)))
        for _ in range(5):
            s = s - (s - torch.expm1(-s) - t) / (1 + torch.exp(-s))
        ctx.save_for_backward(s)
        return s

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (s,) = ctx.saved_tensors
        return gradients[0] * torch.sigmoid(s)


def _jeffrey_conjugate(t: Tensor) -> Tensor:
    s: Tensor = _LogRatio.apply(t)
    return torch.expm1(s) + s


def _pearson_conjugate(t: Tensor) -> Tensor:
    return relu(t / 2 + 1).square() - 1


FIXED = {
    each.name: each
    for each in (
        Divergence(
            name="total_variation",
            formula="abs(u - 1) / 2",
            function=lambda u: (u - 1).abs() / 2,
            derivative=lambda u: torch.sign(u - 1) / 2,
            conjugate=lambda t: t.clamp(min=-0.5),
            domain=(-inf, 0.5),
            activation=lambda v: torch.tanh(v) / 2,
            conjugate_of_logits=lambda v: torch.tanh(v) / 2,
        ),
        Divergence(
            name="kullback_leibler",
            formula="u * log(u)",
            function=lambda u: torch.xlogy(u, u),
            derivative=lambda u: torch.log(u) + 1,
            conjugate=lambda t: torch.exp(t - 1),
            domain=(-inf, inf),
            activation=_identity,
            conjugate_of_logits=lambda v: torch.exp(v - 1),
            middle=1.0,
        ),
        Divergence(
            name="reverse_kullback_leibler",
            formula="-log(u)",
            function=lambda u: -torch.log(u),
            derivative=lambda u: -1 / u,
            conjugate=lambda t: -1 - torch.log(-t),
            domain=(-inf, 0.0),
            activation=lambda v: -torch.exp(-v),
            conjugate_of_logits=lambda v: v - 1,
        ),
        Divergence(
            name="pearson",
            formula="(u - 1)^2",
            function=lambda u: (u - 1).square(),
            derivative=lambda u: 2 * (u - 1),
            conjugate=_pearson_conjugate,
            domain=(-inf, inf),
            activation=_identity,
            conjugate_of_logits=_pearson_conjugate,
        ),
        Divergence(
            name="neyman",
            formula="(u - 1)^2 / u",
            function=lambda u: (u - 1).square() / u,
            derivative=lambda u: 1 - u**-2,
            conjugate=lambda t: 2 - 2 * torch.sqrt(1 - t),
            domain=(-inf, 1.0),
            activation=lambda v: -torch.expm1(-v),
            conjugate_of_logits=lambda v: -2 * torch.expm1(-v / 2),
        ),
        Divergence(
            name="squared_hellinger",
            formula="(sqrt(u) - 1)^2",
            function=lambda u: (torch.sqrt(u) - 1).square(),
            derivative=lambda u: 1 - u**-0.5,
            conjugate=lambda t: t / (1 - t),
            domain=(-inf, 1.0),
            activation=lambda v: -torch.expm1(-v),
            conjugate_of_logits=torch.expm1,
        ),
        Divergence(
            name="jeffrey",
            formula="(u - 1) * log(u)",
            function=lambda u: (u - 1) * torch.log(u),
            derivative=lambda u: torch.log(u) + 1 - 1 / u,
            conjugate=_jeffrey_conjugate,
            domain=(-inf, inf),
            activation=_identity,
            conjugate_of_logits=_jeffrey_conjugate,
        ),
        Divergence(
            name="jensen_shannon",
            formula="u * log(u) - (u + 1) * log((u + 1) / 2)",
            function=lambda u: torch.xlogy(u, u) - (u + 1) * torch.log((u + 1) / 2),
            derivative=lambda u: torch.log(2 * u / (u + 1)),
            conjugate=lambda t: -torch.log(2 - torch.exp(t)),
            domain=(-inf, log(2)),
            activation=lambda v: log(2) + logsigmoid(v),
            conjugate_of_logits=lambda v: softplus(v) - log(2),
        ),
        Divergence(
            name="gan",
            formula="u * log(u) - (u + 1) * log(u + 1)",
            function=lambda u: torch.xlogy(u, u) - (u + 1) * torch.log(u + 1),
            derivative=lambda u: torch.log(u / (u + 1)),
            conjugate=lambda t: -torch.log(-torch.expm1(t)),
            domain=(-inf, 0.0),
            activation=logsigmoid,
            conjugate_of_logits=softplus,
        ),
    )
}
"""Those without a parameter, by name."""
