"""Images labelled with the domains they show: a folder per domain, a CSV file, or CelebA's list of attributes."""

import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from translate.batch import Labeled
from translate.data.advice import (
    warn_blank,
    warn_enlarged,
    warn_exposure,
    warn_few,
    warn_leaks,
    warn_oblong,
    warn_unequal_domains,
    warn_values,
)
from translate.data.augmentation import DomainAugmentation
from translate.data.check import Facts, Inspection, check_range, derive_side, inspect_images, size_problems
from translate.data.glimpse import Glimpse, Observer
from translate.data.image import image_name, list_images
from translate.data.label_files import choose, read_csv, read_list_attr
from translate.data.loading import Cache, Picture, SideLoader
from translate.data.source import DataSource, Items, Progress
from translate.data.splits import SPLIT_OF, check_fractions, hold_out
from translate.domains import Domains, Kind, LabelSet, numbered
from translate.errors import UserError, check_choice
from translate.pixels import Side, normalize

Layout = Literal["auto", "folders", "csv", "list_attr"]
MOST_COLUMNS = 8
"""Domains that a preview shows."""


@dataclass(frozen=True)
class LabeledPicture:
    """An image and its label vector.

    Attributes:
        name: its path without extension and without the folder of its split; with that of its domain.
        subject: what it shows, apart from the domain: the path inside the domain's folder, else the name.
        picture: where it lies.
        vector: its label vector, of length `Domains.width`.
    """

    name: str
    subject: str
    picture: Picture
    vector: tuple[float, ...]


class LabeledSource(DataSource):
    """Labelled images of one side, from one label set or several.

    Attributes:
        splits: the images of `train`, `validation` and `test`; known after `inspect`.
        side: what the images look like; known after `inspect`, None where problems leave it open.
    """

    batch_types = (Labeled,)

    def __init__(self, *, workers: int | None, cache_gib: float) -> None:
        super().__init__(workers=workers, cache_gib=cache_gib)
        self.splits: dict[str, list[LabeledPicture]] = {}
        self.side: Side | None = None
        self._domains: Domains | None = None

    @property
    def source(self) -> Side:
        """What the images look like, and so do their translations."""
        assert self.side is not None, "known after an inspection without problems"
        return self.side

    @property
    def target(self) -> Side:
        """The same as `source`."""
        return self.source

    @property
    def domains(self) -> Domains:
        """The label sets and the layout of a label vector."""
        assert self._domains is not None, "known after inspect"
        return self._domains

    def know(self, domains: Domains | None) -> None:
        if domains is None:
            raise UserError(
                "the checkpoint knows no domains, but these images are labelled with some: leave out method= to go on "
                "with the checkpoint's own, and data= with its data"
            )
        own = self.domains.names
        if domains.names == numbered(len(domains.names)) and not set(domains.names) & set(own):
            raise UserError(
                f"the checkpoint's domains are called {', '.join(domains.names)}, since its file has no names: give "
                f"them, so that {', '.join(own)} can be told from them: translate import FILE --domains A,B,... "
                "--output MODEL"
            )
        self._extend(domains)

    def _extend(self, domains: Domains) -> None:
        """Lay labels out for other domains besides the data's own. Errors as `know`."""
        own, united = self.domains, domains.union(self.domains)
        unsaid = united.unsaid(own)
        if unsaid:
            raise UserError(
                f"images labelled with {', '.join(own.names)} do not say whether they show {', '.join(unsaid)}, as "
                "others or those of the checkpoint do: label them with that too, or keep the label sets apart, with "
                "images of each: data=domains_joint data.first.root=... data.second.root=..."
            )
        self._domains = united
        self.splits = {
            split: [replace(member, vector=united.lift(member.vector, own)) for member in members]
            for split, members in self.splits.items()
        }

    def shown(self, split: str) -> dict[str, int]:
        """How many images of a split show each domain."""
        return count_shown(self.splits[split], self.domains)

    @property
    def field_sides(self) -> tuple[Side | None, ...]:
        """Images alone are of a side; labels and targets are not."""
        return self.source, None, None

    @abstractmethod
    def items(
        self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0
    ) -> "LabeledItems": ...

    def fingerprint(self) -> str:
        """A hash of what training sees of the data: training images, their order and labels, domains and side."""
        images = "\n".join(f"{member.name} {member.vector}" for member in self.splits["train"])
        return hashlib.sha256(f"{self.source}\n{self.domains}\n{images}".encode()).hexdigest()

    def preview(self, items: Items, rows: int) -> dict[str, Tensor]:
        """One column per domain, (rows, C, H, W) in [-1, 1]: the first images that show it, repeated if need be.

        The first domains that any image shows are in it, up to `MOST_COLUMNS`.
        """
        assert isinstance(items, LabeledItems)
        columns = {}
        for place, name in islice(enumerate(self.domains.names), MOST_COLUMNS):
            shown = list(islice((index for index in range(len(items)) if items.member(index).vector[place]), rows))
            if shown:
                images = {index: items[0, index].images for index in shown}
                column = torch.stack([images[shown[row % len(shown)]] for row in range(rows)])
                columns[name] = normalize(column, self.source.low, self.source.high)
        return columns


@dataclass(frozen=True)
class _Found:
    """Images by split ("" where nothing says which), the label set, and the problems so far."""

    labels: LabelSet
    pictures: Mapping[str, Sequence[LabeledPicture]]
    problems: list[str]


@dataclass(frozen=True)
class _Together:
    """Images that are for one split, whichever that is."""

    name: str
    members: list[LabeledPicture]


class LabeledData(LabeledSource):
    """Images labelled with their domains, for StarGAN.

    The layout is found by looking at `root` and `label_file`:

    - `folders`: ROOT/bottle, ROOT/clock, one folder per domain, nested folders too; the splits may lie above
      (ROOT/train/bottle) or below (ROOT/bottle/train).
    - `csv`: a CSV file with a column `image` (a path), either a column `domain` (a name) or one column per attribute
      (1, 0, -1, true or false), and if wanted `split`. The file is `root`, and paths are relative to it; or it is
      `label_file`, and paths are relative to the folder `root`.
    - `list_attr`: `label_file` is CelebA's list_attr_celeba.txt or a file like it, and `root` the folder of the images.

    Args:
        root: the folder or CSV file.
        augmentation: how training images are varied.
        layout: one of the above, or `auto`.
        label_file: the label file, where `root` is the folder of the images.
        domains: the folders, names or columns to use, in this order; None uses all of them, columns in the order of
            the file, others sorted.
        kind: `one_hot`, an image shows exactly one of the domains; `attributes`, any number of them; `auto` tells from
            the data: columns are one_hot if there are several, every image has exactly one, and none are `exclusive`.
        exclusive: groups of attributes of which an image has at most one, such as hair colours: a translation that
            adds one takes away the others.
        replay: another folder or CSV file laid out like `root`, with images of other domains. One image of it is seen
            for each of `root`, and either is translated into the domains of both: a model that learns new domains
            from `root` does not forget those in `replay`.
        aligned: whether images of equal path in the folders of several domains show the same thing, so that evaluation
            knows the true answer. They are then held out together.
        validation_fraction: share of the training images held out where nothing says validation.
        test_fraction: share of all images held out where nothing says which split an image belongs to. Both are
            drawn from each domain alike if images show exactly one.
        split_seed: seed of that choice, which depends on an image's name alone.
        channels: channels of the images; None is what they have.
        value_range: pixel values [low, high] that span their contrast; None is the full range of their type.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.

    Attributes:
        node: where these settings stand in the configuration.

    Raises:
        UserError: a value outside its choices, or settings that contradict each other.
    """

    def __init__(
        self,
        *,
        root: str,
        augmentation: DomainAugmentation,
        layout: Layout = "auto",
        label_file: str | None = None,
        domains: Sequence[str | int] | None = None,
        kind: Kind | Literal["auto"] = "auto",
        exclusive: Sequence[Sequence[str | int]] | None = None,
        replay: str | None = None,
        aligned: bool = False,
        validation_fraction: float = 0.05,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        channels: int | None = None,
        value_range: Sequence[float] | None = None,
        workers: int | None = None,
        cache_gib: float = 0.0,
    ) -> None:
        super().__init__(workers=workers, cache_gib=cache_gib)
        check_fractions(validation_fraction=validation_fraction, test_fraction=test_fraction)
        check_choice("data.layout", layout, ("auto", "folders", "csv", "list_attr"))
        check_choice("data.kind", kind, ("auto", "one_hot", "attributes"))
        check_range("value_range", value_range)
        if exclusive and kind == "one_hot":
            raise UserError("data.exclusive is for attributes: an image shows one domain alone with data.kind=one_hot")
        self.node = "data"
        self.root = Path(root).expanduser()
        self.label_file = None if label_file is None else Path(label_file).expanduser()
        self.layout = layout
        self.wanted = None if domains is None else [str(name) for name in domains]
        self.kind = kind
        self.exclusive = tuple(tuple(str(name) for name in group) for group in exclusive or ())
        self.replay = None if replay is None else Path(replay).expanduser()
        self.aligned = aligned
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.channels = channels
        self.value_range = value_range
        self.augmentation = augmentation
        self._problems: list[str] = []
        self._twins: dict[tuple[str, str, str], Picture] = {}
        self._own: dict[str, int] = {}  # of each split, how many images come first that are not replayed

    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Find the images, decode each, and derive their side; nothing is raised for what is wrong in the data.

        Raises:
            UserError: there is nothing to look at, or a setting names a domain that is not there.
        """
        self.find(image_size)
        return self.look(image_size, progress, advise=advise)

    def find(self, image_size: int) -> None:
        """The first half of `inspect`: find the images and their labels, without opening any image.

        Raises:
            UserError: as `inspect`.
        """
        self.augmentation.loaded_size(image_size)
        self._gather()
        if len(self.domains.names) == 1 and self.domains.sets[0].kind == "one_hot":
            self._problems.append(self._describe_single(self.domains.names[0]))
        if self.aligned:
            self._find_twins()
        if not self._problems:
            self._problems += self._check_training_images()

    def _gather(self) -> None:
        """Find images, labels and splits, with those to replay."""
        found = self._find()
        self._problems = found.problems
        self._domains = Domains((found.labels,))
        self._check_exclusive()
        self.splits = self._hold_out(found)
        if self.replay is None:
            return
        if not self.replay.exists():
            raise UserError(f"{self.node}.replay={self.replay} does not exist: give the folder of the other domains")
        other = copy(self)
        other.root, other.replay, other.wanted, other.label_file, other.exclusive = self.replay, None, None, None, ()
        other._gather()
        self._own = {split: len(members) for split, members in self.splits.items()}
        other._extend(self.domains)
        self._extend(other.domains)
        self._problems += other._problems
        self.splits = {split: members + other.splits[split] for split, members in self.splits.items()}

    def look(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """The second half of `inspect`: decode what `find` found."""
        pictures = [member.picture for split in self.splits.values() for member in split]
        observer = Observer(pictures) if advise else None
        facts = inspect_images([picture.path for picture in pictures], progress, observer)
        smallest = image_size if self.augmentation.resize == "none" else None
        problems = list(self._problems)
        good: list[tuple[Path, Facts]] = []
        for path in (picture.path for picture in pictures):
            fact = facts[path]
            wrong = [f"{path}: {fact}"] if isinstance(fact, str) else size_problems(path, fact, smallest)
            if not isinstance(fact, str) and not wrong:
                good.append((path, fact))
            problems += wrong
        self.side, wrong = derive_side(
            "images",
            good,
            setting=f"{self.node}.channels".removeprefix("data."),
            channels=self.channels,
            value_range=self.value_range,
            labels=False,
        )
        sizes = Counter((fact.height, fact.width) for _, fact in good)
        problems += wrong
        warnings = self._advise(observer, image_size) if observer and not problems else []
        return Inspection(self._counts(), {"images": self.side}, sizes, problems, warnings)

    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> "LabeledItems":
        """The images of one split as batches see them; call `inspect` before.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        loader, members = self.loader(image_size, Cache(cache_gib), augment=augment), self.splits[split]
        own = self._own.get(split, len(members))
        return LabeledItems([(loader, members[:own]), (loader, members[own:])], seed, is_one_set=True)

    def loader(self, image_size: int, cache: Cache, *, augment: bool) -> SideLoader:
        """What loads the images.

        Raises:
            UserError: augmentation that these images do not allow.
        """
        return SideLoader(
            self.source, self.augmentation.transform(image_size, self.source, "A", augment=augment), cache
        )

    def twin(self, split: str, subject: str, domain: str) -> Picture | None:
        """The image of `subject` in the folder of `domain`; None if it has none, or the data is not `aligned`."""
        return self._twins.get((split, subject, domain))

    # --- finding images and their labels ---

    def _find(self) -> _Found:
        if not self.root.exists():
            raise UserError(f"{self.node}.root={self.root} does not exist: give the folder of your images")
        layout = self._detect_layout() if self.layout == "auto" else self.layout
        if layout == "folders":
            return self._find_folders()
        if self.aligned:
            raise UserError(f"{self.node}.aligned=true needs one folder per domain, but the layout is {layout}")
        return self._find_listed(layout)

    def _detect_layout(self) -> str:
        if self.label_file is None:
            return "csv" if self.root.is_file() else "folders"
        return "csv" if self.label_file.suffix.lower() == ".csv" else "list_attr"

    def _find_folders(self) -> _Found:
        if self.label_file is not None or not self.root.is_dir():
            raise UserError(
                f"{self.node}.layout=folders reads the domains from the names of folders in {self.node}.root="
                f"{self.root}, which must be a folder, and no {self.node}.label_file: use {self.node}.layout=auto"
            )
        paths = [path for path in list_images(self.root) if len(path.parts) > 1]
        top = sorted({path.parts[0] for path in paths})
        is_split_above = self._is_split_above(top)
        images: dict[str, dict[str, list[tuple[str, Path]]]] = {}  # domain -> split -> (subject, path)
        for path in paths:
            *folders, _ = path.parts
            if is_split_above and (folders[0] not in SPLIT_OF or len(folders) == 1):
                continue
            split = SPLIT_OF[folders.pop(0)] if is_split_above else ""
            domain = folders.pop(0)
            if not is_split_above and folders and folders[0] in SPLIT_OF:
                split = SPLIT_OF[folders.pop(0)]
            subject = PurePath(*folders, path.stem).as_posix()
            images.setdefault(domain, {}).setdefault(split, []).append((subject, self.root / path))
        if not images:
            raise UserError(
                f"{self.node}.root={self.root} holds no domains. Give a folder with one subfolder per domain (or "
                "those in train, validation and test), a CSV file with columns image and domain, or with "
                f"{self.node}.label_file a file of attributes. {_describe(self.root)}"
            )
        names = choose(self.wanted, sorted(images), setting=f"{self.node}.domains", where=f"{self.root}")
        pictures: dict[str, list[LabeledPicture]] = {}
        for place, domain in enumerate(names):
            vector = tuple(float(other == place) for other in range(len(names)))
            for split, members in images[domain].items():
                pictures.setdefault(split, []).extend(
                    LabeledPicture(name := f"{domain}/{subject}", subject, Picture(name, path), vector)
                    for subject, path in members
                )
        problems = [
            f"{self.root}: domain {domain!r} has no {split} images, but other domains have: add some, or leave it out "
            f"of {self.node}.domains"
            for domain in names
            for split in pictures
            if split and split not in images[domain]
        ]
        kind: Kind = "one_hot" if self.kind == "auto" else self.kind
        return _Found(LabelSet(names, kind, self.exclusive), pictures, problems)

    def _is_split_above(self, top: Sequence[str]) -> bool:
        """Whether the folders in the root are splits that hold the domains, not domains."""
        sides = [name for name in top if name[:-1] in SPLIT_OF and name[-1] in "AB"]
        if sides and self.wanted is None:
            raise UserError(
                f"{self.node}.root={self.root} has the folders {', '.join(sides)}, which are splits of two sides: use "
                f"method=cyclegan, or name the folders that are domains with {self.node}.domains=[...]"
            )
        splits = [name for name in top if name in SPLIT_OF]
        if not splits or (self.wanted is not None and set(self.wanted) <= set(top)):
            return False
        if len(splits) < len(top) and self.wanted is None:
            others = [name for name in top if name not in SPLIT_OF]
            raise UserError(
                f"{self.node}.root={self.root} has folders named as splits ({', '.join(splits)}) and others "
                f"({', '.join(others[:MOST_COLUMNS])}): name the domains with {self.node}.domains=[...]"
            )
        return True

    def _find_listed(self, layout: str) -> _Found:
        if self.label_file is None:
            if layout == "list_attr" or not self.root.is_file():
                what = "list of attributes" if layout == "list_attr" else "CSV file"
                raise UserError(
                    f"{self.node}.layout={layout} needs the {what}: give it as {self.node}.label_file=FILE, with "
                    f"{self.node}.root={self.root} the folder that its paths are relative to"
                )
            file, folder, setting = self.root, self.root.parent, f"{self.node}.root"
        else:
            if not self.root.is_dir():
                raise UserError(
                    f"{self.node}.root={self.root} is no folder: with {self.node}.label_file it is the folder that the "
                    "paths of the label file are relative to"
                )
            file, folder, setting = self.label_file, self.root, f"{self.node}.label_file"
        read = read_csv if layout == "csv" else read_list_attr
        names, known_kind, rows, problems = read(file, self.wanted, node=self.node, setting=setting)
        if not rows and not problems:
            raise UserError(f"{setting}={file} lists no images{' of these domains' * (self.wanted is not None)}")
        is_one_hot = len(names) > 1 and not self.exclusive and all(sum(row.values) == 1 for row in rows)
        kind = known_kind or ("one_hot" if is_one_hot else "attributes")
        kind = kind if self.kind == "auto" else self.kind
        pictures: dict[str, list[LabeledPicture]] = {}
        missing = []
        for row in rows:
            path = folder / row.path
            if kind == "one_hot" and sum(row.values) != 1:
                problems.append(
                    f"{file}: line {row.line} has {round(sum(row.values))} of the domains {', '.join(names)}; "
                    f"{self.node}.kind=one_hot needs exactly one"
                )
            elif not path.is_file():
                missing.append(f"{path}: is listed in {file.name}, but there is no such file")
            else:
                name = image_name(PurePath(row.path))
                pictures.setdefault(row.split, []).append(LabeledPicture(name, name, Picture(name, path), row.values))
        if len(missing) > 3:
            missing.insert(0, f"{folder}: {len(missing)} of {len(rows)} images that {file} lists are not there")
        return _Found(LabelSet(names, kind, self.exclusive), pictures, problems + missing)

    # --- what follows from them ---

    def _check_exclusive(self) -> None:
        (labels,) = self.domains.sets
        if self.exclusive and labels.kind == "one_hot":
            raise UserError(
                f"{self.node}.exclusive is for attributes, but an image of this data shows one domain alone: leave it "
                f"out, or set {self.node}.kind=attributes"
            )
        for group in self.exclusive:
            choose(group, labels.names, setting=f"{self.node}.exclusive", where="the data")

    def _hold_out(self, found: _Found) -> dict[str, list[LabeledPicture]]:
        """Three splits: of one-hot labels each domain is split on its own, of aligned images each subject."""
        is_split_by_domain = found.labels.kind == "one_hot" and not self.aligned
        strata: dict[object, dict[str, dict[str, _Together]]] = {}
        for split, members in found.pictures.items():
            for member in members:
                stratum = strata.setdefault(member.vector if is_split_by_domain else None, {})
                name = member.subject if self.aligned else member.name
                stratum.setdefault(split, {}).setdefault(name, _Together(name, [])).members.append(member)
        held = [
            hold_out(
                {split: list(by_name.values()) for split, by_name in stratum.items()},
                validation_fraction=self.validation_fraction,
                test_fraction=self.test_fraction,
                seed=self.split_seed,
            )
            for stratum in strata.values()
        ]
        return {
            split: [member for splits in held for together in splits[split] for member in together.members]
            for split in ("train", "validation", "test")
        }

    def _find_twins(self) -> None:
        names = self.domains.names
        self._twins = {}
        for split, members in self.splits.items():
            for member in members:
                key = (split, member.subject, names[member.vector.index(1.0)])
                if key in self._twins:
                    self._problems.append(
                        f"{member.picture.path}: has the same name as {self._twins[key].path.name}; keep one of them"
                    )
                self._twins[key] = member.picture
        subjects = Counter((split, subject) for split, subject, _ in self._twins)
        if not any(count > 1 for count in subjects.values()):
            self._problems.append(
                f"{self.root}: {self.node}.aligned=true, but no file has the same name in the folders of two domains"
            )

    def _check_training_images(self) -> list[str]:
        """Domains that training images tell nothing about, as problems."""
        train = self.splits["train"]
        if not train:
            return [
                f"{self.root}: no image is left for training; lower {self.node}.validation_fraction or "
                f"{self.node}.test_fraction"
            ]
        counts = self.shown("train")
        return [
            f"{self.root}: {'every' if counts[name] else 'no'} training image shows {name!r}, which teaches nothing "
            f"about it: add others, or leave it out of {self.node}.domains"
            for name in self.domains.names
            if counts[name] in (0, len(train))
        ]

    def _advise(self, observer: Observer, image_size: int) -> list[str]:
        """What to warn of in data without problems."""

        def seen(*splits: str) -> list[Glimpse]:
            return observer.of(member.picture for split in splits for member in self.splits[split])

        (labels,) = self.domains.sets
        is_one_hot = labels.kind == "one_hot"
        images, train = seen(*self.splits), self.splits["train"]
        own = train[: self._own.get("train")]  # those replayed may be many more, but are seen as often
        counted = own if is_one_hot else train
        shown = {domain: count for domain, count in count_shown(counted, self.domains).items() if count}
        name, setting = str(self.root), f"{self.node}.value_range"
        of_values = warn_values(name, self.source, images, setting=setting)
        warnings = [
            *warn_few({f"images in {name}": len(own)}),
            *warn_unequal_domains(shown, len(counted), is_one_hot=is_one_hot, setting=f"{self.node}.domains"),
            *warn_enlarged(images, image_size, self.augmentation),
            *warn_oblong(images, self.augmentation),
            *(of_values or warn_blank(name, self.source, images)),
        ]
        if is_one_hot and not of_values:
            by_domain: dict[str, list[Glimpse]] = {domain: [] for domain in self.domains.names}
            for members in self.splits.values():
                for member in members:
                    domain = self.domains.names[member.vector.index(1.0)]
                    by_domain[domain].append(observer.glimpses[member.picture])
            warnings += warn_exposure({f"domain {domain!r}": (self.source, own) for domain, own in by_domain.items()})
        return warnings + warn_leaks("images", [seen("train")], [seen("validation", "test")])

    def _counts(self) -> dict[str, int]:
        images = {f"{split} images": len(members) for split, members in self.splits.items()}
        return images | {f"train {name}": count for name, count in self.shown("train").items()}

    def _describe_single(self, name: str) -> str:
        folder = self.root / name
        below = f" ({_describe(folder)} If those are the domains, point {self.node}.root there.)"
        return (
            f"{self.root}: holds the domain {name!r} alone; translating between domains needs two or more, such as one "
            f"subfolder each{below if folder.is_dir() else ''}. To teach a trained model one more, show images of its "
            f"old ones too: {self.node}.replay=FOLDER"
        )


class LabeledItems(Items):
    """Labelled images of one split: of several parts, all equally often, each from its first image on again and again.

    The targets of an item are the labels of an image of the same part, drawn uniformly: for one item what permuting
    the labels of a batch is (Choi et al. 2018), but independent of which other images are in its batch.

    Args:
        parts: images, and what loads them; parts without images are left out.
        seed: seed of all draws.
        is_one_set: whether all parts are of one label set, so that targets may be of any part.
    """

    def __init__(
        self,
        parts: Iterable[tuple[SideLoader, Sequence[LabeledPicture]]],
        seed: int,
        *,
        is_one_set: bool = False,
    ) -> None:
        self.parts = [(loader, members) for loader, members in parts if members]
        self.seed = seed
        self.is_one_set = is_one_set

    def __len__(self) -> int:
        return len(self.parts) * max((len(members) for _, members in self.parts), default=0)

    def __getitem__(self, position: tuple[int, int]) -> Labeled:
        epoch, index = position
        loader, members = self.parts[index % len(self.parts)]
        member = self.member(index)
        generator = np.random.default_rng([self.seed, epoch, index])
        geometry, color = generator.integers(0, 2**32, 2).tolist()
        if self.is_one_set and len(self.parts) > 1:
            _, members = self.parts[int(generator.integers(len(self.parts)))]
        target = members[int(generator.integers(len(members)))]
        image = loader(member.picture, geometry, color)
        return Labeled(image, torch.tensor(member.vector), torch.tensor(target.vector))

    def member(self, index: int) -> LabeledPicture:
        """The image at a place, as it is labelled."""
        _, members = self.parts[index % len(self.parts)]
        return members[index // len(self.parts) % len(members)]


def count_shown(members: Sequence[LabeledPicture], domains: Domains) -> dict[str, int]:
    """How many of some images show each domain."""
    vectors = np.array([member.vector for member in members], np.float32).reshape(len(members), domains.width)
    return dict(zip(domains.names, vectors.sum(0).astype(int).tolist(), strict=False))


def _describe(folder: Path) -> str:
    """What is in a folder, in words."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        return f"{folder} has no subfolders."
    more = ", ..." * (len(names) > MOST_COLUMNS)
    return f"The subfolders of {folder} are {', '.join(names[:MOST_COLUMNS])}{more}."
