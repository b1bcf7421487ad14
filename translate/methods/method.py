"""The contract of a method: the maths of a game between players. `translate.training` is its mechanics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from jaxtyping import Float
from torch import Tensor, nn

from translate.batch import BatchType
from translate.errors import UserError
from translate.methods.adversary import Adversary, bare
from translate.methods.step import Step


class Translation(NamedTuple):
    """Images of a batch, what a generator made of them, and real ones of the kind they should be; (B, C, H, W) each."""

    source: Tensor
    output: Tensor
    real: Tensor


@dataclass(frozen=True)
class Turn:
    """One player's turn: the engine sums `losses`, backpropagates, and steps the optimiser of `player`.

    `losses` are scalars by the name under which they are logged, already weighted: they add up to what the player
    minimises. `after` is called once the player has been stepped, where there is something to do.

    The verdict on a run is made of `translations`, by name, and of `mismatched`: what losses would be if every image
    had the answer of another one.
    """

    player: str
    losses: dict[str, Tensor]
    after: Callable[[], None] | None = None
    translations: Mapping[str, Translation] = field(default_factory=dict)
    mismatched: Mapping[str, Tensor] = field(default_factory=dict)


def check_critic_steps(n_critic: int) -> None:
    """Raise UserError for a number of discriminator steps that is none."""
    if n_critic < 1:
        raise UserError(f"method.n_critic={n_critic} must be at least 1")


def check_no_latent(generator: nn.Module, method: str) -> None:
    """Raise UserError for a generator with a code in a method that has nothing to learn codes from."""
    latent = getattr(generator, "latent", 0)
    if latent:
        raise UserError(
            f"generator.latent={latent}: {method} learns one translation of an image; use generator.latent=0, or "
            "method=pix2pix, whose pairs show which translations there are"
        )


def run_translator(network: nn.Module, source: Tensor, labels: Tensor | None, code: Tensor | None) -> Tensor:
    """Call a generator with images, and with labels (B, width) and codes (B, latent) where there are any."""
    told = () if labels is None else (labels,)
    output: Tensor = network(source, *told) if code is None else network(source, *told, code=code)
    return output


class GeneratorFactory(Protocol):
    """Makes a generator once its channels are known, and the length of the label vectors that it is to be told.

    The generator is called with images, and with the label vectors too if there are any. It may have attributes
    `size_multiple` and `min_size`, which height and width of its images must be multiples of, and at least; both are
    1 where it has none; and `latent`, the length of the codes (B, latent) that it then takes as `code=`.
    """

    def __call__(self, *, in_channels: int, out_channels: int, num_domains: int = 0) -> nn.Module: ...


class DiscriminatorFactory(Protocol):
    """Makes a discriminator once its channels are known, and the number of domains that it is to tell apart.

    The discriminator gives logits, or a list of those of several scales; with domains the pair of those and
    (B, num_domains) domain logits. It may have attributes `min_size`, as a generator; `image_size`, if it takes square
    images of that size alone; `logit_layers`, the layers from an image to its logits, which make a gradient penalty
    faster; `looks(images)`, if it is of several scales, which gives each with what it sees; and `features(images)`, the
    maps that its layers make of images, for feature matching.
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

    translators: tuple[str, ...]
    """The names of the networks that translating runs: what a light model carries."""

    adversary: Adversary
    """What its discriminators see and what is made of their judgement."""

    @property
    @abstractmethod
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Player -> the names of the networks that its optimiser steps."""

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
        self,
        source: Float[Tensor, "batch channels height width"],
        domain: str | None = None,
        code: Float[Tensor, "batch latent"] | None = None,
    ) -> Float[Tensor, "batch out height width"]:
        """Translate images in [-1, 1]; height and width are multiples of `size_multiple`.

        `domain` is what a multi-domain method translates into; `code` chooses among the translations of a generator
        with `latent`, for which None is the middle, zeros.

        Raises:
            UserError: as `labels`.
        """
        return run_translator(self.translator(), source, self.labels(source, domain), code)

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

    def signals(self) -> dict[str, Tensor]:
        """Scalars to log beside the losses, by name: read when those are, so they may lie on the device."""
        return self.adversary.signals()

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
