"""Pix2Pix: image-to-image translation with conditional adversarial networks. Isola et al. 2017.

With a generator that takes a code: BicycleGAN, Zhu et al. 2017b, "Toward multimodal image-to-image translation".
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from translate.batch import Pair
from translate.codes import draw_codes
from translate.errors import UserError
from translate.methods.adversary import AdversaryFactory, bare, frozen
from translate.methods.method import (
    DiscriminatorFactory,
    GeneratorFactory,
    Method,
    Translation,
    Turn,
    check_critic_steps,
)
from translate.methods.step import Step
from translate.networks.encoder import CodeEncoder
from translate.objectives.matching import feature_matching
from translate.objectives.perceptual import PerceptualLoss

SAMPLES = 3
"""Columns of the sample grid with a code of their own."""


class Pix2Pix(Method):
    """A generator that must both match the paired target and convince a discriminator that sees the source too.

    G* = arg min_G max_D L_cGAN(G, D) + l1_weight * L_L1(G)   (equation 4)

    The discriminator's losses are halved, which slows it down relative to the generator (section 3.3). The two further
    losses of the generator are those of pix2pixHD (Wang et al. 2018, section 3.3 and appendix); both are off at first.

    A generator with `latent` makes several translations of an image, by the code it is given; this is BicycleGAN then.
    An encoder, which moves with the generator, reads codes from images. Of every source two fakes are made and judged:
    one with the code of its target, which must be the target (L1) while codes of targets stay near N(0, 1)
    (Kullback-Leibler divergence); and one with a drawn code, which the encoder must find in it again (L1). The latter
    moves the generator alone, or both could agree on a code that is hidden in the image (section 3.3 there). Without
    a code, as in validation, the translation is that of zeros, the middle.

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
        latent_weight: weight of the recovered code (0.5 in the paper too), with `latent`.
        kl_weight: weight of the divergence of codes, summed over their numbers, with `latent` (0.01 in the paper, where
            L1 weighs 10; so little leaves the codes of images, in short runs, far from where codes are drawn).
        encoder_width: filters of the encoder's first layer, with `latent`.

    Raises:
        UserError: an adversary that does not go with the discriminator, n_critic below 1, a weight below 0, a
            discriminator that has no features to match, or a perceptual loss without weights or of images that VGG19
            does not take; when it plays, weights that cannot be read.
    """

    batch_type = Pair
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
        latent_weight: float = 0.5,
        kl_weight: float = 5.0,
        encoder_width: int = 64,
    ) -> None:
        super().__init__()
        check_critic_steps(n_critic)
        for name, weight in (
            ("feature_matching_weight", feature_matching_weight),
            ("perceptual_weight", perceptual_weight),
            ("latent_weight", latent_weight),
            ("kl_weight", kl_weight),
        ):
            if weight < 0:
                raise UserError(f"method.{name}={weight} must be at least 0; 0 is off")
        self.n_critic = n_critic
        self.l1_weight = l1_weight
        self.conditional = conditional
        self.generator = generator(in_channels=source_channels, out_channels=target_channels)
        self.discriminator = discriminator(in_channels=target_channels + conditional * source_channels)
        if hasattr(self.discriminator, "judged_channels"):
            # The source, which is the same beside real and generated images, would but blur their difference.
            setattr(self.discriminator, "judged_channels", target_channels)  # noqa: B010 (a network's own type is open)
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
        if perceptual_weights is not None and not perceptual_weight:
            raise UserError(
                f"method.perceptual_weights={perceptual_weights} does nothing with method.perceptual_weight=0: set it, "
                "to 10 for example"
            )
        if perceptual_weight:
            self.perceptual = PerceptualLoss(perceptual_weights, channels=target_channels)
        self.latent_weight = latent_weight
        self.kl_weight = kl_weight
        self.latent = int(getattr(self.generator, "latent", 0))
        if self.latent:
            # Not "encoder": that is what the first stages of generators are called in finetune.freeze.
            self.code_encoder = CodeEncoder(in_channels=target_channels, latent=self.latent, width=encoder_width)

    @property
    def players(self) -> dict[str, tuple[str, ...]]:
        """The encoder, if there is one, moves with the generator."""
        encoder = ("code_encoder",) if self.latent else ()
        return {"discriminator": ("discriminator",), "generator": ("generator", *encoder)}

    def play(self, batch: Pair, step: Step) -> Iterator[Turn]:
        source, target = batch
        if self.perceptual is not None:
            self.perceptual.load()  # before anything is learned: weights that are missing are found at once
        moves_generator = (step.number + 1) % self.n_critic == 0
        with torch.set_grad_enabled(moves_generator):
            if self.latent:
                mean, log_variance, drawn, fakes = self._two_fakes(batch, step)
            else:
                fakes = [self.generator(source)]  # (B, C, H, W)

        of_source = (source,) if self.conditional else ()
        judged = [
            self.adversary.discriminator_losses(
                "discriminator",
                self.discriminator,
                (*of_source, target),
                (*of_source, fake.detach()),
                step,
                weight=0.5 / len(fakes),
            )[0]
            for fake in fakes
        ]
        yield Turn("discriminator", _sum(judged), self.adversary.clip(self.discriminator))
        if not moves_generator:
            return

        judged = [
            self.adversary.generator_losses("generator", self.discriminator, (*of_source, fake), step)[0]
            for fake in fakes
        ]
        losses = {name: loss / len(fakes) for name, loss in _sum(judged).items()}
        losses |= self.adversary.weight_losses({"generator": self.generator})
        losses |= self._distances(batch, fakes[0])
        if self.latent:
            losses["generator_kl"] = self.kl_weight * code_divergence(mean, log_variance)
            with frozen(self.code_encoder):
                recovered, _ = self.code_encoder(fakes[1])
            losses["generator_code"] = self.latent_weight * l1_loss(recovered, drawn)
        translation = Translation(source, fakes[0], target)
        yield Turn("generator", losses, translations={"forward": translation})

    def _distances(self, batch: Pair, fake: Tensor) -> dict[str, Tensor]:
        """How far fakes are from the targets: in pixels, in what the discriminator's layers and VGG19 make of them.

        Those see the images as they are, without augmentation and noise.
        """
        source, target = batch
        losses = {"generator_l1": self.l1_weight * l1_loss(fake, target)}
        if self.feature_matching_weight:
            judge: Any = bare(self.discriminator)
            of_source = (source,) if self.conditional else ()
            real_pair, fake_pair = (torch.cat([*of_source, images], 1) for images in (target, fake))
            with frozen(judge):
                distance = feature_matching(judge.features, real_pair, fake_pair)
            losses["generator_features"] = self.feature_matching_weight * distance
        if self.perceptual is not None:
            losses["generator_perceptual"] = self.perceptual_weight * self.perceptual(fake, target)
        return losses

    def _two_fakes(self, batch: Pair, step: Step) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Mean and log-variance (B, latent) of the codes of the targets, drawn codes (B, latent), and the fakes of each
        (B, C, H, W)."""
        source, target = batch
        mean, log_variance = self.code_encoder(target)
        noise, drawn = (step.normal(len(source), self.latent).to(mean) for _ in range(2))
        codes = mean + (log_variance / 2).exp() * noise, drawn
        # One after the other: in one batch, batch norm would let the recovered code move the encoder.
        fakes = [self.generator(source, code=code) for code in codes]
        return mean, log_variance, drawn, fakes

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def show(self, batch: Pair) -> dict[str, Tensor]:
        columns = {"source": batch.source, "output": self.translate(batch.source)}
        if self.latent:
            for place, code in enumerate(draw_codes(SAMPLES, self.latent), start=1):
                codes = torch.from_numpy(code).to(batch.source).expand(len(batch.source), -1)
                columns[f"sample {place}"] = self.translate(batch.source, code=codes)
        return columns | {"target": batch.target}


def _sum(losses: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Losses of the same names added up."""
    return {name: torch.stack([each[name] for each in losses]).sum() for name in losses[0]}


def code_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of N(mean, variance) from N(0, 1), summed over the numbers of a code (B, latent)
    and averaged over images."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
