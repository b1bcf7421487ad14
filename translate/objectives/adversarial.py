"""Adversarial objectives: what the discriminator and the generator minimise, as three functions of the logits.

A discriminator gives logits of any shape; each function here returns their mean loss, a scalar. A named objective is
a value of `AdversarialObjective`, made by the function of its name. The first line of the function's docstring has its
paper and its three losses; `catalogue` reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from translate.errors import UserError

Loss = Callable[[Tensor], Tensor]
BOUNDED_SLOPES = (
    "a gradient penalty such as gradient_penalty=two_sided (not with batch norm), objective=wasserstein_clipped, or "
    "discriminator.spectral_norm=true with discriminator.norm=none"
)
"""What keeps a critic's slopes small. Any norm but none divides out again what spectral normalisation scales."""


@dataclass(frozen=True)
class AdversarialObjective:
    """The triple that defines a two-player game on logits.

    Attributes:
        real: the discriminator's loss on logits of real images.
        fake: the discriminator's loss on logits of generated images.
        generator: the generator's loss on logits of generated images.
        middle: the logit halfway between real and fake; None where logits have no place of their own.
        judges_by: what it takes from a discriminator: logits of any sign, or energies of at least 0.
        needs_bounded_slopes: whether it means nothing unless something keeps the discriminator's slopes small.
        weight_clip: largest size of the discriminator's weights, which are clipped after every step; None is off.
        balance: makes what weighs the discriminator's loss on generated images, and follows it; None for nothing.
        pulling_away: weight of the generator's pulling-away term (see `energy.pulling_away_term`); 0 is off.
    """

    real: Loss
    fake: Loss
    generator: Loss
    middle: float | None = 0.0
    judges_by: Literal["logits", "energy"] = "logits"
    needs_bounded_slopes: bool = False
    weight_clip: float | None = None
    balance: Callable[[], nn.Module] | None = None
    pulling_away: float = 0.0


def nonsaturating() -> AdversarialObjective:
    """Non-saturating, Goodfellow et al. 2014, section 3: real -log D, fake -log(1 - D), generator -log D.

    With D = sigmoid(logit); what pix2pix calls vanilla.
    """
    return AdversarialObjective(
        real=lambda logits: softplus(-logits).mean(),
        fake=lambda logits: softplus(logits).mean(),
        generator=lambda logits: softplus(-logits).mean(),
    )


def minimax() -> AdversarialObjective:
    """Minimax, Goodfellow et al. 2014, equation 1: real -log D, fake -log(1 - D), generator log(1 - D).

    With D = sigmoid(logit): both players are on one value, whose gradient for the generator vanishes where the
    discriminator recognises fakes with certainty (section 3): `nonsaturating` is what is trained with.
    """
    return AdversarialObjective(
        real=lambda logits: softplus(-logits).mean(),
        fake=lambda logits: softplus(logits).mean(),
        generator=lambda logits: -softplus(logits).mean(),
    )


def lsgan(*, fake_label: float = 0.0, real_label: float = 1.0, generator_label: float = 1.0) -> AdversarialObjective:
    """Least squares, Mao et al. 2017, equation 2: real (D - b)^2, fake (D - a)^2, generator (D - c)^2.

    Without the paper's factor 1/2. The defaults are its equation 9. Where b - c = 1 and b - a = 2, as with a = -1,
    b = 1, c = 0 (equation 8), the generator minimises a Pearson chi-squared divergence, that of P + Q from 2 Q.

    Args:
        fake_label: a, what the discriminator answers to generated images.
        real_label: b, what it answers to real ones.
        generator_label: c, what the generator wants it to answer to generated ones.

    Raises:
        UserError: `fake_label` is not the smallest.
    """
    if not fake_label < min(real_label, generator_label):
        raise UserError(
            f"objective.fake_label={fake_label} must be less than objective.real_label={real_label} and "
            f"objective.generator_label={generator_label}, as in 0, 1, 1 or -1, 1, 0"
        )
    return AdversarialObjective(
        real=lambda logits: (logits - real_label).square().mean(),
        fake=lambda logits: (logits - fake_label).square().mean(),
        generator=lambda logits: (logits - generator_label).square().mean(),
        middle=(fake_label + real_label) / 2,
    )


def hinge() -> AdversarialObjective:
    """Hinge, Lim and Ye 2017, Zhang et al. 2019, equation 4: real max(0, 1 - D), fake max(0, 1 + D), generator -D."""
    return AdversarialObjective(
        real=lambda logits: relu(1 - logits).mean(),
        fake=lambda logits: relu(1 + logits).mean(),
        generator=lambda logits: -logits.mean(),
    )


def wasserstein(*, weight_clip: float | None = None) -> AdversarialObjective:
    """Wasserstein, Arjovsky et al. 2017, equation 3: real -D, fake D, generator -D.

    It means something for a critic of bounded slope alone: by a gradient penalty (Gulrajani et al. 2017), spectral
    normalisation, or clipped weights as in the first paper.

    Args:
        weight_clip: largest size of the critic's weights (0.01 in the paper); None does not clip.

    Raises:
        UserError: a weight_clip that is not more than 0.
    """
    if weight_clip is not None and not weight_clip > 0:
        raise UserError(f"objective.weight_clip={weight_clip} must be more than 0, or null")
    return AdversarialObjective(
        real=lambda logits: -logits.mean(),
        fake=lambda logits: logits.mean(),
        generator=lambda logits: -logits.mean(),
        middle=None,
        needs_bounded_slopes=True,
        weight_clip=weight_clip,
    )
