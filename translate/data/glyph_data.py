"""Drawn letters in several styles as pairs, unpaired or labelled images: for trying the toolkit without own images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from translate.batch import BatchType, Labeled, Pair, Unpaired
from translate.data.augmentation import Augmentation, DomainAugmentation
from translate.data.check import Inspection
from translate.data.glyphs import STYLES, draw_dataset
from translate.data.labeled import LabeledData
from translate.data.loading import Picture
from translate.data.paired import PairedData, PairFiles
from translate.data.source import DataSource, Items, Progress
from translate.data.splits import draw
from translate.data.two_sided import Direction, SideName
from translate.data.unpaired import UnpairedData
from translate.domains import Domains
from translate.errors import UserError, check_choice
from translate.pixels import Side


class GlyphData(DataSource):
    """Letters in several styles, drawn into `root` when they are not there yet; see `translate.data.glyphs`.

    Pairs are one letter in `style_a` and `style_b`; of several, in one of them, which nothing but its pixels tells.
    Unpaired images are of the same two styles, but of the training letters one half is only ever seen in the one style
    and the rest only in the other. Labelled images are the letters in all of `styles`, which are the domains.

    Args:
        root: the folder to draw into: ROOT/{train,validation,test}/{style}/{letter}.png for every style.
        augmentation: how training images are varied.
        style_a: style of side A.
        style_b: style of side B; of several, each pair has one, chosen by a hash of the letter's name.
        styles: the domains of labelled images.
        size: pixels per side; None is image_size.
        direction: `AtoB` translates A into B, `BtoA` the other way; domains have no direction.
        validation_fraction: share of the letters held out for validation.
        test_fraction: share of the letters held out for testing.
        split_seed: seed of the choice of letters.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.

    Raises:
        UserError: an unknown style, a value outside its choices, or several styles of side B without pairs.
    """

    batch_types = (Pair, Unpaired, Labeled)

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        style_a: str = "regular",
        style_b: str | Sequence[str] = "fancy",
        styles: Sequence[str] = ("regular", "outline", "color", "texture"),
        size: int | None = None,
        direction: Direction = "AtoB",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        workers: int | None = None,
        cache_gib: float = 0.0,
    ) -> None:
        super().__init__(workers=workers, cache_gib=cache_gib)
        styles_b = [style_b] if isinstance(style_b, str) else list(style_b)
        for name, chosen in (("style_a", [style_a]), ("style_b", styles_b), ("styles", styles)):
            if not chosen:
                raise UserError(f"data.{name}=[] names no style; choose from {', '.join(STYLES)}")
            for style in chosen:
                check_choice(f"data.{name}", style, tuple(STYLES))
        self.root = Path(root).expanduser()
        self.augmentation = augmentation
        self.style_a = style_a
        self.styles_b = styles_b
        self.styles = list(styles)
        self.size = size
        self.direction: Direction = direction
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.data = self._choose()

    def arrange(self, batch_type: BatchType) -> None:
        """Choose the kind of batches to give; see `DataSource`."""
        super().arrange(batch_type)
        self.data = self._choose()

    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Draw the letters, then look at them as at any images; drawn as they should be, they need no advice."""
        draw_dataset(
            self.root,
            size=self.size or image_size,
            seed=self.split_seed,
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
        )
        return self.data.inspect(image_size, progress)

    @property
    def source(self) -> Side:
        """What the letters to translate look like."""
        return self.data.source

    @property
    def target(self) -> Side:
        """What the translated letters look like."""
        return self.data.target

    @property
    def domains(self) -> Domains | None:
        """The styles where images are labelled with them, else None."""
        return self.data.domains

    def know(self, domains: Domains | None) -> None:
        """Lay labels out for the domains of a model too; see `DataSource`."""
        self.data.know(domains)

    def shown(self, split: str) -> dict[str, int]:
        """How many letters of a split are in each style, where images are labelled with it."""
        return self.data.shown(split)

    @property
    def has_answers(self) -> bool:
        """Whether source and target of an item show the same letter."""
        return self.batch_type is not Labeled

    @property
    def field_sides(self) -> tuple[Side | None, ...]:
        """The side that each field of a batch is of; None for a field that is no image."""
        return self.data.field_sides

    @property
    def splits(self) -> Mapping[str, Any]:
        """The letters by split, as the data of this arrangement holds them; known after `inspect`."""
        return self.data.splits

    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> Items:
        """The letters of one split as batches see them; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        return self.data.items(split, image_size, seed=seed, augment=augment, cache_gib=cache_gib)

    def twin(self, split: str, subject: str, domain: str) -> Picture | None:
        """The letter `subject` in the style `domain`, where images are labelled with their style; else None."""
        return self.data.twin(split, subject, domain)

    def fingerprint(self) -> str:
        """A hash of what training sees of the letters."""
        return self.data.fingerprint()

    def preview(self, items: Items, rows: int) -> dict[str, Tensor]:
        """Columns of example images by title, each (rows, C, H, W) in [-1, 1]."""
        return self.data.preview(items, rows)

    def _choose(self) -> PairedData | UnpairedData | LabeledData:
        """The data set that reads the drawn folders as `batch_type` asks."""
        common: dict[str, Any] = {
            "root": str(self.root),
            "validation_fraction": self.validation_fraction,
            "test_fraction": self.test_fraction,
            "split_seed": self.split_seed,
            "workers": self.workers,
            "cache_gib": self.cache_gib,
        }
        if self.batch_type is Labeled:
            augmentation = domain_augmentation(self.augmentation)
            return LabeledData(augmentation=augmentation, layout="folders", domains=self.styles, aligned=True, **common)
        common |= {
            "augmentation": self.augmentation,
            "folder_a": self.style_a,
            "folder_b": self.styles_b[0],
            "direction": self.direction,
        }
        if self.batch_type is not Unpaired:
            return StyledPairs(self.styles_b, layout="folders", **common)
        if len(self.styles_b) > 1:
            raise UserError(
                f"data.style_b=[{','.join(self.styles_b)}]: letters without pairs are of one style per side; name one, "
                "or use method=pix2pix"
            )
        return PartedLetters(**common)


class StyledPairs(PairedData):
    """Letters in two styles; with several `styles` of side B, each letter is in one of them, by a hash of its name."""

    def __init__(self, styles: Sequence[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.styles = styles

    def _find_folders(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        found, problems = super()._find_folders()
        return {split: [self._styled(pair) for pair in pairs] for split, pairs in found.items()}, problems

    def _styled(self, pair: PairFiles) -> PairFiles:
        assert pair.b is not None
        digest = hashlib.sha256(f"{self.split_seed}/style/{pair.name}".encode()).digest()
        style = self.styles[int.from_bytes(digest[:8]) % len(self.styles)]
        return replace(pair, b=pair.b.parent.parent / style / pair.b.name)


class PartedLetters(UnpairedData):
    """Letters in two styles; a training letter that one side shows is never seen on the other."""

    def _find(self, name: SideName) -> dict[str, list[Picture]]:
        found = super()._find(name)
        half, rest = draw(found.get("train", []), 0.5, f"{self.split_seed}/side")  # by name: for both sides the same
        return found | {"train": half if name == "A" else rest}


def domain_augmentation(settings: Augmentation) -> DomainAugmentation:
    """The same for labelled images.

    Raises:
        UserError: the two sides have colour changes of their own; domains share theirs.
    """
    color_a, color_b = settings.color["A"], settings.color["B"]
    if color_a != color_b:
        raise UserError(
            f"data.augmentation.color_a={color_a} and color_b={color_b} differ, but the styles of labelled letters "
            "are varied alike: give both the same value"
        )
    return DomainAugmentation(
        resize=settings.resize,
        load_size=settings.load_size,
        center_crop=settings.center_crop,
        horizontal_flip=settings.horizontal_flip,
        vertical_flip=settings.vertical_flip,
        quarter_turns=settings.quarter_turns,
        rotation=settings.rotation,
        color=color_a,
    )
