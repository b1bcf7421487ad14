"""What data sets of two sides, A and B, have in common, whether their images come in pairs or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from translate.data.advice import warn_blank, warn_enlarged, warn_oblong, warn_values
from translate.data.augmentation import Augmentation
from translate.data.check import Facts, check_range, derive_side
from translate.data.glimpse import Glimpse
from translate.data.loading import Cache, SideLoader
from translate.data.source import DataSource
from translate.data.splits import check_fractions
from translate.errors import UserError, check_choice
from translate.pixels import Side

SideName = Literal["A", "B"]
SIDE_NAMES: tuple[SideName, SideName] = ("A", "B")
Direction = Literal["AtoB", "BtoA"]
Labels = Literal["none", "A", "B", "both"]


class TwoSidedData(DataSource):
    """Images of side A and side B, one of which is translated into the other. The arguments are its subclasses'.

    Attributes:
        sides: what side A and side B are; known after `inspect`.
    """

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        folder_a: str,
        folder_b: str,
        direction: Direction,
        validation_fraction: float,
        test_fraction: float,
        split_seed: int,
        channels_a: int | None,
        channels_b: int | None,
        range_a: Sequence[float] | None,
        range_b: Sequence[float] | None,
        labels: Labels,
        workers: int | None,
        cache_gib: float,
    ) -> None:
        super().__init__(workers=workers, cache_gib=cache_gib)
        check_fractions(validation_fraction=validation_fraction, test_fraction=test_fraction)
        check_choice("data.direction", direction, ("AtoB", "BtoA"))
        check_choice("data.labels", labels, ("none", "A", "B", "both"))
        check_range("range_a", range_a)
        check_range("range_b", range_b)
        self.root = Path(root).expanduser()
        self.folders: dict[str, str] = {"A": folder_a, "B": folder_b}
        self.direction = direction
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.channels: dict[str, int | None] = {"A": channels_a, "B": channels_b}
        self.ranges: dict[str, Sequence[float] | None] = {"A": range_a, "B": range_b}
        self.labels = labels
        self.augmentation = augmentation
        self.sides: dict[SideName, Side] = {}

    @property
    def source(self) -> Side:
        """The side that is translated; known after `inspect`."""
        return self.sides["A" if self.direction == "AtoB" else "B"]

    @property
    def target(self) -> Side:
        """The side it becomes; known after `inspect`."""
        return self.sides["B" if self.direction == "AtoB" else "A"]

    def loaders(self, image_size: int, cache: Cache, *, augment: bool) -> tuple[SideLoader, SideLoader]:
        """What loads the images of side A and of side B.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        make = self.augmentation.transform
        a, b = self.sides["A"], self.sides["B"]
        return (
            SideLoader(a, make(image_size, a, "A", augment=augment), cache),
            SideLoader(b, make(image_size, b, "B", augment=augment), cache),
        )

    def _smallest(self, image_size: int) -> int | None:
        """The least side of an image that is large enough; None where images of any size are."""
        return image_size if self.augmentation.resize == "none" else None

    def _derive_sides(
        self, facts: Mapping[SideName, Sequence[tuple[Path, Facts]]]
    ) -> tuple[dict[str, Side | None], list[str]]:
        """Set `sides` from the good images; the same with None where a side has none, and the problems."""
        sides: dict[str, Side | None] = {}
        problems = []
        self.sides = {}
        for name in SIDE_NAMES:
            side, wrong = derive_side(
                f"images of side {name}",
                facts[name],
                setting=f"channels_{name.lower()}",
                channels=self.channels[name],
                value_range=self.ranges[name],
                labels=self.labels in (name, "both"),
            )
            problems += wrong
            sides[name] = side
            if side is not None:
                self.sides[name] = side
        return sides, problems

    def _warn_of_images(
        self, seen: Mapping[SideName, Sequence[Glimpse]], sizes: Sequence[Glimpse], image_size: int
    ) -> list[str]:
        """What to warn of in the images of each side; `sizes` are those whose sizes matter."""
        warnings = [
            *warn_enlarged(sizes, image_size, self.augmentation),
            *warn_oblong(sizes, self.augmentation),
        ]
        for name in SIDE_NAMES:
            own = seen[name]
            warnings += self._warn_of_values(name, own) or warn_blank(f"side {name}", self.sides[name], own)
        return warnings

    def _warn_of_values(self, name: SideName, seen: Sequence[Glimpse]) -> list[str]:
        """What to warn of in the pixel values of a side."""
        labels = None if self.sides[name].labels else f"data.labels={name if self.labels == 'none' else 'both'}"
        setting = f"data.range_{name.lower()}"
        return warn_values(f"side {name}", self.sides[name], seen, setting=setting, labels=labels)

    def _require_root(self) -> None:
        if not self.root.exists():
            raise UserError(f"data.root={self.root} does not exist: give the folder of your images")

    def _subfolders(self) -> list[str]:
        """The folders in `root`, to choose from; not all where there are many."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())[:8] if self.root.is_dir() else []
