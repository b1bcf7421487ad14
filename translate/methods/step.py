"""Where in training a batch is played."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class Step:
    """Where in training a batch is played, and how to see the global batch that several processes share.

    What a method does with `draws`, `normal`, `gather` and `share` does not depend on the number of processes.

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

    def normal(self, count: int, length: int) -> Tensor:
        """(count, length) draws from N(0, 1) for this process's batch: its share of the global batch's."""
        drawn = self._generator.standard_normal((self.world_size * count, length), np.float32)
        return self.share(torch.from_numpy(drawn))
