"""Which images are for training, validation and testing."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from translate.errors import UserError

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}
"""A split and the folder names that mean it."""

SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
"""The split that a folder name or a word in a table means."""


class Named(Protocol):
    """Anything that has a name of its own in its data set."""

    @property
    def name(self) -> str: ...


Member = TypeVar("Member", bound=Named)


def folder_places(root: Path, folder: str) -> list[tuple[str, Path]]:
    """Where the images called `folder` may lie, and the split that each place means ("" for the last, which is all).

    The split is above (ROOT/train/FOLDER), below (ROOT/FOLDER/train) or in the name (ROOT/trainFOLDER). Of a folder
    that is not below `root`, an absolute path or one with `..`, it is below.
    """
    own = Path(folder).expanduser()
    is_outside = own.is_absolute() or ".." in own.parts
    places = []
    for split, names in SPLITS.items():
        for name in names:
            below = root / own / name
            places.append((split, below if is_outside else root / name / own))
            places.append((split, below))
            places.append((split, below if is_outside else root / f"{name}{own}"))
    return [*places, ("", root / own)]


def check_fractions(*, validation_fraction: float, test_fraction: float) -> None:
    """Raise UserError for shares that cannot be held out."""
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise UserError(f"data.{name}={fraction} is outside 0 to 1 (1 itself would leave nothing to train on)")


def hold_out(
    found: Mapping[str, Sequence[Member]], *, validation_fraction: float, test_fraction: float, seed: int
) -> dict[str, list[Member]]:
    """Three splits of what was `found` by split ("" where nothing says which), the missing ones held out by name.

    The test split is drawn from what is unassigned alone, the validation split from all of the training images.
    """
    train, test = list(found.get("train", [])), list(found.get("test", []))
    validation, unassigned = list(found.get("validation", [])), list(found.get("", []))
    if not test:
        test, unassigned = draw(unassigned, test_fraction, f"{seed}/test")
    train += unassigned
    if not validation:
        validation, train = draw(train, validation_fraction, f"{seed}/validation")
    return {"train": train, "validation": validation, "test": test}


def draw(members: Sequence[Member], fraction: float, seed: str) -> tuple[list[Member], list[Member]]:
    """Split off a fraction by a hash of the name: adding images later moves few members between the splits."""
    count = max(1, round(fraction * len(members))) if fraction and len(members) > 2 else 0

    def rank(place: int) -> bytes:
        return hashlib.sha256(f"{seed}/{members[place].name}".encode()).digest()

    drawn = set(sorted(range(len(members)), key=rank)[:count])
    return (
        [member for place, member in enumerate(members) if place in drawn],
        [member for place, member in enumerate(members) if place not in drawn],
    )
