"""A picture of what the network would see."""

from pathlib import Path

from translate.data.image import write_image
from translate.data.paired import PairedData, collate
from translate.picture import tensor_grid
from translate.pixels import normalize

ROWS = 6


def write_preview(path: Path, data: PairedData, image_size: int, *, seed: int) -> None:
    """Write a grid of augmented training pairs, source and target; call `data.inspect` before."""
    dataset = data.dataset("train", image_size, seed=seed, augment=True)
    batch = collate([dataset[0, index % len(dataset)] for index in range(ROWS)])
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        title: normalize(images, side.low, side.high)
        for title, images, side in zip(("source", "target"), batch, (data.source, data.target), strict=True)
    }
    write_image(path, tensor_grid(columns))
