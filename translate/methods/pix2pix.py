"""Pix2Pix: image-to-image translation with conditional adversarial networks. Isola et al. 2017."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.batch import Pair
from translate.methods.adversary import AdversaryFactory
from translate.methods.method import (
    DiscriminatorFactory,
    GeneratorFactory,
    Method,
    Translation,
    Turn,
    check_critic_steps,
)
from translate.methods.step import Step


class Pix2Pix(Method):
    """A generator that must both match the paired target and convince a discriminator that sees the source too.

    G* = arg min_G max_D L_cGAN(G, D) + l1_weight * L_L1(G)   (equation 4)

    The discriminator's losses are halved, which slows it down relative to the generator (section 3.3).

    Args:
        generator: makes the generator.
        discriminator: makes the discriminator.
        adversary: makes the adversary.
        source_channels: channels of the images to translate.
        target_channels: channels of the translated images.
        l1_weight: weight of the L1 distance to the target (100 in the paper).
        conditional: whether the discriminator sees the source beside the output, as in the paper.
        n_critic: steps of the discriminator for each of the generator (1 in the paper).

    Raises:
        UserError: an adversary that does not go with the discriminator, or n_critic below 1.
    """

    batch_type = Pair
    players: ClassVar = {"discriminator": ("discriminator",), "generator": ("generator",)}
    translators = ("generator",)

    def __init__(
        self,
        *,
        generator: GeneratorFactory,
        discriminator: DiscriminatorFactory,
        adversary: AdversaryFactory,
        source_channels: int,
        target_channels: int,
        l1_weight: float = 100.0,
        conditional: bool = True,
        n_critic: int = 1,
    ) -> None:
        super().__init__()
        check_critic_steps(n_critic)
        self.n_critic = n_critic
        self.l1_weight = l1_weight
        self.conditional = conditional
        self.generator = generator(in_channels=source_channels, out_channels=target_channels)
        self.discriminator = discriminator(in_channels=target_channels + conditional * source_channels)
        self.adversary = adversary({"discriminator": self.discriminator})

    def play(self, batch: Pair, step: Step) -> Iterator[Turn]:
        source, target = batch
        moves_generator = (step.number + 1) % self.n_critic == 0
        with torch.set_grad_enabled(moves_generator):
            fake = self.generator(source)  # (B, C, H, W)

        of_source = (source,) if self.conditional else ()
        losses, _ = self.adversary.discriminator_losses(
            "discriminator", self.discriminator, (*of_source, target), (*of_source, fake.detach()), step, weight=0.5
        )
        yield Turn("discriminator", losses, self.adversary.clip(self.discriminator))
        if not moves_generator:
            return

        losses, _ = self.adversary.generator_losses("generator", self.discriminator, (*of_source, fake), step)
        losses["generator_l1"] = self.l1_weight * l1_loss(fake, target)
        yield Turn("generator", losses, translations={"forward": Translation(source, fake, target)})

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def show(self, batch: Pair) -> dict[str, Tensor]:
        return {"source": batch.source, "output": self.translate(batch.source), "target": batch.target}
