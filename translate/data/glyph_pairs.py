"""Pairs of drawn letters: one style and another, for trying the toolkit without images of one's own."""

from collections.abc import Callable, Iterable
from typing import Literal

from translate.data.augmentation import Augmentation
from translate.data.check import Facts, Inspection
from translate.data.glyphs import STYLES, draw_dataset
from translate.data.paired import PairedData
from translate.errors import UserError


class GlyphPairs(PairedData):
    """Letters in `style_a` and `style_b`, drawn into `root` when they are not there yet; see `translate.data.glyphs`.

    Args:
        root: the folder to draw into: ROOT/{train,validation,test}/{style}/{letter}.png for every style.
        augmentation: how training images are varied.
        style_a: style of side A.
        style_b: style of side B.
        size: pixels per side; None is image_size.
        direction: `AtoB` translates A into B, `BtoA` the other way.
        validation_fraction: share of the letters held out for validation.
        test_fraction: share of the letters held out for testing.
        split_seed: seed of the choice of letters.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.

    Raises:
        UserError: an unknown style, or a value outside its choices.
    """

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        style_a: str = "regular",
        style_b: str = "fancy",
        size: int | None = None,
        direction: Literal["AtoB", "BtoA"] = "AtoB",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        workers: int | None = None,
        cache_gib: float = 0.0,
    ) -> None:
        for name, style in (("style_a", style_a), ("style_b", style_b)):
            if style not in STYLES:
                raise UserError(f"data.{name}={style!r} is not one of {', '.join(STYLES)}")
        super().__init__(
            root=root,
            augmentation=augmentation,
            layout="folders",
            folder_a=style_a,
            folder_b=style_b,
            direction=direction,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            workers=workers,
            cache_gib=cache_gib,
        )
        self.size = size

    def inspect(
        self,
        image_size: int,
        progress: Callable[[Iterable[Facts | str], int], Iterable[Facts | str]] | None = None,
    ) -> Inspection:
        """Draw the letters, then look at them as at any pairs."""
        draw_dataset(
            self.root,
            size=self.size or image_size,
            seed=self.split_seed,
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
        )
        return super().inspect(image_size, progress)
