"""Pairs of aligned images: one image holding both halves, two folders with equal names, or a CSV of paths."""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from translate.batch import Pair
from translate.data.augmentation import Augmentation
from translate.data.check import (
    Facts,
    Inspection,
    derive_side,
    drop_alpha,
    inspect_images,
    match_channels,
)
from translate.data.image import ImageError, list_images, read_image
from translate.errors import UserError
from translate.pixels import Side, convert_dtype

Layout = Literal["auto", "side_by_side", "folders", "csv"]
SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}
"""A split and the folder names that mean it."""


@dataclass(frozen=True)
class PairFiles:
    """Where a pair lies. `b` is None when the file `a` holds both halves, A on the left."""

    name: str
    a: Path
    b: Path | None


class PairedData:
    """Pairs of images, A and B, for Pix2Pix.

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

    def __init__(
        self,
        *,
        root: str,
        augmentation: Augmentation,
        layout: Layout = "auto",
        folder_a: str = "A",
        folder_b: str = "B",
        direction: Literal["AtoB", "BtoA"] = "AtoB",
        validation_fraction: float = 0.05,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        channels_a: int | None = None,
        channels_b: int | None = None,
        range_a: tuple[float, float] | None = None,
        range_b: tuple[float, float] | None = None,
        labels: Literal["none", "A", "B", "both"] = "none",
        workers: int | None = None,
        cache_gib: float = 0.0,
    ) -> None:
        for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
            if not 0 <= fraction < 1:
                raise UserError(f"data.{name}={fraction} is outside 0 to 1 (1 itself would leave nothing to train on)")
        for name, value, allowed in (
            ("direction", direction, ("AtoB", "BtoA")),
            ("labels", labels, ("none", "A", "B", "both")),
        ):
            if value not in allowed:
                raise UserError(f"data.{name}={value!r} is not one of {', '.join(allowed)}")
        for name, limits in (("range_a", range_a), ("range_b", range_b)):
            if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
                raise UserError(f"data.{name}={list(limits)} is not [low, high] with low < high")
        self.root = Path(root).expanduser()
        self.layout = layout
        self.folders = {"A": folder_a, "B": folder_b}
        self.direction = direction
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.channels = {"A": channels_a, "B": channels_b}
        self.ranges = {"A": range_a, "B": range_b}
        self.labels = labels
        self.augmentation = augmentation
        self.workers = workers
        self.cache_gib = cache_gib
        self.splits: dict[str, list[PairFiles]] = {}
        self.sides: dict[str, Side] = {}

    @property
    def source(self) -> Side:
        """The side that is translated; known after `inspect`."""
        return self.sides["A" if self.direction == "AtoB" else "B"]

    @property
    def target(self) -> Side:
        """The side it becomes; known after `inspect`."""
        return self.sides["B" if self.direction == "AtoB" else "A"]

    def inspect(
        self,
        image_size: int,
        progress: Callable[[Iterable[Facts | str], int], Iterable[Facts | str]] | None = None,
    ) -> Inspection:
        """Find the pairs, decode every image, and derive both sides; nothing is raised for what is wrong in the data.

        Raises:
            UserError: there is nothing to look at (no such folder, no images, an unknown layout).
        """
        self.augmentation.loaded_size(image_size)
        found, problems = self._find()
        self.splits = self._hold_out(found)
        pairs = [pair for split in self.splits.values() for pair in split]
        facts = inspect_images([path for pair in pairs for path in (pair.a, pair.b) if path is not None], progress)
        good: dict[str, list[tuple[Path, Facts]]] = {"A": [], "B": []}
        sizes: Counter[tuple[int, int]] = Counter()
        for pair in pairs:
            halves, wrong = _look_at_pair(pair, facts, image_size if self.augmentation.resize == "none" else None)
            problems += wrong
            for name, fact in halves.items():
                good[name].append((pair.a if name == "A" or pair.b is None else pair.b, fact))
                sizes[fact.height, fact.width] += name == "A"
        sides: dict[str, Side | None] = {}
        for name in ("A", "B"):
            sides[name], wrong = derive_side(
                name,
                good[name],
                channels=self.channels[name],
                value_range=self.ranges[name],
                labels=self.labels in (name, "both"),
            )
            problems += wrong
        if not problems and not self.splits["train"]:
            problems.append(
                f"{self.root}: no pair is left for training; lower data.validation_fraction or data.test_fraction"
            )
        self.sides = {name: side for name, side in sides.items() if side is not None}
        counts = {split: len(members) for split, members in self.splits.items()}
        return Inspection(counts, sides, sizes, problems)

    def fingerprint(self) -> str:
        """A hash of what training sees of the data: names and order of the training pairs, and both sides."""
        names = "\n".join(pair.name for pair in self.splits["train"])
        return hashlib.sha256(f"{self.source}\n{self.target}\n{names}".encode()).hexdigest()

    def dataset(
        self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0
    ) -> "PairDataset":
        """The pairs of one split as batches see them; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        return PairDataset(self, split, image_size, seed=seed, augment=augment, cache_gib=cache_gib)

    def _find(self) -> tuple[dict[str, list[PairFiles]], list[str]]:
        """Pairs by split ("" where nothing says which), and the problems."""
        if not self.root.exists():
            raise UserError(f"data.root={self.root} does not exist: give the folder of your images")
        layout = self._detect_layout() if self.layout == "auto" else self.layout
        find = {"csv": self._find_csv, "folders": self._find_folders, "side_by_side": self._find_side_by_side}
        if layout not in find:
            raise UserError(f"data.layout={layout!r} is not one of auto, {', '.join(find)}")
        found, problems = find[layout]()
        found = {split: pairs for split, pairs in found.items() if pairs}
        if not found and not problems:
            raise UserError(
                f"data.root={self.root} holds no pairs. Give a folder of images that hold both halves side by side, a "
                f"folder with subfolders {self.folders['A']} and {self.folders['B']}, or a CSV with columns A and B. "
                f"{self._describe_root()}"
            )
        return found, problems

    def _describe_root(self) -> str:
        folders = sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []
        if not folders:
            return "There are no subfolders in it."
        return f"Its subfolders are {', '.join(folders[:8])}: name two with data.folder_a=... data.folder_b=..."

    def _detect_layout(self) -> str:
        if self.root.is_file():
            return "csv"
        return "folders" if any(a.is_dir() or b.is_dir() for _, a, b in self._folder_places()) else "side_by_side"

    def _folder_places(self) -> list[tuple[str, Path, Path]]:
        """Every place where the two folders may lie: (split, A, B)."""
        a, b = self.folders["A"], self.folders["B"]
        places = []
        for split, names in SPLITS.items():
            for name in names:
                places.append((split, self.root / name / a, self.root / name / b))
                places.append((split, self.root / a / name, self.root / b / name))
                places.append((split, self.root / f"{name}{a}", self.root / f"{name}{b}"))
        if not any(place_a.is_dir() or place_b.is_dir() for _, place_a, place_b in places):
            places.append(("", self.root / a, self.root / b))
        return places

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
            found.setdefault(split, []).extend(
                PairFiles(path.with_suffix("").as_posix(), folder / path, None) for path in names
            )
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
        known = {name: split for split, names in SPLITS.items() for name in names}
        found: dict[str, list[PairFiles]] = {}
        problems = []
        for line, row in enumerate(rows, start=2):
            split = (row.get("split") or "").strip()
            if not row["A"] or not row["B"]:
                problems.append(f"{self.root}: line {line} does not name both A and B")
            elif split and split not in known:
                problems.append(f"{self.root}: line {line} has split={split!r}, which is not one of {', '.join(known)}")
            else:
                folder = self.root.parent
                pair = PairFiles(Path(row["A"]).with_suffix("").as_posix(), folder / row["A"], folder / row["B"])
                found.setdefault(known.get(split, ""), []).append(pair)
        return found, problems

    def _hold_out(self, found: dict[str, list[PairFiles]]) -> dict[str, list[PairFiles]]:
        """Three splits, filled by seeded fractions where the files do not say."""
        unassigned = found.get("", [])
        train = found.get("train", [])
        test = found.get("test", [])
        validation = found.get("validation", [])
        held, unassigned = self._draw(unassigned, 0.0 if test else self.test_fraction, "test")
        test = test + held
        train = train + unassigned
        if not validation:
            validation, train = self._draw(train, self.validation_fraction, "validation")
        return {"train": train, "validation": validation, "test": test}

    def _draw(self, pairs: list[PairFiles], fraction: float, purpose: str) -> tuple[list[PairFiles], list[PairFiles]]:
        """Split off a fraction by a hash of the name: adding images later moves few pairs between the splits."""
        count = max(1, round(fraction * len(pairs))) if fraction and len(pairs) > 2 else 0

        def rank(pair: PairFiles) -> bytes:
            return hashlib.sha256(f"{self.split_seed}/{purpose}/{pair.name}".encode()).digest()

        drawn = set(sorted(pairs, key=rank)[:count])
        return [pair for pair in pairs if pair in drawn], [pair for pair in pairs if pair not in drawn]


class PairDataset(Dataset[Pair]):
    """Pairs of one split. An item is drawn by (epoch, index), and depends on those and the seed alone.

    Items are `Pair`s of (C, H, W) tensors in the data's own pixel type.
    """

    def __init__(
        self, data: PairedData, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float
    ) -> None:
        self.pairs = data.splits[split]
        self.is_reversed = data.direction == "BtoA"
        self.seed = seed
        self.sides = (data.sides["A"], data.sides["B"])
        make = data.augmentation.transform
        self.transforms = (
            make(image_size, data.sides["A"], "A", augment=augment),
            make(image_size, data.sides["B"], "B", augment=augment),
        )
        self.cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.cache_room = int(cache_gib * 2**30)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: tuple[int, int]) -> Pair:
        epoch, index = position
        geometry, *colors = np.random.SeedSequence([self.seed, epoch, index]).generate_state(3).tolist()
        tensors = [
            _to_tensor(transform(image, geometry, color))
            for transform, image, color in zip(self.transforms, self._load(index), colors, strict=True)
        ]
        return Pair(*reversed(tensors)) if self.is_reversed else Pair(*tensors)

    def _load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index in self.cache:
            return self.cache[index]
        pair = self.pairs[index]
        first, second = (
            transform.load(_match(image, side))
            for transform, image, side in zip(self.transforms, read_pair(pair), self.sides, strict=True)
        )
        if first.nbytes + second.nbytes <= self.cache_room:
            self.cache_room -= first.nbytes + second.nbytes
            self.cache[index] = (first, second)
        return first, second


def read_pair(pair: PairFiles) -> tuple[np.ndarray, np.ndarray]:
    """The two images of a pair as (H, W, C), without transparency."""
    image = _read(pair.a)
    if pair.b is not None:
        return image, _read(pair.b)
    middle = image.shape[1] // 2
    return image[:, :middle], image[:, middle:]


def _read(path: Path) -> np.ndarray:
    try:
        return drop_alpha(read_image(path), path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}; it was readable when training started") from error


def collate(pairs: Sequence[Pair]) -> Pair:
    """Stack items to a batch; unlike the default it knows 16-bit pixels."""
    return Pair(torch.stack([pair.source for pair in pairs]), torch.stack([pair.target for pair in pairs]))


def _match(image: np.ndarray, side: Side) -> np.ndarray:
    return match_channels(convert_dtype(image, side.dtype), side.channels)


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


def _pair_by_name(folder_a: Path, folder_b: Path) -> tuple[list[PairFiles], list[str]]:
    by_name: list[dict[str, Path]] = []
    problems = []
    for folder in (folder_a, folder_b):
        names: dict[str, Path] = {}
        for path in list_images(folder) if folder.is_dir() else []:
            name = path.with_suffix("").as_posix()
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
            f"as {only_a!r} and {only_b!r}: give both the same name, or list the pairs in a CSV",
        )
    return [PairFiles(name, a[name], b[name]) for name in a if name in b], problems


def _look_at_pair(
    pair: PairFiles, facts: dict[Path, Facts | str], smallest: int | None
) -> tuple[dict[str, Facts], list[str]]:
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
    if smallest is not None and min(a.height, a.width) < smallest:
        return {}, [
            f"{pair.a}: is {a.width}x{a.height}, smaller than image_size={smallest}: "
            "use a smaller image_size or data.augmentation.resize=stretch"
        ]
    return {"A": a, "B": b}, []
