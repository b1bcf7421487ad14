"""Images of noise on the disk, and data sets of pairs whose right side follows from the left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.augmentation import Augmentation
from translate.data.image import write_image
from translate.data.paired import PairedData

Shape = tuple[int, ...]


@pytest.fixture
def draw(noise: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Write noise, or `image`, to a path and return it."""

    def make(
        path: Path, shape: Shape = (12, 12, 3), dtype: str = "uint8", *, image: np.ndarray | None = None
    ) -> np.ndarray:
        image = noise(shape, dtype) if image is None else image
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)
        return image

    return make


@pytest.fixture
def paired() -> Callable[..., PairedData]:
    """Paired data, all of it for training, neither resized nor flipped unless said otherwise."""

    def make(root: Path, *, augmentation: dict[str, Any] | None = None, **options: Any) -> PairedData:
        settings = {"resize": "none", "horizontal_flip": 0.0} | (augmentation or {})
        fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
        return PairedData(root=str(root), augmentation=Augmentation(**settings), **(fractions | options))

    return make
