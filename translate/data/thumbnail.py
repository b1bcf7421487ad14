"""A small grey copy of an image, quickly made: for looking at many."""

import cv2
import numpy as np


def grey_thumbnail(image: np.ndarray, size: int) -> np.ndarray:
    """(size, size) float32 brightness of (H, W, C) pixels of any type; of more than four channels, the first count."""
    small = cv2.resize(np.ascontiguousarray(image[..., :4]), (size, size), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32).reshape(size, size, -1)
    channels = small.shape[2]
    return small[..., 0] if channels == 1 else cv2.transform(small, np.full((1, channels), 1 / channels, np.float32))
