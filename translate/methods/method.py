"""The contract of a method: the maths of a game between players. `translate.training` is its mechanics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from translate.batch import BatchType
from translate.errors import UserError
from translate.methods.augmentation import DiscriminatorAugmentation
from translate.objectives.adversarial import AdversarialObjective
from translate.objectives.penalties import gradient_penalty


@dataclass(frozen=True)
class Turn:
    """One player's turn: the engine sums `losses`, backpropagates, and steps the optimiser of `player`.

    `losses` are scalars by the name under which they are logged, already weighted: they add up to what the player
    minimises.
    """

    player: str
    losses: dict[str, Tensor]


@dataclass
class Step:
    """Where in training a batch is played, and how to see the global batch that several processes share.

    What a method does with `draws`, `gather` and `share` does not depend on the number of processes.

    Attributes:
        number: steps done before this one.
        seed: seed of the run.
        rank: this process.
        world_size: processes that share the global batch.
        all_gather: from a tensor to those of all processes, (world_size, ...).
    """

    number: int = 0
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    all_gather: Callable[[Tensor], Tensor] = lambda tensor: tensor[None]
    _generator: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng([self.seed, self.number])

    def draws(self, count: int) -> Tensor:
        """(world_size * count,) draws from U(0, 1) for the global batch, in float32 on the CPU; anew at every call."""
        return torch.from_numpy(self._generator.random(self.world_size * count, np.float32))

    def gather(self, images: Tensor) -> Tensor:
        """The images of the global batch, without gradients: (world_size * B, ...) from (B, ...) of each process."""
        return self.all_gather(images.detach()).flatten(0, 1)

    def share(self, values: Tensor) -> Tensor:
        """This process's part of what belongs to the global batch."""
        count = len(values) // self.world_size
        return values[self.rank * count : (self.rank + 1) * count]

    def uniform(self, count: int) -> Tensor:
        """(count,) draws from U(0, 1), one per image of this process's batch: its share of `draws`."""
        return self.share(self.draws(count))


class GeneratorFactory(Protocol):
    """Makes a generator once its channels are known, and the length of the label vectors that it is to be told.

    The generator is called with images, and with the label vectors too if there are any. It may have attributes
    `size_multiple` and `min_size`, which height and width of its images must be multiples of, and at least; both are
    1 where it has none.
    """

    def __call__(self, *, in_channels: int, out_channels: int, num_domains: int = 0) -> nn.Module: ...


class DiscriminatorFactory(Protocol):
    """Makes a discriminator once its channels are known, and the number of domains that it is to tell apart.

    The discriminator gives logits; with domains the pair of those and (B, num_domains) domain logits. It may have
    attributes `min_size`, as a generator; `image_size`, if it takes square images of that size alone; and
    `logit_layers`, the layers from an image to its logits, which make a gradient penalty faster.
    """

    def __call__(self, *, in_channels: int, num_domains: int = 0) -> nn.Module: ...


class Method(nn.Module, ABC):
    """A game: networks, the turns its players take on a batch, and how it translates an image.

    Direct child modules with parameters are networks. Those without are memories: what a game remembers from step to
    step, saved for exact resume; of several processes all must remember the same (`Step.gather`). A method knows no
    configuration, disk, device or optimiser.
    """

    batch_type: ClassVar[BatchType]
    """The kind of batches it plays on."""

    players: ClassVar[dict[str, tuple[str, ...]]]
    """Player -> the names of the networks that its optimiser steps."""

    translators: tuple[str, ...]
    """The names of the networks that translating runs: what a light model carries."""

    augmentation: DiscriminatorAugmentation | None
    """What changes images on their way to the discriminators: a memory, set from outside. None at first."""

    def __init__(self) -> None:
        super().__init__()
        self.augmentation = None

    @abstractmethod
    def play(self, batch: Any, step: Step) -> Iterator[Turn]:
        """Yield the turns of one step, in the paper's order. The engine steps each player before the next turn."""

    is_reversible: ClassVar[bool] = False
    """Whether it can `translate_back`."""

    @abstractmethod
    def translator(self, *, back: bool = False) -> nn.Module:
        """The network that translates; `back`, for a reversible method, the one that translates the target side."""

    def labels(self, source: Tensor, domain: str | None) -> Tensor | None:
        """The label vectors (B, width) with which images (B, C, H, W) are translated into `domain`; None without.

        Raises:
            UserError: a domain is missing, unknown, or given to a method that has none.
        """
        if domain is not None:
            raise UserError(
                f"the domain {domain!r} was asked for, but this model translates into one kind of image alone"
            )
        return None

    def translate(
        self, source: Float[Tensor, "batch channels height width"], domain: str | None = None
    ) -> Float[Tensor, "batch out height width"]:
        """Translate images in [-1, 1]; height and width are multiples of `size_multiple`.

        `domain` is what a multi-domain method translates into.

        Raises:
            UserError: as `labels`.
        """
        labels = self.labels(source, domain)
        output: Tensor = self.translator()(source) if labels is None else self.translator()(source, labels)
        return output

    def translate_back(
        self, target: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out height width"]:
        """Translate images of the target side into the source side, where the method learns both ways.

        Raises:
            UserError: it translates one way alone.
        """
        if not self.is_reversible:
            raise UserError(f"a {type(self).__name__} model translates one way alone; method=cyclegan trains both")
        output: Tensor = self.translator(back=True)(target)
        return output

    def seen(self, *images: Tensor) -> Tensor:
        """What a discriminator gets to see of images (B, C_i, H, W) that belong together: (B, sum of C_i, H, W).

        Everything that is shown to a discriminator in training passes through here, once each time it is shown.
        """
        if self.augmentation is not None:
            augmented: Tensor = self.augmentation(*images)
            return augmented
        return images[0] if len(images) == 1 else torch.cat(images, 1)

    def watch(self, real_logits: Tensor, step: Step) -> None:
        """Tell the augmentation what a discriminator makes of real images, in every turn of a discriminator."""
        if self.augmentation is not None:
            self.augmentation.watch(real_logits, step)

    def signals(self) -> dict[str, Tensor]:
        """Scalars to log beside the losses, by name: read when those are, so they may lie on the device."""
        return {} if self.augmentation is None else self.augmentation.signals()

    @abstractmethod
    def show(self, batch: Any) -> dict[str, Tensor]:
        """The columns of a sample grid by title, each (B, C, H, W) in [-1, 1]."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name."""
        return {name: child for name, child in self.named_children() if any(True for _ in child.parameters())}

    @property
    def generators(self) -> tuple[str, ...]:
        """The names of the networks that make images: those that translate, unless a method says otherwise."""
        return self.translators

    @property
    def memories(self) -> dict[str, nn.Module]:
        """What it remembers from step to step, by name."""
        networks = self.networks
        return {name: child for name, child in self.named_children() if name not in networks}

    @property
    def size_multiple(self) -> int:
        """Height and width of what is translated must be multiples of this."""
        return self._largest("size_multiple")

    @property
    def min_size(self) -> int:
        """Height and width of what is translated must be at least this, a multiple of `size_multiple`."""
        multiple = self.size_multiple
        return -(-self._largest("min_size") // multiple) * multiple

    def _largest(self, attribute: str) -> int:
        """The largest of what the networks that translate say of themselves; 1 where they say nothing."""
        return max([1, *(int(getattr(bare(getattr(self, name)), attribute, 1)) for name in self.translators)])


def check_penalty(objective: AdversarialObjective, discriminator: nn.Module) -> None:
    """Raise UserError when a gradient penalty meets batch norm, which mixes the gradients of a batch's images."""
    if objective.gradient_penalty and has_batch_norm(discriminator):
        raise UserError(
            "discriminator.norm=batch does not go with a gradient penalty, which needs the gradient of each image "
            "alone: use discriminator.norm=instance or discriminator.norm=none"
        )


def has_batch_norm(network: nn.Module) -> bool:
    """Whether what the network makes of an image depends on the others of its batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Any, Any]:
    """What the discriminator makes of real and of fake images (each a tensor, or a tuple of tensors).

    In one pass, which is faster, unless batch norm would then mix the two.
    """
    if has_batch_norm(discriminator):
        return discriminator(real), discriminator(fake)
    judged = discriminator(torch.cat([real, fake]))
    if isinstance(judged, Tensor):
        return judged[: len(real)], judged[len(real) :]
    return tuple(each[: len(real)] for each in judged), tuple(each[len(real) :] for each in judged)


def discriminator_losses(
    name: str,
    discriminator: nn.Module,
    objective: AdversarialObjective,
    real: Tensor,
    fake: Tensor,
    step: Step,
    watch: Callable[[Tensor, Step], None],
) -> dict[str, Tensor]:
    """What a discriminator without domains minimises, with its gradient penalty if there is one.

    Halved, which slows it down relative to the generator: Isola et al. 2017, section 3.3; Zhu et al. 2017, section 7.1.
    The keys begin with `name`. `watch` is the method's (`Method.watch`) and gets the logits of the real images.
    """
    real_logits, fake_logits = judge_both(discriminator, real, fake)
    watch(real_logits, step)
    losses = {
        f"{name}_real": 0.5 * objective.real(real_logits),
        f"{name}_fake": 0.5 * objective.fake(fake_logits),
    }
    if objective.gradient_penalty:
        losses[f"{name}_penalty"] = 0.5 * weighted_penalty(discriminator, objective, real, fake, step)
    return losses


def weighted_penalty(
    discriminator: nn.Module, objective: AdversarialObjective, real: Tensor, fake: Tensor, step: Step
) -> Tensor:
    """The objective's gradient penalty on images between real and fake ones, times its weight."""
    alpha = step.uniform(len(real)).to(real)
    return objective.gradient_penalty * gradient_penalty(bare(discriminator), real, fake, alpha)


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
