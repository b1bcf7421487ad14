"""Every random draw of a run is a function of (seed, rank, step)."""

import random

import numpy as np
import torch


def seed_everything(*values: int) -> None:
    """Seed Python, NumPy and PyTorch (every device) from non-negative integers such as (seed, rank, step)."""
    first, second = np.random.SeedSequence(values).generate_state(2, np.uint64).tolist()
    random.seed(first)
    np.random.seed(second % 2**32)
    torch.manual_seed(first)
