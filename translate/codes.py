"""Codes that choose among several translations of one image."""

import numpy as np


def draw_codes(count: int, latent: int, seed: int = 0) -> np.ndarray:
    """Codes (count, latent) of a seed from N(0, 1), float32; of fewer or more, the first are the same."""
    return np.random.default_rng(seed).standard_normal((count, latent)).astype(np.float32)
