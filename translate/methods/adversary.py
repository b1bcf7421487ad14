"""The adversarial side of a game: what discriminators are shown, and what both players make of their judgement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from translate.errors import UserError
from translate.methods.augmentation import DiscriminatorAugmentation
from translate.methods.step import Step
from translate.networks.layers import PixelNorm
from translate.networks.minibatch import MinibatchStddev
from translate.networks.parametrized import scaling_of
from translate.objectives.adversarial import BOUNDED_SLOPES, AdversarialObjective
from translate.objectives.energy import pulling_away_term
from translate.objectives.orthogonal import orthogonal_penalty
from translate.objectives.penalties import GradientPenalty

NORMS = (nn.modules.batchnorm._NormBase, PixelNorm)
"""Layers that divide by what features are, and so undo any scale of the weights before them."""
Images = tuple[Tensor, ...]
"""Images (B, C_i, H, W) that belong together, and that a discriminator gets to see as one of (B, sum of C_i, H, W)."""

Logits = tuple[Tensor, ...]
"""Logits or energies of a batch: one tensor for each scale that a discriminator judges at; they differ in size."""


class AdversaryFactory(Protocol):
    """Makes the adversary of a method, once its discriminators are known by name."""

    def __call__(self, discriminators: Mapping[str, nn.Module]) -> "Adversary": ...


class Adversary(nn.Module):
    """An objective with everything that steadies its game. A memory.

    Args:
        discriminators: those of the method by name, which it does not keep.
        objective: what the players minimise.
        gradient_penalty: what the discriminators pay for steep slopes, or None.
        augmentation: what changes images on their way to the discriminators, or None.
        label_smoothing: share of the loss of generated images that real ones are given (one-sided label smoothing,
            Salimans et al. 2016, section 3.4), from 0 to below 0.5.
        label_flipping: probability with which a discriminator is told the opposite of an image, from 0 to below 0.5.
        instance_noise: standard deviation of the noise added to all that discriminators see, of pixels in [-1, 1]
            (Soenderby et al. 2017, section 2.2).
        instance_noise_steps: steps in which it falls to nothing; None lets it stay.
        orthogonal_weight: what generators pay for filters that have something in common (Brock et al. 2019, equation
            3): times `orthogonal_penalty`; 0 is off.

    Raises:
        UserError: a value outside its range, or a combination that makes no sense.
    """

    def __init__(
        self,
        discriminators: Mapping[str, nn.Module],
        *,
        objective: AdversarialObjective,
        gradient_penalty: GradientPenalty | None = None,
        augmentation: DiscriminatorAugmentation | None = None,
        label_smoothing: float = 0.0,
        label_flipping: float = 0.0,
        instance_noise: float = 0.0,
        instance_noise_steps: int | None = None,
        orthogonal_weight: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("label_smoothing", label_smoothing), ("label_flipping", label_flipping)):
            if not 0 <= value < 0.5:
                raise UserError(f"stabilizers.{name}={value} is outside 0 to 0.5; 0 is off")
            if value and objective.middle is None:
                raise UserError(
                    f"stabilizers.{name}={value} needs an objective whose logits say real or fake, such as "
                    "objective=nonsaturating, lsgan or hinge"
                )
        if instance_noise < 0:
            raise UserError(f"stabilizers.instance_noise={instance_noise} must be at least 0; 0 is off")
        if instance_noise_steps is not None and not instance_noise:
            raise UserError(
                f"stabilizers.instance_noise_steps={instance_noise_steps} does nothing without noise: set "
                "stabilizers.instance_noise too, to 0.1 for example"
            )
        if instance_noise_steps is not None and instance_noise_steps < 1:
            raise UserError(f"stabilizers.instance_noise_steps={instance_noise_steps} must be at least 1, or null")
        if orthogonal_weight < 0:
            raise UserError(f"stabilizers.orthogonal_weight={orthogonal_weight} must be at least 0; 0 is off")
        for discriminator in discriminators.values():
            check_combination(objective, discriminator, gradient_penalty)
        self.objective = objective
        self.gradient_penalty = gradient_penalty
        self.label_smoothing = label_smoothing
        self.label_flipping = label_flipping
        self.instance_noise = instance_noise
        self.instance_noise_steps = instance_noise_steps
        self.orthogonal_weight = orthogonal_weight
        self.balances = nn.ModuleDict()
        if objective.balance is not None:
            self.balances.update({name: objective.balance() for name in discriminators})
        self._right: dict[str, Tensor] = {}
        self._judged: dict[str, int] = {}
        self.augmentation = augmentation
        if augmentation is not None:
            augmentation.attach(objective)

    def discriminator_losses(
        self, name: str, discriminator: nn.Module, real: Images, fake: Images, step: Step, *, weight: float = 1.0
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What a discriminator minimises, times `weight`, under keys that begin with its `name`.

        Also the domain logits of the real images, from a discriminator that gives some.
        """
        shown_real, shown_fake = self.shown(real, step), self.shown(fake, step)
        (real_logits, domains), (fake_logits, _) = judge_both(discriminator, shown_real, shown_fake)
        self._count_right(name, real_logits, fake_logits)
        if self.augmentation is not None:
            for logits in real_logits:  # of which the mean counts
                self.augmentation.watch(logits, step)
        of_real = self._labelled(real_logits, self.objective.real, self.objective.fake, step)
        if self.label_smoothing:
            of_real = (1 - self.label_smoothing) * of_real + self.label_smoothing * mean_over(
                self.objective.fake, real_logits
            )
        of_fake = self._labelled(fake_logits, self.objective.fake, self.objective.real, step)
        if name in self.balances:
            balance: Any = self.balances[name]
            of_fake = balance.weight.clone() * of_fake  # the update changes it in its place
            means = [mean_over(lambda each: step.gather(each).mean(), judged) for judged in (real_logits, fake_logits)]
            balance.update(*means)
        losses = {f"{name}_real": weight * of_real, f"{name}_fake": weight * of_fake}
        penalty = self.gradient_penalty
        if penalty is not None and penalty.applies(step.number):
            draws = step.uniform(len(shown_real)).to(shown_real)
            both = zip(looks(discriminator, shown_real), looks(discriminator, shown_fake), strict=True)
            paid = [penalty(judge, seen_real, seen_fake, draws) for (judge, seen_real), (_, seen_fake) in both]
            losses[f"{name}_penalty"] = weight * torch.stack(paid).mean()
        return losses, domains

    def generator_losses(
        self, name: str, discriminator: nn.Module, fake: Images, step: Step
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What a generator minimises to convince a discriminator, under keys that begin with `name`.

        Also the domain logits of the generated images, from a discriminator that gives some. Gradients flow through
        the discriminator, but into none of its weights.
        """
        shown = self.shown(fake, step)
        with frozen(discriminator):
            logits, domains = judgement(discriminator(shown))
            losses = {f"{name}_adversarial": mean_over(self.objective.generator, logits)}
            if self.objective.pulling_away:
                if len(shown) < 2:
                    raise UserError(
                        f"objective.pulling_away={self.objective.pulling_away} keeps the images of a batch apart, and "
                        "batch_size=1 has but one: use a larger batch_size, or objective.pulling_away=0"
                    )
                codes: Tensor = bare(discriminator).encode(shown)  # type: ignore[operator]
                losses[f"{name}_pulling_away"] = self.objective.pulling_away * pulling_away_term(codes)
        return losses, domains

    def weight_losses(self, generators: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """What generators pay for their weights alone, under keys that begin with their names."""
        if not self.orthogonal_weight:
            return {}
        return {
            f"{name}_orthogonal": self.orthogonal_weight * orthogonal_penalty(generator)
            for name, generator in generators.items()
        }

    def shown(self, images: Images, step: Step) -> Tensor:
        """What a discriminator gets to see of images that belong together.

        Everything that it judges in training passes through here, once each time it is judged.
        """
        if self.augmentation is not None:
            shown: Tensor = self.augmentation(*images)
        else:
            shown = images[0] if len(images) == 1 else torch.cat(images, 1)
        if self.instance_noise:
            left = 1.0 if self.instance_noise_steps is None else max(0.0, 1 - step.number / self.instance_noise_steps)
            shown = shown + left * self.instance_noise * torch.randn_like(shown)
        return shown

    def clip(self, *discriminators: nn.Module) -> Callable[[], None] | None:
        """What is to be done after the discriminators have been stepped: clip their weights; None for nothing.

        Not those that are frozen, nor those that tell domains apart.
        """
        bound = self.objective.weight_clip
        if bound is None:
            return None

        @torch.no_grad()
        def clip() -> None:
            for judge in (judge for discriminator in discriminators for judge in critics(discriminator)):
                for parameter in judge.parameters():
                    if parameter.requires_grad:
                        parameter.clamp_(-bound, bound)

        return clip

    def signals(self) -> dict[str, Tensor]:
        """Scalars to log beside the losses, by name: read when those are, so they may lie on the device."""
        signals = {} if self.augmentation is None else self.augmentation.signals()
        balance: Any
        for name, balance in self.balances.items():
            signals |= {f"{name}_balance": balance.weight, f"{name}_convergence": balance.measure}
        return signals

    def read_accuracy(self) -> dict[str, Tensor]:
        """The share of real and of generated images that discriminators were right about since the last reading.

        (2,) by discriminator; {} for objectives whose logits have no middle. It is of this process alone.
        """
        accuracy = {name: right / self._judged[name] for name, right in self._right.items()}
        self._right, self._judged = {}, {}
        return accuracy

    @torch.no_grad()
    def _count_right(self, name: str, real: Logits, fake: Logits) -> None:
        middle = self.objective.middle
        if middle is None:
            return
        is_real = mean_over(lambda logits: (logits > middle).float().mean(), real)
        is_fake = mean_over(lambda logits: (logits < middle).float().mean(), fake)
        right = torch.stack([is_real, is_fake])
        self._right[name] = self._right[name] + right if name in self._right else right
        self._judged[name] = self._judged.get(name, 0) + 1

    def _labelled(
        self, logits: Logits, loss: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], step: Step
    ) -> Tensor:
        """The mean loss of logits, some images of which are told to be what they are not."""
        if not self.label_flipping:
            return mean_over(loss, logits)
        draws = step.uniform(len(logits[0])) < self.label_flipping
        places = [torch.nonzero(draws == is_other).flatten().to(logits[0].device) for is_other in (False, True)]
        total = torch.zeros((), dtype=logits[0].dtype, device=logits[0].device)
        for kind, chosen in zip((loss, other), places, strict=True):
            if len(chosen):  # the mean of no image is not a number, and must not reach the sum
                total = total + len(chosen) / len(draws) * mean_over(kind, [each[chosen] for each in logits])
        return total


def check_combination(
    objective: AdversarialObjective, discriminator: nn.Module, penalty: GradientPenalty | None
) -> None:
    """Raise UserError for an objective, a discriminator and a gradient penalty that do not go together."""
    judges_by = getattr(discriminator, "judges_by", "logits")
    if objective.judges_by != judges_by:
        needs, gives = (
            "energies of at least 0 (discriminator=autoencoder)"
            if kind == "energy"
            else "logits, such as those of discriminator=patchgan"
            for kind in (objective.judges_by, judges_by)
        )
        raise UserError(
            f"the objective is made for {needs}, but {type(discriminator).__name__} gives {gives}: change "
            "discriminator= or objective="
        )
    if penalty is not None and (mixing := what_mixes_batch(discriminator)) is not None:
        setting, remedy = mixing
        raise UserError(
            f"{setting} does not go with a gradient penalty, which needs the gradient of each image alone: use "
            f"{remedy}, or gradient_penalty=none"
        )
    scaling = scaling_of(discriminator)
    if objective.weight_clip is not None and scaling is not None:
        raise UserError(
            f"objective.weight_clip={objective.weight_clip} clips weights that discriminator.{scaling}=true scales "
            "again: use one of the two"
        )
    if penalty is not None and objective.weight_clip is not None:
        raise UserError(
            f"objective.weight_clip={objective.weight_clip} keeps slopes far below those that a gradient penalty asks "
            "for: use gradient_penalty=none with it (objective=wasserstein_clipped has that)"
        )
    if penalty is not None and penalty.wanted_slope and objective.judges_by == "energy":
        raise UserError(
            f"this gradient penalty wants slopes of {penalty.wanted_slope:g}, which a critic's logits should have, and "
            "energies should not: use gradient_penalty=none, r1, r2 or zero_centered"
        )
    is_spectral = scaling == "spectral_norm" and not any(isinstance(each, NORMS) for each in discriminator.modules())
    is_bounded = is_spectral or objective.weight_clip is not None or (penalty is not None and penalty.bounds_slopes)
    if objective.needs_bounded_slopes and not is_bounded:
        raise UserError(f"the objective needs a critic of bounded slope: {BOUNDED_SLOPES}")


def what_mixes_batch(discriminator: nn.Module) -> tuple[str, str] | None:
    """The setting that lets what a discriminator makes of an image depend on the others of its batch, and those that do
    not; None if there is none."""
    for module in discriminator.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return "discriminator.norm=batch", "discriminator.norm=instance or discriminator.norm=none"
        if isinstance(module, MinibatchStddev):
            return "discriminator.minibatch_stddev=true", "discriminator.minibatch_stddev=false"
    return None


Judgement = tuple[Logits, Tensor | None]
"""Logits, and domain logits from a discriminator that gives some."""


def mean_over(loss: Callable[[Tensor], Tensor], logits: Sequence[Tensor]) -> Tensor:
    """The mean over the scales of a loss of logits.

    Wang et al. 2018 sum over them (equation 2); the mean keeps the meaning of all weights.
    """
    return torch.stack([loss(each) for each in logits]).mean()


def critics(discriminator: nn.Module) -> list[nn.Module]:
    """What of a discriminator gives the logits, without what tells domains apart; one for each scale."""
    judge: Any = bare(discriminator)
    judges = list(judge.scales) if hasattr(judge, "scales") else [judge]
    return [getattr(each, "logit_layers", each) for each in judges]


def looks(discriminator: nn.Module, images: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """What judges images, without wrappers, with what it sees of them; several where there are several scales."""
    judge: Any = bare(discriminator)
    return judge.looks(images) if hasattr(judge, "looks") else [(judge, images)]


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Judgement, Judgement]:
    """What the discriminator makes of real and of fake images.

    In one pass, which is faster, unless the discriminator would then mix the two.
    """
    if what_mixes_batch(discriminator) is not None:
        return judgement(discriminator(real)), judgement(discriminator(fake))
    logits, domains = judgement(discriminator(torch.cat([real, fake])))
    of_real, of_fake = (
        (tuple(each[part] for each in logits), None if domains is None else domains[part])
        for part in (slice(len(real)), slice(len(real), None))
    )
    return of_real, of_fake


def judgement(judged: Any) -> Judgement:
    """A discriminator's output as a pair."""
    logits, domains = judged if isinstance(judged, tuple) else (judged, None)
    return (logits,) if isinstance(logits, Tensor) else tuple(logits), domains


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Turn off the gradients of the networks' parameters, while gradients still flow through them to their input.

    Never yield a turn inside: what is frozen would stay so during the engine's backward pass.
    """
    trainable = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def bare(network: nn.Module) -> nn.Module:
    """The network inside a distributed or mixed-precision wrapper: what `autograd.grad` has to see."""
    return getattr(network, "module", network)
