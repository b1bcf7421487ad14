"""The contract of a method: the maths of a game between players. `translate.training` is its mechanics."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Turn:
    """One player's turn: the engine sums `losses`, backpropagates, and steps the optimiser of `player`.

    `losses` are scalars by the name under which they are logged, already weighted: they add up to what the player
    minimises.
    """

    player: str
    losses: dict[str, Tensor]


class GeneratorFactory(Protocol):
    """Makes a generator once its channels are known."""

    def __call__(self, *, in_channels: int, out_channels: int) -> nn.Module: ...


class DiscriminatorFactory(Protocol):
    """Makes a discriminator once its channels are known."""

    def __call__(self, *, in_channels: int) -> nn.Module: ...


class Method(nn.Module, ABC):
    """A game: networks, the turns its players take on a batch, and how it translates an image.

    Every direct child module is a network. A method knows no configuration, disk, device or optimiser. It can be
    built without discriminators (None), as it is for conversion; then it cannot `play`.
    """

    players: ClassVar[dict[str, tuple[str, ...]]]
    """Player -> the names of the networks that its optimiser steps."""

    translators: ClassVar[tuple[str, ...]]
    """The names of the networks that `translate` runs: what a light model carries."""

    @abstractmethod
    def play(self, batch: Any) -> Iterator[Turn]:
        """Yield the turns of one step, in the paper's order. The engine steps each player before the next turn."""

    @abstractmethod
    def translate(self, source: Tensor, domain: str | None = None) -> Tensor:
        """Translate images (B, C, H, W) in [-1, 1]; height and width are multiples of `size_multiple`."""

    @abstractmethod
    def show(self, batch: Any) -> dict[str, Tensor]:
        """The columns of a sample grid by title, each (B, C, H, W) in [-1, 1]."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Height and width of what `translate` takes must be multiples of this."""

    @property
    def min_size(self) -> int:
        """Height and width of what `translate` takes must be at least this, a multiple of `size_multiple` or 1."""
        return 1


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Turn off the gradients of `network`'s parameters, while gradients still flow through it to its input.

    Never yield a turn inside: what is frozen would stay so during the engine's backward pass.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
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
