"""CycleGAN: unpaired image-to-image translation with cycle-consistent adversarial networks. Zhu et al. 2017."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.batch import Unpaired
from translate.errors import UserError
from translate.methods.adversary import AdversaryFactory
from translate.methods.history import ImageHistory
from translate.methods.method import (
    DiscriminatorFactory,
    GeneratorFactory,
    Method,
    Translation,
    Turn,
    check_critic_steps,
    check_no_latent,
)
from translate.methods.step import Step


class CycleGAN(Method):
    """Two generators, there and back, each judged on its own side; what went there and back must be what it was.

    L = L_GAN(G, D_Y) + L_GAN(F, D_X) + cycle weights * L_cyc(G, F)   (equation 3; L_cyc equation 2)

    and the identity loss of section 5.2: a generator leaves alone what is of its target side already. The generators
    move first, as in the reference implementation; the discriminators see a history of generated images, and their
    losses are halved, which slows them down relative to the generators (section 7.1).

    Args:
        generator: makes a generator.
        discriminator: makes a discriminator.
        adversary: makes the adversary (least squares in the paper).
        source_channels: channels of the source images.
        target_channels: channels of the target images.
        cycle_weight_source: weight of the cycle source -> target -> source (10 in the paper).
        cycle_weight_target: weight of the cycle target -> source -> target.
        identity_weight: weight of the identity losses, in parts of the cycle weight of the same side; 0 is off.
        history_size: generated images kept per side to show the discriminators (50 in the paper); 0 is off.
        n_critic: steps of the discriminators for each of the generators (1 in the paper).

    Raises:
        UserError: an identity loss between sides of unequal channels, an adversary that does not go with the
            discriminators, a generator with `latent`, or n_critic below 1.
    """

    is_reversible = True
    batch_type = Unpaired
    players: ClassVar = {
        "generators": ("generator_forward", "generator_backward"),
        "discriminators": ("discriminator_target", "discriminator_source"),
    }
    translators = ("generator_forward", "generator_backward")

    def __init__(
        self,
        *,
        generator: GeneratorFactory,
        discriminator: DiscriminatorFactory,
        adversary: AdversaryFactory,
        source_channels: int,
        target_channels: int,
        cycle_weight_source: float = 10.0,
        cycle_weight_target: float = 10.0,
        identity_weight: float = 0.5,
        history_size: int = 50,
        n_critic: int = 1,
    ) -> None:
        super().__init__()
        check_critic_steps(n_critic)
        self.n_critic = n_critic
        if identity_weight and source_channels != target_channels:
            raise UserError(
                f"method.identity_weight={identity_weight} compares images of {source_channels} channels with images "
                f"of {target_channels}: use method.identity_weight=0, or bring both sides to the same channels "
                "(data.channels_a, data.channels_b)"
            )
        if history_size < 0:
            raise UserError(f"method.history_size={history_size} must be at least 0")
        self.cycle_weight_source = cycle_weight_source
        self.cycle_weight_target = cycle_weight_target
        self.identity_weight = identity_weight
        self.generator_forward = generator(in_channels=source_channels, out_channels=target_channels)
        check_no_latent(self.generator_forward, "CycleGAN")
        self.generator_backward = generator(in_channels=target_channels, out_channels=source_channels)
        self.discriminator_target = discriminator(in_channels=target_channels)
        self.discriminator_source = discriminator(in_channels=source_channels)
        self.adversary = adversary(
            {
                "discriminator_target": self.discriminator_target,
                "discriminator_source": self.discriminator_source,
            }
        )
        self.history_target = ImageHistory(history_size)
        self.history_source = ImageHistory(history_size)

    def play(self, batch: Unpaired, step: Step) -> Iterator[Turn]:
        source, target = batch
        losses: dict[str, Tensor] = {}
        moves_generators = (step.number + 1) % self.n_critic == 0
        with torch.set_grad_enabled(moves_generators):
            fake_target = self.generator_forward(source)  # (B, C, H, W)
            fake_source = self.generator_backward(target)
        if moves_generators:
            translations = {
                "forward": Translation(source, fake_target, target),
                "backward": Translation(target, fake_source, source),
            }
            losses = self._generator_losses(batch, fake_target, fake_source, step)
            yield Turn("generators", losses, translations=translations)

        losses = {}
        for name, real, history, fake in (
            ("discriminator_target", target, self.history_target, fake_target),
            ("discriminator_source", source, self.history_source, fake_source),
        ):
            recalled = self._recall(history, fake, step)
            judge = getattr(self, name)
            losses |= self.adversary.discriminator_losses(name, judge, (real,), (recalled,), step, weight=0.5)[0]
        clip = self.adversary.clip(self.discriminator_target, self.discriminator_source)
        yield Turn("discriminators", losses, clip)

    def _generator_losses(
        self, batch: Unpaired, fake_target: Tensor, fake_source: Tensor, step: Step
    ) -> dict[str, Tensor]:
        """What both generators minimise."""
        source, target = batch
        losses: dict[str, Tensor] = {}
        for name, discriminator, fake in (
            ("generator_forward", self.discriminator_target, fake_target),
            ("generator_backward", self.discriminator_source, fake_source),
        ):
            losses |= self.adversary.generator_losses(name, discriminator, (fake,), step)[0]
            losses |= self.adversary.weight_losses({name: getattr(self, name)})
        losses["cycle_source"] = self.cycle_weight_source * l1_loss(self.generator_backward(fake_target), source)
        losses["cycle_target"] = self.cycle_weight_target * l1_loss(self.generator_forward(fake_source), target)
        if self.identity_weight:
            weight_target = self.identity_weight * self.cycle_weight_target
            weight_source = self.identity_weight * self.cycle_weight_source
            losses["identity_target"] = weight_target * l1_loss(self.generator_forward(target), target)
            losses["identity_source"] = weight_source * l1_loss(self.generator_backward(source), source)
        return losses

    def _recall(self, history: ImageHistory, fake: Tensor, step: Step) -> Tensor:
        """What the history gives for generated images. It is of the global batch, and so the same on every process."""
        count = len(fake)
        return step.share(history.exchange(step.gather(fake), step.draws(count), step.draws(count)))

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator_backward if back else self.generator_forward

    def show(self, batch: Unpaired) -> dict[str, Tensor]:
        fake_target, fake_source = self.translate(batch.source), self.translate_back(batch.target)
        return {
            "source": batch.source,
            "to target": fake_target,
            "and back": self.translate_back(fake_target),
            "target": batch.target,
            "to source": fake_source,
            "and forth": self.translate(fake_source),
        }
