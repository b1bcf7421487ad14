"""A picture of what the network would see."""

from pathlib import Path

from translate.data.image import write_image
from translate.data.source import DataSource
from translate.picture import tensor_grid

ROWS = 6


def write_preview(path: Path, data: DataSource, image_size: int, *, seed: int) -> None:
    """Write a grid of augmented training images, a column per kind; call `data.inspect` before."""
    items = data.items("train", image_size, seed=seed, augment=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, tensor_grid(data.preview(items, ROWS)))
