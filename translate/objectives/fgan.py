"""f-GAN: the adversarial objectives that minimise an f-divergence. Nowozin, Cseke, Tomioka 2016."""

from typing import Literal

from translate.errors import check_choice
from translate.objectives import divergences
from translate.objectives.adversarial import AdversarialObjective
from translate.objectives.divergences import DivergenceName


def fgan(
    *,
    divergence: DivergenceName = "jensen_shannon",
    generator_loss: Literal["practical", "saddle_point"] = "practical",
    pi: float | None = None,
    alpha: float | None = None,
) -> AdversarialObjective:
    """f-GAN, Nowozin et al. 2016, equation 7: real -T, fake f*(T), generator -T.

    T = g_f(logit) and f* are those of the divergence; see `divergences`.

    Args:
        divergence: which one; between the real distribution P and the generated Q.
        generator_loss: `saddle_point` is -f*(T): the generator lowers the bound that the discriminator raises. For most
            divergences its gradient vanishes once the discriminator is sure. `practical` is -T (section 3.2).
        pi: weight of the real distribution in jensen_shannon_weighted, between 0 and 1.
        alpha: the order of alpha, any number but 0 and 1.

    With `practical`, gan is `nonsaturating`, and jensen_shannon too but for a constant; with `saddle_point` they are
    `minimax`.

    Raises:
        UserError: as `divergences.divergence`, or an unknown loss of the generator.
    """
    check_choice("objective.generator_loss", generator_loss, ("practical", "saddle_point"))
    chosen = divergences.divergence(divergence, pi=pi, alpha=alpha)
    return AdversarialObjective(
        real=lambda logits: -chosen.activation(logits).mean(),
        fake=lambda logits: chosen.conjugate_of_logits(logits).mean(),
        generator=(
            (lambda logits: -chosen.activation(logits).mean())
            if generator_loss == "practical"
            else (lambda logits: -chosen.conjugate_of_logits(logits).mean())
        ),
        middle=chosen.middle,
    )
