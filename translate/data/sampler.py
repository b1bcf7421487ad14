"""Which image is drawn when: a stream that is a function of (seed, position) alone, so it can start anywhere."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class StreamSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) from an endless row of shuffled epochs.

    Every epoch is a permutation drawn from (seed, epoch). Global batch k takes positions k * global_batch and
    following of that row, each process its share, so batches are always full and an interrupted run continues at
    any step, with any number of workers.

    Args:
        size: images per epoch.
        batch_size: images per batch and process.
        first_step: the step of the first batch.
        last_step: one past the step of the last batch.
        seed: seed of the permutations.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        *,
        size: int,
        batch_size: int,
        first_step: int,
        last_step: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.size = size
        self.batch_size = batch_size
        self.first_step = first_step
        self.last_step = last_step
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return max(self.last_step - self.first_step, 0)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch_now, permutation = -1, np.empty(0, np.int64)
        for step in range(self.first_step, self.last_step):
            first = (step * self.world_size + self.rank) * self.batch_size
            batch = []
            for position in range(first, first + self.batch_size):
                epoch, offset = divmod(position, self.size)
                if epoch != epoch_now:
                    epoch_now = epoch
                    permutation = np.random.default_rng([self.seed, epoch]).permutation(self.size)
                batch.append((epoch, int(permutation[offset])))
            yield batch
