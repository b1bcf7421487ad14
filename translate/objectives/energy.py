"""Objectives on energies: the discriminator is an auto-encoder, and what it reconstructs badly has a high energy."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from translate.errors import UserError
from translate.objectives.adversarial import AdversarialObjective


def ebgan(*, margin: float = 1.0, pulling_away: float = 0.0) -> AdversarialObjective:
    """Energy-based, Zhao et al. 2017, equations 1 and 2: real E, fake max(0, margin - E), generator E.

    Args:
        margin: energy above which generated images are bad enough for the discriminator.
        pulling_away: weight of the pulling-away term that keeps generated images apart (0.1 in the paper); see
            `pulling_away_term`. It needs a batch of two images at least.

    Raises:
        UserError: a margin that is not more than 0, or a negative weight.
    """
    if not margin > 0:
        raise UserError(f"objective.margin={margin} must be more than 0")
    if pulling_away < 0:
        raise UserError(f"objective.pulling_away={pulling_away} must be at least 0; 0 is off")
    return AdversarialObjective(
        real=lambda energies: energies.mean(),
        fake=lambda energies: relu(margin - energies).mean(),
        generator=lambda energies: energies.mean(),
        middle=None,
        judges_by="energy",
        pulling_away=pulling_away,
    )


def began(*, diversity: float = 0.5, balance_rate: float = 0.001) -> AdversarialObjective:
    """Boundary equilibrium, Berthelot et al. 2017, section 3.3: real E, fake -k E, generator E.

    k follows the balance between the two; see `Balance`. The energies of generated images are those that the
    discriminator sees, which for CycleGAN come from its history.

    Args:
        diversity: gamma, the energy of generated images in parts of that of real ones, from 0 to 1: a lower one makes
            better and fewer kinds of images.
        balance_rate: lambda_k, how fast k follows (0.001 in the paper).

    Raises:
        UserError: a value outside its range.
    """
    if not 0 < diversity <= 1:
        raise UserError(f"objective.diversity={diversity} is outside 0 to 1")
    if not balance_rate > 0:
        raise UserError(f"objective.balance_rate={balance_rate} must be more than 0")
    return AdversarialObjective(
        real=lambda energies: energies.mean(),
        fake=lambda energies: -energies.mean(),
        generator=lambda energies: energies.mean(),
        middle=None,
        judges_by="energy",
        balance=lambda: Balance(diversity, balance_rate),
    )


class Balance(nn.Module):
    """How much a discriminator minds generated images, so that neither player wins. A memory.

    k <- k + balance_rate * (diversity * real - fake), from 0 and kept within 0 to 1, where real and fake are mean
    energies. The measure of convergence is M = real + |diversity * real - fake|. Berthelot et al. 2017, section 3.4.
    """

    weight: Tensor
    measure: Tensor

    def __init__(self, diversity: float, balance_rate: float) -> None:
        super().__init__()
        self.diversity, self.balance_rate = diversity, balance_rate
        self.register_buffer("weight", torch.tensor(0.0))
        self.register_buffer("measure", torch.tensor(0.0))

    @torch.no_grad()
    def update(self, real: Float[Tensor, ""], fake: Float[Tensor, ""]) -> None:
        """Take in the mean energies of a step."""
        surplus = self.diversity * real - fake
        self.weight.add_(self.balance_rate * surplus).clamp_(0, 1)
        self.measure.copy_(real + surplus.abs())


def pulling_away_term(codes: Float[Tensor, "batch features"]) -> Float[Tensor, ""]:
    """Mean squared cosine between the codes of different images. Zhao et al. 2017, equation 3 of section 2.4."""
    with torch.autocast(codes.device.type, enabled=False):
        directions = normalize(codes if codes.dtype == torch.float64 else codes.float())
        squares = (directions @ directions.T).square()
        count = len(codes)
        return (squares.sum() - squares.diagonal().sum()) / (count * (count - 1))
