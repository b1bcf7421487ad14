"""What the engine, `translate check` and evaluation know of a data set, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from translate.batch import DESCRIBED, BatchType, Pair
from translate.data.check import Facts, Inspection
from translate.data.loading import Picture
from translate.domains import Domains
from translate.errors import UserError
from translate.pixels import Side, normalize

Progress = Callable[[Iterable[Facts | str], int], Iterable[Facts | str]]
"""May wrap the inspection of images (the iterable and its length) to show how far it is."""


class Items(Dataset[Any], ABC):
    """One split as a method sees it. An item is drawn by (epoch, index), and depends on those and the seed alone.

    Items are single entries of a batch: named tuples of tensors, images as (C, H, W) in the data's own pixel type.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, position: tuple[int, int]) -> Any: ...

    @property
    def counts(self) -> tuple[int, int]:
        """Images of the source and of the target side; a side with fewer than there are items starts over."""
        return len(self), len(self)


class DataSource(ABC):
    """Images to train on. First `arrange`, then `inspect`; what they are made of is known after that.

    Attributes:
        batch_type: the kind of batches it has been arranged for.
        workers: processes that load images; None chooses.
        cache_gib: memory for decoded and resized images, in GiB over all workers; 0 is off.
    """

    batch_types: ClassVar[tuple[BatchType, ...]]
    """The kinds of batches it can give; the first is what it is made for."""

    workers: int | None
    cache_gib: float

    def __init__(self, *, workers: int | None, cache_gib: float) -> None:
        self.workers = workers
        self.cache_gib = cache_gib
        self.batch_type: BatchType = self.batch_types[0]

    def arrange(self, batch_type: BatchType) -> None:
        """Choose the kind of batches to give.

        Raises:
            UserError: it cannot give that kind.
        """
        if batch_type not in self.batch_types:
            given = " or ".join(DESCRIBED[kind] for kind in self.batch_types)
            raise UserError(f"the method trains on {DESCRIBED[batch_type]}, but the data set gives {given}")
        self.batch_type = batch_type

    @abstractmethod
    def inspect(self, image_size: int, progress: Progress | None = None, *, advise: bool = False) -> Inspection:
        """Find the images, decode each, and derive what they are; nothing is raised for what is wrong in the data.

        With `advise`, the inspection has warnings too, which takes a third of a millisecond per image more, and half a
        second for the alignment of pairs.

        Raises:
            UserError: there is nothing to look at.
        """

    @property
    @abstractmethod
    def source(self) -> Side:
        """What the images to translate look like."""

    @property
    @abstractmethod
    def target(self) -> Side:
        """What the translated images look like."""

    @property
    def domains(self) -> Domains | None:
        """The domains that the images are labelled with; None without labels."""
        return None

    def know(self, domains: Domains | None) -> None:
        """Lay labels out for the domains of a model that is trained on, besides the data's own; after `inspect`.

        Raises:
            UserError: they do not go together.
        """
        if domains is not None:
            raise UserError(
                f"the checkpoint translates into the domains {', '.join(domains.names)}, but the method chosen into "
                "none: leave out method= to go on with the checkpoint's own"
            )

    def shown(self, split: str) -> dict[str, int]:
        """How many images of a split show each domain; nothing without labels."""
        return {}

    @property
    def has_answers(self) -> bool:
        """Whether source and target of an item without augmentation show the same: the target is the true answer."""
        return self.batch_type is Pair

    @property
    def field_sides(self) -> tuple[Side | None, ...]:
        """The side that each field of a batch is of; None for a field that is no image."""
        return self.source, self.target

    @abstractmethod
    def items(self, split: str, image_size: int, *, seed: int, augment: bool, cache_gib: float = 0.0) -> Items:
        """The split `train`, `validation` or `test`, which may be empty.

        Raises:
            UserError: augmentation that these images do not allow.
        """

    def twin(self, split: str, subject: str, domain: str) -> Picture | None:
        """The image of `subject` that shows `domain`, where the data says which one that is."""
        return None

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of what training sees of the data: the training images, their order, labels and sides."""

    def preview(self, items: Items, rows: int) -> dict[str, Tensor]:
        """Columns of example images by title, each (rows, C, H, W) in [-1, 1]."""
        batch = collate([items[0, index % len(items)] for index in range(rows)])
        return {
            title: normalize(images, side.low, side.high)
            for title, images, side in zip(batch._fields, batch, self.field_sides, strict=True)
            if side is not None
        }


def collate(items: Sequence[Any]) -> Any:
    """Stack items to a batch of the same kind; unlike the default it knows 16-bit pixels."""
    return type(items[0])(*(torch.stack(field) for field in zip(*items, strict=True)))
