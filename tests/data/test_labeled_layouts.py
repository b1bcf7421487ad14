"""Finding labelled images: every layout of files, which domains are used, and how splits are held out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.augmentation import DomainAugmentation
from translate.data.labeled import LabeledData
from translate.domains import LabelSet
from translate.errors import UserError

Draw = Callable[..., np.ndarray]
SPLITS = ("train", "validation", "test")


def labeled(root: Path, **options: Any) -> LabeledData:
    """Labelled data, all of it for training unless said otherwise."""
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return LabeledData(root=str(root), augmentation=DomainAugmentation(), **(fractions | options))


def found(data: LabeledData) -> dict[str, dict[str, tuple[float, ...]]]:
    """Names and label vectors per split."""
    data.inspect(8).raise_problems()
    return {split: {member.name: member.vector for member in data.splits[split]} for split in SPLITS}


def draw_all(draw: Draw, root: Path, *names: str) -> None:
    for name in names:
        draw(root / name)


# --- folders ---


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            ["b/1.png", "b/x/2.PNG", "a/ö 3.png"],
            ({"b/1": (0, 1), "b/x/2": (0, 1), "a/ö 3": (1, 0)}, {}, {}),
            id="plain",
        ),
        pytest.param(
            ["train/a/1.png", "train/b/x/2.png", "test/a/3.png", "testing/b/4.png", "val/a/5.png", "val/b/6.png"],
            (
                {"a/1": (1, 0), "b/x/2": (0, 1)},
                {"a/5": (1, 0), "b/6": (0, 1)},
                {"a/3": (1, 0), "b/4": (0, 1)},
            ),
            id="splits above",
        ),
        pytest.param(
            ["a/train/1.png", "b/train/x/2.png", "a/valid/3.png", "b/valid/3.png"],
            ({"a/1": (1, 0), "b/x/2": (0, 1)}, {"a/3": (1, 0), "b/3": (0, 1)}, {}),
            id="splits below",
        ),
        pytest.param(
            ["a/v1.5.png", "b/v1.6.png", "loose.png", ".hidden/3.png"],
            ({"a/v1.5": (1, 0), "b/v1.6": (0, 1)}, {}, {}),
            id="dots, loose and hidden files",
        ),
    ],
)
def test_layouts_of_folders(draw: Draw, tmp_path: Path, files: list[str], expected: tuple[dict[str, Any], ...]) -> None:
    draw_all(draw, tmp_path, *files)
    data = labeled(tmp_path)
    assert found(data) == dict(zip(SPLITS, expected, strict=True))
    assert data.domains.sets == (LabelSet(("a", "b"), "one_hot"),)


def test_chosen_folders_are_used_in_their_order(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "a/1.png", "b/2.png", "c/3.png")
    data = labeled(tmp_path, domains=["c", "a"])
    assert found(data)["train"] == {"c/3": (1, 0), "a/1": (0, 1)}
    assert data.domains.names == ("c", "a")


def test_a_domain_may_be_called_as_a_split(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "train/1.png", "bus/2.png")
    with pytest.raises(
        UserError, match=r"named as splits \(train\) and others \(bus\): name the domains with data.dom"
    ):
        labeled(tmp_path).inspect(8)
    assert found(labeled(tmp_path, domains=["train", "bus"]))["train"] == {"train/1": (1, 0), "bus/2": (0, 1)}


def test_what_is_counted(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "train/a/1.png", "train/a/2.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    inspection = labeled(tmp_path).inspect(8)
    assert inspection.counts == {
        "train images": 3,
        "validation images": 0,
        "test images": 2,
        "train a": 2,
        "train b": 1,
    }
    assert dict(inspection.sizes) == {(12, 12): 5}
    assert inspection.problems == []


# --- label files ---


def test_csv_with_a_column_of_domains(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "x/1.png", "2.png", "3.png", "unlisted.png")
    table = tmp_path / "lists" / "table.csv"
    table.parent.mkdir()
    rows = ["domain,note,image", "old,?,../x/1.png", "new,,../2.png", f'old,",",{tmp_path / "3.png"}', ""]
    table.write_text("\n".join(rows), encoding="utf-8-sig")
    data = labeled(table)
    assert found(data)["train"] == {"../x/1": (0, 1), "../2": (1, 0), f"{tmp_path}/3": (0, 1)}
    assert data.domains.sets == (LabelSet(("new", "old"), "one_hot"),)


def test_csv_rows_of_other_domains_are_left_out(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "1.png", "2.png")
    (tmp_path / "t.csv").write_text("image,domain\n1.png,a\n2.png,b\ngone.png,c\n")
    assert found(labeled(tmp_path / "t.csv", domains=["b", "a"]))["train"] == {"1": (0, 1), "2": (1, 0)}


def test_csv_with_splits(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "1.png", "2.png", "3.png", "4.png")
    (tmp_path / "t.csv").write_text("image,domain,split\n1.png,a,train\n2.png,b,train\n3.png,a,val\n4.png,b,test\n")
    assert found(labeled(tmp_path / "t.csv")) == {
        "train": {"1": (1, 0), "2": (0, 1)},
        "validation": {"3": (1, 0)},
        "test": {"4": (0, 1)},
    }


def test_csv_with_attributes_beside_a_folder_of_images(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path / "images", "1.png", "2.png", "3.png")
    table = tmp_path / "t.csv"
    table.write_text("image,Young,Male\n1.png,1,true\n2.png,-1,0\n3.png,FALSE,1\n")
    data = labeled(tmp_path / "images", label_file=str(table))
    assert found(data)["train"] == {"1": (1, 1), "2": (0, 0), "3": (0, 1)}
    assert data.domains.sets == (LabelSet(("Young", "Male"), "attributes"),)


CELEBA = "3\nBlack  Blond Young \n1.jpg -1  1 1\nb 2.png  1 -1  1\n3.png -1 1 -1\n"


def test_a_list_of_attributes(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "1.jpg", "b 2.png", "3.png", "unlisted.png")
    (tmp_path / "list.txt").write_text(CELEBA)
    data = labeled(tmp_path, label_file=str(tmp_path / "list.txt"), exclusive=[["Blond", "Black"]])
    assert found(data)["train"] == {"1": (0, 1, 1), "b 2": (1, 0, 1), "3": (0, 1, 0)}
    assert data.domains.sets == (LabelSet(("Black", "Blond", "Young"), "attributes", (("Blond", "Black"),)),)


def test_chosen_columns_are_used_in_their_order(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "1.jpg", "b 2.png", "3.png")
    (tmp_path / "list.txt").write_text(CELEBA)
    data = labeled(tmp_path, label_file=str(tmp_path / "list.txt"), domains=["Young", "Black"])
    assert found(data)["train"] == {"1": (1, 0), "b 2": (1, 1), "3": (0, 0)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"domains": ["Black", "Blond"]}, "one_hot"),
        ({"domains": ["Black", "Blond"], "exclusive": [["Black", "Blond"]]}, "attributes"),
        ({"domains": ["Black", "Blond"], "kind": "attributes"}, "attributes"),
        ({"domains": ["Black", "Young"]}, "attributes"),
        ({"domains": ["Black"]}, "attributes"),
    ],
)
def test_columns_are_one_hot_where_every_image_has_one(
    draw: Draw, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    draw_all(draw, tmp_path, "1.jpg", "b 2.png", "3.png")
    (tmp_path / "list.txt").write_text(CELEBA)
    data = labeled(tmp_path, label_file=str(tmp_path / "list.txt"), **options)
    found(data)
    assert data.domains.sets[0].kind == expected


# --- holding out ---


def test_every_domain_is_held_out_alike(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, *(f"{domain}/{index}.png" for domain in "abc" for index in range(10)))
    data = labeled(tmp_path, test_fraction=0.2, validation_fraction=0.25)
    counts = {split: [sum(column) for column in zip(*found(data)[split].values(), strict=True)] for split in SPLITS}
    assert counts == {"train": [6, 6, 6], "validation": [2, 2, 2], "test": [2, 2, 2]}


def test_the_choice_depends_on_the_seed_and_is_repeated(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, *(f"{domain}/{index}.png" for domain in "ab" for index in range(10)))
    first, again, other = (
        set(found(labeled(tmp_path, test_fraction=0.4, split_seed=seed))["test"]) for seed in (0, 0, 1)
    )
    assert first == again
    assert len(first) == len(other) == 8
    assert first != other


def test_images_of_attributes_are_held_out_from_all(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, *(f"{index}.png" for index in range(10)))
    rows = [f"{index}.png,{index % 2},{int(index < 8)}" for index in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["image,a,b", *rows]))
    data = labeled(tmp_path / "t.csv", test_fraction=0.3)
    assert {split: len(members) for split, members in found(data).items()} == {"train": 7, "validation": 0, "test": 3}


# --- aligned ---


def test_aligned_images_are_held_out_together_and_know_their_twins(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, *(f"{domain}/x/{index}.png" for domain in "ab" for index in range(6)))
    draw_all(draw, tmp_path, "c/x/0.jpg", "c/7.png", "c/8.png", "c/9.png", "c/10.png")
    data = labeled(tmp_path, aligned=True, test_fraction=0.5)
    found(data)
    subjects = {split: {member.subject for member in data.splits[split]} for split in SPLITS}
    assert not subjects["train"] & subjects["test"]
    assert {split: len(names) for split, names in subjects.items()} == {"train": 5, "validation": 0, "test": 5}
    for split in ("train", "test"):
        for subject in subjects[split] & {f"x/{index}" for index in range(6)}:
            twin = data.twin(split, subject, "b")
            assert twin is not None
            assert twin.path == tmp_path / "b" / f"{subject}.png"
    split = "train" if "x/0" in subjects["train"] else "test"
    assert data.twin(split, "x/0", "c").path == tmp_path / "c" / "x" / "0.jpg"  # type: ignore[union-attr]
    assert all(data.twin(split, "x/1", "c") is None for split in SPLITS)
    assert data.twin("validation", "x/0", "c") is None


def test_images_that_are_not_aligned_have_no_twins(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "a/1.png", "b/1.png")
    data = labeled(tmp_path)
    found(data)
    assert {member.subject for member in data.splits["train"]} == {"1"}
    assert data.twin("train", "1", "b") is None


# --- fingerprint ---


def test_the_fingerprint_follows_images_labels_domains_and_side(draw: Draw, tmp_path: Path) -> None:
    draw_all(draw, tmp_path, "1.png", "2.png", "3.png")
    table = tmp_path / "t.csv"
    rows = ["image,a,b", "1.png,1,0", "2.png,0,1"]

    def fingerprint(*lines: str, **options: Any) -> str:
        table.write_text("\n".join(lines))
        data = labeled(table, **options)
        data.inspect(8).raise_problems()
        return data.fingerprint()

    plain = fingerprint(*rows)
    assert fingerprint(*rows) == plain
    others = [
        fingerprint(*rows, "3.png,1,0"),
        fingerprint(rows[0], rows[2], rows[1]),
        fingerprint(rows[0], "1.png,0,1", "2.png,1,0"),
        fingerprint("image,a,c", *rows[1:]),
        fingerprint(*rows, kind="attributes"),
        fingerprint(*rows, channels=1),
        fingerprint(*rows, value_range=[0, 100]),
    ]
    assert len({plain, *others}) == 8
