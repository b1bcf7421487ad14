"""Pix2Pix: image-to-image translation with conditional adversarial networks. Isola et al. 2017."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.batch import Pair
from translate.errors import UserError
from translate.methods.adversary import AdversaryFactory, bare, frozen
from translate.methods.method import DiscriminatorFactory, GeneratorFactory, Method, Turn, check_critic_steps
from translate.methods.step import Step
from translate.objectives.matching import feature_matching
from translate.objectives.perceptual import PerceptualLoss


class Pix2Pix(Method):
    """A generator that must both match the paired target and convince a discriminator that sees the source too.

    G* = arg min_G max_D L_cGAN(G, D) + l1_weight * L_L1(G)   (equation 4)

    The discriminator's losses are halved, which slows it down relative to the generator (section 3.3). The two further
    losses of the generator are those of pix2pixHD (Wang et al. 2018, section 3.3 and appendix); both are off at first.

    Args:
        generator: makes the generator.
        discriminator: makes the discriminator.
        adversary: makes the adversary.
        source_channels: channels of the images to translate.
        target_channels: channels of the translated images.
        l1_weight: weight of the L1 distance to the target (100 in the paper).
        conditional: whether the discriminator sees the source beside the output, as in the paper.
        n_critic: steps of the discriminator for each of the generator (1 in the paper).
        feature_matching_weight: weight of the distance between the discriminator's features of output and target.
        perceptual_weight: weight of the distance between VGG19's features of output and target.
        perceptual_weights: file of torchvision's weights of VGG19, or `download`; read when it first plays.

    Raises:
        UserError: an adversary that does not go with the discriminator, n_critic below 1, a weight below 0, a
            discriminator that has no features to match, or a perceptual loss without weights or of images that VGG19
            does not take; when it plays, weights that cannot be read.
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
        feature_matching_weight: float = 0.0,
        perceptual_weight: float = 0.0,
        perceptual_weights: str | None = None,
    ) -> None:
        super().__init__()
        check_critic_steps(n_critic)
        for name, weight in (
            ("feature_matching_weight", feature_matching_weight),
            ("perceptual_weight", perceptual_weight),
        ):
            if weight < 0:
                raise UserError(f"method.{name}={weight} must be at least 0; 0 is off")
        self.n_critic = n_critic
        self.l1_weight = l1_weight
        self.conditional = conditional
        self.generator = generator(in_channels=source_channels, out_channels=target_channels)
        self.discriminator = discriminator(in_channels=target_channels + conditional * source_channels)
        self.adversary = adversary({"discriminator": self.discriminator})
        self.feature_matching_weight = feature_matching_weight
        if feature_matching_weight and not hasattr(self.discriminator, "features"):
            raise UserError(
                f"method.feature_matching_weight={feature_matching_weight} compares what the discriminator's layers "
                f"make of images, and {type(self.discriminator).__name__} gives no features: use "
                "discriminator=multiscale, patchgan, pixel or stargan, or method.feature_matching_weight=0"
            )
        self.perceptual_weight = perceptual_weight
        self.perceptual: PerceptualLoss | None = None
        if perceptual_weight:
            self.perceptual = PerceptualLoss(perceptual_weights, channels=target_channels)

    def play(self, batch: Pair, step: Step) -> Iterator[Turn]:
        source, target = batch
        if self.perceptual is not None:
            self.perceptual.load()  # before anything is learned: weights that are missing are found at once
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
        losses |= self.adversary.weight_losses({"generator": self.generator})
        losses["generator_l1"] = self.l1_weight * l1_loss(fake, target)
        if self.feature_matching_weight:
            judge: Any = bare(self.discriminator)
            real_pair, fake_pair = (torch.cat([*of_source, images], 1) for images in (target, fake))
            with frozen(judge):
                distance = feature_matching(judge.features, real_pair, fake_pair)
            losses["generator_features"] = self.feature_matching_weight * distance
        if self.perceptual is not None:
            losses["generator_perceptual"] = self.perceptual_weight * self.perceptual(fake, target)
        yield Turn("generator", losses)

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def show(self, batch: Pair) -> dict[str, Tensor]:
        return {"source": batch.source, "output": self.translate(batch.source), "target": batch.target}
