"""Images of two kinds that know nothing of one another, such as photographs and paintings."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from translate.batch import Unpaired
from translate.data.advice import warn_exposure, warn_few, warn_leaks, warn_unequal_sides
from translate.data.augmentation import Augmentation
from translate.data.check import Facts, Inspection, inspect_images, size_problems
from translate.data.glimpse import Glimpse, Observer
from translate.data.image import image_name, list_images
from translate.data.loading import Cache, Picture
from translate.data.source import Items, Progress
from translate.data.splits import folder_places, hold_out
from translate.data.two_sided import SIDE_NAMES, Direction, Labels, SideName, TwoSidedData
from translate.errors import UserError, check_choice

Partner = Literal["random", "in_order"]


class UnpairedData(TwoSidedData):
    """Images of side A and images of side B, as many and as large as they are, for CycleGAN.

    Each side is a folder, nested folders too, or a text file with one image path per line, relative to the text file.
    The splits may lie above (ROOT/train/A), below (ROOT/A/train) or in the name (ROOT/trainA, or ROOT/trainlist.txt
    for `list.txt`), for one side as for the other or not. A split that only one side has stays empty.

    Args:
        root: the folder that `folder_a` and `folder_b` are relative to.
        folder_a: the folder or text file (.txt) of side A; absolute paths may lie anywhere.
        folder_b: the same for side B.
        direction: `AtoB` translates A into B, `BtoA` the other way.
        partner: the image of B that training shows with one of A: another one at `random` each time, or `in_order`.
            An epoch is as long as the longer side. Samples and evaluation are always in order.
        validation_fraction: share of the training images of a side held out where no folder of it says validation.
        test_fraction: share of all images of a side held out where no folder of it says a split.
        split_seed: seed of that choice, which depends on an image's name alone.
        channels_a: channels of side A; None is what the images have.
        channels_b: channels of side B.
        range_a: pixel values [low, high] that span the contrast of side A; None is the full range of its type.
        range_b: the same for side B.
        labels: which side is a label map (`none`, `A`, `B`, `both`): never blended when resized.
        augmentation: how training images are varied, each side on its own.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.

    Raises:
        UserError: a value outside its choices.
    """

    batch_types = (Unpaired,)

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        folder_a: str = "A",
        folder_b: str = "B",
        direction: Direction = "AtoB",
        partner: Partner = "random",
        validation_fraction: float = 0.05,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        channels_a: int | None = None,
        channels_b: int | None = None,
        range_a: Sequence[float] | None = None,
        range_b: Sequence[float] | None = None,
        labels: Labels = "none",
        workers: int | None = None,
        cache_gib: float = 0.0,
    ) -> None:
        super().__init__(
            root=root,
            augmentation=augmentation,
            folder_a=folder_a,
            folder_b=folder_b,
            direction=direction,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            channels_a=channels_a,
            channels_b=channels_b,
            range_a=range_a,
            range_b=range_b,
            labels=labels,
            workers=workers,
            cache_gib=cache_gib,
        )
        check_choice("data.partner", partner, ("random", "in_order"))
        self.partner: Partner = partner
        self.splits: dict[str, dict[SideName, list[Picture]]] = {}

    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Find the images, decode each, and derive both sides; nothing is raised for what is wrong in the data.

        Raises:
            UserError: `root` does not exist, or a list of images cannot be read.
        """
        self.augmentation.loaded_size(image_size)
        if not all(Path(folder).expanduser().is_absolute() for folder in self.folders.values()):
            self._require_root()
        found = {name: self._find(name) for name in SIDE_NAMES}
        self._hold_out(found)
        problems = [self._describe_missing(name) for name in SIDE_NAMES if not found[name]]
        for name in SIDE_NAMES:
            if found[name] and not self.splits["train"][name]:
                remedy = (
                    "lower data.validation_fraction or data.test_fraction"
                    if {"", "train"} & found[name].keys()
                    else f"those found are for {' and '.join(found[name])} alone"
                )
                problems.append(f"{self.root}: no image of side {name} is left for training; {remedy}")
        paths = {
            name: [picture.path for members in self.splits.values() for picture in members[name]] for name in SIDE_NAMES
        }
        observer = None
        if advise:
            observer = Observer(
                picture for members in self.splits.values() for name in SIDE_NAMES for picture in members[name]
            )
        facts = inspect_images([path for name in SIDE_NAMES for path in paths[name]], progress, observer)
        good: dict[SideName, list[tuple[Path, Facts]]] = {"A": [], "B": []}
        for name in SIDE_NAMES:
            for path in paths[name]:
                fact = facts[path]
                wrong = (
                    [f"{path}: {fact}"]
                    if isinstance(fact, str)
                    else size_problems(path, fact, self._smallest(image_size))
                )
                problems += wrong
                if not isinstance(fact, str) and not wrong:
                    good[name].append((path, fact))
        sides, wrong = self._derive_sides(good)
        counts = {
            f"{split} images {name}": len(members[name])
            for split, members in self.splits.items()
            for name in SIDE_NAMES
        }
        sizes = Counter((fact.height, fact.width) for name in SIDE_NAMES for _, fact in good[name])
        problems += wrong
        warnings = self._advise(observer, image_size) if observer and not problems else []
        return Inspection(counts, sides, sizes, problems, warnings)

    def fingerprint(self) -> str:
        """A hash of what training sees of the data: names and order of the training images, and both sides."""
        names = ("\n".join(picture.name for picture in self.splits["train"][name]) for name in SIDE_NAMES)
        return hashlib.sha256("\n\n".join([str(self.source), str(self.target), *names]).encode()).hexdigest()

    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> Items:
        """The images of one split as batches see them, none where a side has none; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        return UnpairedItems(
            self, self.splits[split], image_size, self.partner, seed=seed, augment=augment, cache_gib=cache_gib
        )

    def _advise(self, observer: Observer, image_size: int) -> list[str]:
        """What to warn of in data without problems."""

        def seen(name: SideName, *splits: str) -> list[Glimpse]:
            return observer.of(picture for split in splits for picture in self.splits[split][name])

        counts: dict[str, int] = {name: len(self.splits["train"][name]) for name in SIDE_NAMES}
        both: dict[SideName, list[Glimpse]] = {name: seen(name, *self.splits) for name in SIDE_NAMES}
        of_images = self._warn_of_images(both, [*both["A"], *both["B"]], image_size)
        of_values = [warning for name in SIDE_NAMES for warning in self._warn_of_values(name, both[name])]
        exposed = {} if of_values else {f"side {name}": (self.sides[name], both[name]) for name in SIDE_NAMES}
        return [
            *warn_few({f"images of side {name}": count for name, count in counts.items()}),
            *warn_unequal_sides(counts),
            *of_images,
            *warn_exposure(exposed),
            *(
                warning
                for name in SIDE_NAMES
                for warning in warn_leaks(
                    f"images of side {name}", [seen(name, "train")], [seen(name, "validation", "test")]
                )
            ),
        ]

    def _find(self, name: SideName) -> dict[str, list[Picture]]:
        """The images of a side by split ("" where nothing says which); only splits that have some."""
        *places, whole = dict.fromkeys(folder_places(self.root, self.folders[name]))
        of_splits = [(split, place) for split, place in places if place.is_dir() or _is_list(place)]
        found: dict[str, list[Picture]] = {}
        for split, place in of_splits or [whole]:
            if pictures := list_pictures(place):
                found.setdefault(split, []).extend(pictures)
        return found

    def _hold_out(self, found: Mapping[SideName, Mapping[str, Sequence[Picture]]]) -> None:
        """Set `splits`, each side split on its own."""
        self.splits = {}
        for name in SIDE_NAMES:
            splits = hold_out(
                found[name],
                validation_fraction=self.validation_fraction,
                test_fraction=self.test_fraction,
                seed=self.split_seed,
            )
            for split, members in splits.items():
                self.splits.setdefault(split, {})[name] = members

    def _describe_missing(self, name: SideName) -> str:
        """That a side has no images, and what to do."""
        _, whole = folder_places(self.root, self.folders[name])[-1]
        state = "holds no images" if whole.exists() else "does not exist"
        subfolders = f" (data.root has {', '.join(self._subfolders())})" if self._subfolders() else ""
        return (
            f"{whole}: {state}, and no folder of a split has images of side {name} either: "
            f"name their folder, or a .txt list of them, with data.folder_{name.lower()}=...{subfolders}"
        )


class UnpairedItems(Items):
    """Images of one split, each with one of the other side: `Unpaired`s of (C, H, W) tensors in the data's pixel type.

    Item (epoch, index) is image `index` of A, starting over after the last, with an image of B drawn by
    (seed, epoch, index), or with image `index` of B where partners are in order or nothing is augmented.
    """

    def __init__(
        self,
        data: TwoSidedData,
        pictures: Mapping[SideName, Sequence[Picture]],
        image_size: int,
        partner: Partner,
        *,
        seed: int,
        augment: bool,
        cache_gib: float,
    ) -> None:
        self.pictures = (pictures["A"], pictures["B"])
        self.is_reversed = data.direction == "BtoA"
        self.is_random = partner == "random" and augment
        self.seed = seed
        self.cache = Cache(cache_gib)
        self.loaders = data.loaders(image_size, self.cache, augment=augment) if len(self) else ()

    def __len__(self) -> int:
        counts = [len(pictures) for pictures in self.pictures]
        return max(counts) if all(counts) else 0

    @property
    def counts(self) -> tuple[int, int]:
        a, b = map(len, self.pictures)
        return (b, a) if self.is_reversed else (a, b)

    def __getitem__(self, position: tuple[int, int]) -> Unpaired:
        epoch, index = position
        partner, *seeds = np.random.SeedSequence([self.seed, epoch, index]).generate_state(5).tolist()
        places = (index, partner if self.is_random else index)
        images = [
            loader(pictures[place % len(pictures)], geometry, color)
            for loader, pictures, place, geometry, color in zip(
                self.loaders, self.pictures, places, seeds[:2], seeds[2:], strict=True
            )
        ]
        return Unpaired(*reversed(images)) if self.is_reversed else Unpaired(*images)


def list_pictures(place: Path) -> list[Picture]:
    """The images in a folder, or those a text file names, in its order and once each; none if there is no such place.

    Raises:
        UserError: the text file cannot be read.
    """
    if not _is_list(place):
        names = list_images(place) if place.is_dir() else []
        return [Picture(image_name(path), place / path) for path in names]
    try:
        lines = place.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{place} cannot be read as a list of images: {error}") from error
    names = [Path(line.strip()).expanduser() for line in lines if line.strip()]
    return [Picture(image_name(path), place.parent / path) for path in dict.fromkeys(names)]


def _is_list(place: Path) -> bool:
    return place.suffix.lower() == ".txt" and place.is_file()
