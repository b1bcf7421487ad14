"""Pix2Pix: image-to-image translation with conditional adversarial networks. Isola et al. 2017."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.batch import Pair
from translate.methods.method import (
    DiscriminatorFactory,
    GeneratorFactory,
    Method,
    Step,
    Turn,
    check_penalty,
    discriminator_losses,
    frozen,
)
from translate.objectives.adversarial import AdversarialObjective


class Pix2Pix(Method):
    """A generator that must both match the paired target and convince a discriminator that sees the source too.

    G* = arg min_G max_D L_cGAN(G, D) + l1_weight * L_L1(G)   (equation 4)

    Args:
        generator: makes the generator.
        discriminator: makes the discriminator.
        objective: the adversarial objective.
        source_channels: channels of the images to translate.
        target_channels: channels of the translated images.
        l1_weight: weight of the L1 distance to the target (100 in the paper).
        conditional: whether the discriminator sees the source beside the output, as in the paper.

    Raises:
        UserError: a gradient penalty together with batch norm in the discriminator.
    """

    batch_type = Pair
    players: ClassVar = {"discriminator": ("discriminator",), "generator": ("generator",)}
    translators = ("generator",)

    def __init__(
        self,
        *,
        generator: GeneratorFactory,
        discriminator: DiscriminatorFactory,
        objective: AdversarialObjective,
        source_channels: int,
        target_channels: int,
        l1_weight: float = 100.0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.l1_weight = l1_weight
        self.conditional = conditional
        self.generator = generator(in_channels=source_channels, out_channels=target_channels)
        self.discriminator = discriminator(in_channels=target_channels + conditional * source_channels)
        check_penalty(objective, self.discriminator)

    def play(self, batch: Pair, step: Step) -> Iterator[Turn]:
        source, target = batch
        fake = self.generator(source)  # (B, C, H, W)

        real, seen = self._judged(source, target), self._judged(source, fake.detach())
        yield Turn(
            "discriminator",
            discriminator_losses("discriminator", self.discriminator, self.objective, real, seen, step, self.watch),
        )

        with frozen(self.discriminator):
            logits = self.discriminator(self._judged(source, fake))
        yield Turn(
            "generator",
            {
                "generator_adversarial": self.objective.generator(logits),
                "generator_l1": self.l1_weight * l1_loss(fake, target),
            },
        )

    def _judged(self, source: Tensor, image: Tensor) -> Tensor:
        return self.seen(source, image) if self.conditional else self.seen(image)

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def show(self, batch: Pair) -> dict[str, Tensor]:
        return {"source": batch.source, "output": self.translate(batch.source), "target": batch.target}
