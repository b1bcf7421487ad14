"""Pictures for people: any image as 8-bit RGB, grids with a title over each column."""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TITLE_HEIGHT = 22


def to_display(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W, C) of any depth to 8-bit RGB, [low, high] to [0, 255]; of other channel counts the first (or first 3)."""
    scaled = ((image.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255).round().astype(np.uint8)
    return scaled[..., :3] if scaled.shape[2] >= 3 else np.repeat(scaled[..., :1], 3, axis=2)


def tensor_grid(columns: Mapping[str, Float[Tensor, "batch channels height width"]]) -> np.ndarray:
    """One row per image of the batch, one titled column per entry; values in [-1, 1]. Returns 8-bit RGB (H, W, 3)."""
    from torchvision.utils import make_grid

    images = [column.detach().float().cpu() for column in columns.values()]
    images = [image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, -1, -1) for image in images]
    rows = torch.stack(images, 1).flatten(0, 1)  # (B * columns, 3, H, W)
    grid = make_grid(rows, nrow=len(columns), padding=2, normalize=True, value_range=(-1, 1), pad_value=1.0)
    picture = (grid * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.concatenate([title_row(list(columns), picture.shape[1]), picture])


def title_row(titles: list[str], width: int) -> np.ndarray:
    """A white strip (TITLE_HEIGHT, width, 3) with `titles` centred over equal columns."""
    strip = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    column = width / len(titles)
    for index, title in enumerate(titles):
        size = 0.45
        (text_width, text_height), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        if text_width > column - 4:
            size *= (column - 4) / text_width
            (text_width, text_height), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        place = (round((index + 0.5) * column - text_width / 2), (TITLE_HEIGHT + text_height) // 2)
        cv2.putText(strip, title, place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
