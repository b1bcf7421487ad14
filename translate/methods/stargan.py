"""StarGAN: one generator for translation between many domains. Choi et al. 2018."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss

from translate.batch import Labeled
from translate.domains import Domains
from translate.errors import UserError
from translate.methods.adversary import AdversaryFactory, bare
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
from translate.objectives.classification import domain_loss


class StarGAN(Method):
    """One generator told what to translate into, and one discriminator that also tells which domain it sees.

    L_D = L_adv + classification_weight * L_cls of real images                                          (equation 5)
    L_G = L_adv + classification_weight * L_cls of fakes + reconstruction_weight * L_rec                (equation 6)

    L_rec is the L1 distance (equation 4) between an image and its translation translated back. L_cls is the
    cross-entropy for domains that exclude one another; for attributes the binary cross-entropy, summed over the
    attributes and averaged over the images. With several label sets an image counts in its own set alone (section 3.3).

    Args:
        generator: makes the generator.
        discriminator: makes the discriminator.
        adversary: makes the adversary (Wasserstein with gradient penalty in the paper).
        source_channels: channels of the images.
        target_channels: the same.
        domains: what the images are labelled with.
        classification_weight: weight of the domain classification (1 in the paper).
        reconstruction_weight: weight of the reconstruction (10 in the paper).
        n_critic: steps of the discriminator for each of the generator (5 in the paper).

    Raises:
        UserError: an adversary that does not go with the discriminator, a generator with `latent`, or n_critic below 1.
    """

    batch_type = Labeled
    players: ClassVar = {"discriminator": ("discriminator",), "generator": ("generator",)}
    generators = ("generator",)

    def __init__(
        self,
        *,
        generator: GeneratorFactory,
        discriminator: DiscriminatorFactory,
        adversary: AdversaryFactory,
        source_channels: int,
        target_channels: int,
        domains: Domains,
        classification_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        n_critic: int = 5,
    ) -> None:
        super().__init__()
        check_critic_steps(n_critic)
        self.domains = domains
        self.classification_weight = classification_weight
        self.reconstruction_weight = reconstruction_weight
        self.n_critic = n_critic
        self.generator = generator(in_channels=source_channels, out_channels=target_channels, num_domains=domains.width)
        check_no_latent(self.generator, "StarGAN")
        self.discriminator = discriminator(in_channels=source_channels, num_domains=len(domains.names))
        self.adversary = adversary({"discriminator": self.discriminator})
        # Changing some attributes of a photo means knowing the others: the discriminator tells them.
        has_attributes = any(labels.kind == "attributes" for labels in domains.sets)
        self.translators = ("generator", "discriminator") if has_attributes else ("generator",)

    def play(self, batch: Labeled, step: Step) -> Iterator[Turn]:
        images, labels, targets = batch
        moves_generator = (step.number + 1) % self.n_critic == 0
        # The generator does not change in the discriminator's turn: its own turn goes on from the same fakes.
        with torch.set_grad_enabled(moves_generator):
            fake = self.generator(images, targets)  # (B, C, H, W)

        losses, real_domains = self.adversary.discriminator_losses(
            "discriminator", self.discriminator, (images,), (fake.detach(),), step
        )
        assert real_domains is not None
        losses["discriminator_domain"] = self.classification_weight * domain_loss(real_domains, labels, self.domains)
        mismatched: dict[str, Tensor] = {}
        if len(images) > 1:
            of_others = domain_loss(real_domains.detach(), labels.roll(1, 0), self.domains)
            mismatched["discriminator_domain"] = self.classification_weight * of_others
        yield Turn("discriminator", losses, self.adversary.clip(self.discriminator), mismatched=mismatched)
        if not moves_generator:
            return

        losses, domains = self.adversary.generator_losses("generator", self.discriminator, (fake,), step)
        assert domains is not None
        reconstructed = self.generator(fake, labels)
        losses["generator_domain"] = self.classification_weight * domain_loss(domains, targets, self.domains)
        losses["generator_reconstruction"] = self.reconstruction_weight * l1_loss(reconstructed, images)
        losses |= self.adversary.weight_losses({"generator": self.generator})
        yield Turn("generator", losses, translations={"forward": Translation(images, fake, images)})

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def labels(self, source: Float[Tensor, "batch channels height width"], domain: str | None) -> Tensor:
        choices = ", ".join(self.domains.names)
        if domain is None:
            raise UserError(f"this model translates into several domains: name one of {choices}")
        requests = self.domains.requests([domain])
        if len(requests) > 1:
            raise UserError(f"an image is translated into one domain at a time, not {domain!r}: name one of {choices}")
        labels = source.new_zeros(len(source), self.domains.width)
        if self.domains.needs_own_labels(requests[0]):
            labels = self.recognize(source)
        return self.domains.change(labels, requests[0])

    def recognize(self, source: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch width"]:
        """The attributes that the discriminator sees in images, as label vectors without a mask."""
        size = getattr(bare(self.discriminator), "image_size", None)
        if size is not None and source.shape[2:] != (size, size):
            source = interpolate(source, (size, size), mode="bilinear", antialias=True)
        _, logits = self.discriminator(source)
        labels = source.new_zeros(len(source), self.domains.width)
        labels[:, : logits.shape[1]] = self.domains.recognized(logits).to(labels)
        return labels

    def show(self, batch: Labeled) -> dict[str, Tensor]:
        columns = {"source": batch.images}
        for name, labels in self.domains.variants(batch.labels).items():
            columns[name] = self.generator(batch.images, labels)
        return columns
