"""Pairs of aligned images: one image holding both halves, two folders with equal names, or a CSV of paths."""

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from translate.batch import Pair, Unpaired
from translate.data.advice import warn_few, warn_leaks, warn_misaligned
from translate.data.augmentation import Augmentation
from translate.data.check import Facts, Inspection, inspect_images, size_problems
from translate.data.glimpse import Glimpse, Observer
from translate.data.image import image_name, list_images
from translate.data.loading import Cache, Picture, read_pixels
from translate.data.source import Items, Progress
from translate.data.splits import SPLIT_OF, SPLITS, folder_places, hold_out
from translate.data.two_sided import Direction, Labels, SideName, TwoSidedData
from translate.data.unpaired import UnpairedItems
from translate.errors import UserError

Layout = Literal["auto", "side_by_side", "folders", "csv"]


@dataclass(frozen=True)
class PairFiles:
    """Where a pair lies. `b` is None when the file `a` holds both halves, A on the left."""

    name: str
    a: Path
    b: Path | None

    @property
    def pictures(self) -> tuple[Picture, Picture]:
        """The two images, each on its own."""
        if self.b is None:
            return Picture(self.name, self.a, "left"), Picture(self.name, self.a, "right")
        return Picture(self.name, self.a), Picture(self.name, self.b)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Both images as (H, W, C), without transparency; a file that holds both is decoded once.

        Raises:
            ImageError: a file cannot be read any more.
        """
        image = read_pixels(self.a)
        if self.b is not None:
            return image, read_pixels(self.b)
        middle = image.shape[1] // 2
        return image[:, :middle], image[:, middle:]


class PairedData(TwoSidedData):
    """Pairs of images, A and B.

    Arranged as Unpaired, training draws partners at random, as if nobody knew which images belong together; without
    augmentation (samples, evaluation) they stay together.

    The layout is found by looking at `root`:

    - `csv`: `root` is a CSV file with columns A and B (paths relative to it) and, if wanted, split.
    - `folders`: ROOT/A and ROOT/B, paired by path without extension, nested folders too; the splits may lie above
      (ROOT/train/A), below (ROOT/A/train) or in the name (ROOT/trainA).
    - `side_by_side`: images twice as wide as high hold A on the left and B on the right; splits as ROOT/train.

    Args:
        root: the folder or CSV file.
        layout: one of the above, or `auto`.
        folder_a: name of the folder of side A.
        folder_b: name of the folder of side B.
        direction: `AtoB` translates A into B, `BtoA` the other way.
        validation_fraction: share of the training pairs held out where no folder says validation.
        test_fraction: share of all pairs held out where no folder says which split a pair belongs to.
        split_seed: seed of that choice, which depends on a pair's name alone.
        channels_a: channels of side A; None is what the images have.
        channels_b: channels of side B.
        range_a: pixel values [low, high] that span the contrast of side A; None is the full range of its type.
        range_b: the same for side B.
        labels: which side is a label map (`none`, `A`, `B`, `both`): never blended when resized.
        augmentation: how training images are varied.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.

    Raises:
        UserError: a value outside its choices.
    """

    batch_types = (Pair, Unpaired)

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        layout: Layout = "auto",
        folder_a: str = "A",
        folder_b: str = "B",
        direction: Direction = "AtoB",
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
        self.layout = layout
        self.splits: dict[str, list[PairFiles]] = {}

    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Find the pairs, decode every image, and derive both sides; nothing is raised for what is wrong in the data.

        Raises:
            UserError: there is nothing to look at (no such folder, no images, an unknown layout).
        """
        self.augmentation.loaded_size(image_size)
        found, problems = self._find()
        self.splits = hold_out(
            found,
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
            seed=self.split_seed,
        )
        pairs = [pair for split in self.splits.values() for pair in split]
        pictures = [pair.pictures for pair in pairs]
        observer = None
        if advise:
            observer = Observer((one for two in pictures for one in two), pictures if self.batch_type is Pair else ())
        facts = inspect_images([picture.path for two in pictures for picture in two], progress, observer)
        good: dict[SideName, list[tuple[Path, Facts]]] = {"A": [], "B": []}
        sizes: Counter[tuple[int, int]] = Counter()
        for pair in pairs:
            halves, wrong = _look_at_pair(pair, facts, self._smallest(image_size))
            problems += wrong
            for (name, fact), picture in zip(halves.items(), pair.pictures, strict=False):
                good[name].append((picture.path, fact))
                sizes[fact.height, fact.width] += name == "A"
        sides, wrong = self._derive_sides(good)
        problems += wrong
        if not problems and not self.splits["train"]:
            problems.append(
                f"{self.root}: no pair is left for training; lower data.validation_fraction or data.test_fraction"
            )
        is_guess = self.layout == "auto" and all(pair.b is None for pair in pairs)
        if is_guess and sizes and all(height >= 1.5 * width for height, width in sizes):
            problems.insert(
                0,
                f"{self.root}: the images are not wide enough to hold two sides each, and there are no folders of two "
                "sides. If each does hold both, say data.layout=side_by_side; folders named after what they show are "
                "for method=stargan, two folders without pairs for method=cyclegan",
            )
        counts = {f"{split} pairs": len(members) for split, members in self.splits.items()}
        warnings = self._advise(observer, image_size) if observer and not problems else []
        return Inspection(counts, sides, sizes, problems, warnings)

    @property
    def has_answers(self) -> bool:
        """True: even as if they were no pairs, images without augmentation stay together."""
        return True

    def fingerprint(self) -> str:
        """A hash of what training sees of the data: names and order of the training pairs, and both sides."""
        names = "\n".join(pair.name for pair in self.splits["train"])
        return hashlib.sha256(f"{self.source}\n{self.target}\n{names}".encode()).hexdigest()

    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> Items:
        """The pairs of one split, or its images as if they were none, as arranged; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        pairs = self.splits[split]
        if self.batch_type is Pair:
            return PairItems(self, pairs, image_size, seed=seed, augment=augment, cache_gib=cache_gib)
        pictures: dict[SideName, list[Picture]] = {
            "A": [pair.pictures[0] for pair in pairs],
            "B": [pair.pictures[1] for pair in pairs],
        }
        return UnpairedItems(self, pictures, image_size, "random", seed=seed, augment=augment, cache_gib=cache_gib)

    def _advise(self, observer: Observer, image_size: int) -> list[str]:
        """What to warn of in data without problems."""

        def seen(*splits: str) -> list[list[Glimpse]]:
            pairs = [pair.pictures for split in splits for pair in self.splits[split]]
            return [observer.of(two[place] for two in pairs) for place in (0, 1)]

        train, held = seen("train"), seen("validation", "test")
        a, b = seen(*self.splits)
        return [
            *warn_few({"pairs": len(self.splits["train"])}),
            *warn_misaligned(observer.alignment),
            *self._warn_of_images({"A": a, "B": b}, a, image_size),
            *warn_leaks("pairs", train, held),
        ]

    def _find(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        """Pairs by split ("" where nothing says which), and the problems."""
        self._require_root()
        layout = self._detect_layout() if self.layout == "auto" else self.layout
        find = {"csv": self._find_csv, "folders": self._find_folders, "side_by_side": self._find_side_by_side}
        if layout not in find:
            raise UserError(f"data.layout={layout!r} is not one of auto, {', '.join(find)}")
        found, problems = find[layout]()
        found = {split: pairs for split, pairs in found.items() if pairs}
        if not found and not problems:
            folders = ", ".join(self._subfolders())
            raise UserError(
                f"data.root={self.root} holds no pairs. Give a folder of images that hold both halves side by side, a "
                f"folder with subfolders {self.folders['A']} and {self.folders['B']}, or a CSV with columns A and B. "
                + (
                    f"Its subfolders are {folders}: name two with data.folder_a=... data.folder_b=..."
                    if folders
                    else "There are no subfolders in it."
                )
            )
        return found, problems

    def _detect_layout(self) -> str:
        if self.root.is_file():
            return "csv"
        return "folders" if any(a.is_dir() or b.is_dir() for _, a, b in self._folder_places()) else "side_by_side"

    def _folder_places(self) -> list[tuple[str, Path, Path]]:
        """Every place where the two folders may lie: (split, A, B)."""
        places = [folder_places(self.root, self.folders[name]) for name in ("A", "B")]
        *split, whole = dict.fromkeys((split, a, b) for (split, a), (_, b) in zip(*places, strict=True))
        return split if any(a.is_dir() or b.is_dir() for _, a, b in split) else [*split, whole]

    def _find_folders(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        found: dict[str, list[PairFiles]] = {}
        problems = []
        for split, folder_a, folder_b in self._folder_places():
            if not folder_a.is_dir() and not folder_b.is_dir():
                continue
            members, wrong = _pair_by_name(folder_a, folder_b)
            found.setdefault(split, []).extend(members)
            problems += wrong
        return found, problems

    def _find_side_by_side(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        folders = [(split, self.root / name) for split, names in SPLITS.items() for name in names]
        folders = [(split, folder) for split, folder in folders if folder.is_dir()] or [("", self.root)]
        found: dict[str, list[PairFiles]] = {}
        for split, folder in folders:
            names = list_images(folder) if folder.is_dir() else []
            found.setdefault(split, []).extend(PairFiles(image_name(path), folder / path, None) for path in names)
        return found, []

    def _find_csv(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        try:
            with self.root.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                rows = list(reader)
                columns = list(reader.fieldnames or [])
        except (UnicodeDecodeError, csv.Error, OSError) as error:
            raise UserError(f"data.root={self.root} cannot be read as a CSV file: {error}") from error
        if not {"A", "B"} <= set(columns):
            raise UserError(
                f"data.root={self.root} needs columns named A and B; its columns are {', '.join(columns) or 'none'}"
            )
        found: dict[str, list[PairFiles]] = {}
        problems = []
        for line, row in enumerate(rows, start=2):
            split = (row.get("split") or "").strip()
            if not row["A"] or not row["B"]:
                problems.append(f"{self.root}: line {line} does not name both A and B")
            elif split and split not in SPLIT_OF:
                problems.append(
                    f"{self.root}: line {line} has split={split!r}, which is not one of {', '.join(SPLIT_OF)}"
                )
            else:
                folder = self.root.parent
                pair = PairFiles(image_name(Path(row["A"])), folder / row["A"], folder / row["B"])
                found.setdefault(SPLIT_OF.get(split, ""), []).append(pair)
        return found, problems


class PairItems(Items):
    """Pairs of one split: `Pair`s of (C, H, W) tensors in the data's own pixel type, varied alike but in colour."""

    def __init__(
        self,
        data: TwoSidedData,
        pairs: Sequence[PairFiles],
        image_size: int,
        *,
        seed: int,
        augment: bool,
        cache_gib: float,
    ) -> None:
        self.pairs = pairs
        self.is_reversed = data.direction == "BtoA"
        self.seed = seed
        self.cache = Cache(cache_gib)
        self.loaders = data.loaders(image_size, self.cache, augment=augment)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: tuple[int, int]) -> Pair:
        epoch, index = position
        geometry, *colors = np.random.SeedSequence([self.seed, epoch, index]).generate_state(3).tolist()
        images = [
            loader.vary(image, geometry, color)
            for loader, image, color in zip(self.loaders, self._load(index), colors, strict=True)
        ]
        return Pair(*reversed(images)) if self.is_reversed else Pair(*images)

    def _load(self, index: int) -> tuple[np.ndarray, ...]:
        if index in self.cache.images:
            return self.cache.images[index]
        pair = self.pairs[index].read()
        images = tuple(loader.prepare(image) for loader, image in zip(self.loaders, pair, strict=True))
        self.cache.add(index, *images)
        return images


def _pair_by_name(folder_a: Path, folder_b: Path) -> tuple[list[PairFiles], list[str]]:
    by_name: list[dict[str, Path]] = []
    problems = []
    for folder in (folder_a, folder_b):
        names: dict[str, Path] = {}
        for path in list_images(folder) if folder.is_dir() else []:
            name = image_name(path)
            if name in names:
                problems.append(f"{folder / path}: has the same name as {names[name].name}; keep one of them")
            names[name] = folder / path
        if not names:
            problems.append(
                f"{folder}: {'holds no images' if folder.is_dir() else 'does not exist, but its partner does'}"
            )
        by_name.append(names)
    if not all(by_name):
        return [], problems
    a, b = by_name
    lonely = {folder_a: a.keys() - b.keys(), folder_b: b.keys() - a.keys()}
    for folder, other, names in ((folder_a, folder_b, a), (folder_b, folder_a, b)):
        problems += [f"{names[name]}: has no partner of that name in {other}" for name in lonely[folder]]
    problems.sort()
    if sum(map(len, lonely.values())) > 3:
        only_a, only_b = (min(names, default="no other") for names in lonely.values())
        problems.insert(
            0,
            f"{folder_a}, {folder_b}: {len(lonely[folder_a])} and {len(lonely[folder_b])} images have no partner, such "
            f"as {only_a!r} and {only_b!r}: give both the same name, or list the pairs in a CSV; images without "
            "partners are for method=cyclegan",
        )
    return [PairFiles(name, a[name], b[name]) for name in a if name in b], problems


def _look_at_pair(
    pair: PairFiles, facts: Mapping[Path, Facts | str], smallest: int | None
) -> tuple[dict[SideName, Facts], list[str]]:
    """The facts of both halves, and what is wrong; `smallest` is the least side that is enough, None for any."""
    found = facts[pair.a], facts[pair.b] if pair.b is not None else facts[pair.a]
    wrong = [
        f"{path}: {fact}"
        for path, fact in zip((pair.a, pair.b), found, strict=True)
        if isinstance(fact, str) and path is not None
    ]
    a, b = found
    if isinstance(a, str) or isinstance(b, str):
        return {}, wrong
    if pair.b is None:
        if a.width % 2:
            return {}, [
                f"{pair.a}: its width {a.width} is odd, but without folders of two sides every image is two halves"
            ]
        a = b = Facts(a.height, a.width // 2, a.channels, a.dtype)
    elif (a.height, a.width) != (b.height, b.width):
        sizes = f"{a.width}x{a.height} and {b.width}x{b.height}"
        return {}, [f"{pair.a}: differs in size from {pair.b} ({sizes}): resize one of them"]
    wrong = size_problems(pair.a, a, smallest)
    return ({} if wrong else {"A": a, "B": b}), wrong
