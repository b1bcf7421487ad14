"""Everything that is wrong with labelled data is said at once; settings that cannot be met say why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.augmentation import DomainAugmentation
from translate.data.check import Inspection
from translate.data.labeled import LabeledData
from translate.errors import UserError

Draw = Callable[..., np.ndarray]


def labeled(root: Path, *, augmentation: dict[str, Any] | None = None, **options: Any) -> LabeledData:
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return LabeledData(root=str(root), augmentation=DomainAugmentation(**(augmentation or {})), **(fractions | options))


def assert_problems(inspection: Inspection, *expected: tuple[Path, str]) -> None:
    """These problems in this order: the path each begins with, and a text in it."""
    assert len(inspection.problems) == len(expected), inspection.problems
    for problem, (path, text) in zip(inspection.problems, expected, strict=True):
        assert problem.startswith(f"{path}: ")
        assert text in problem


# --- folders ---


def test_folders_with_every_problem_at_once(draw: Draw, tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/2.png", "test/b/3.png", "val/a/4.png"):
        draw(tmp_path / name)
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"no image")
    draw(tmp_path / "train" / "b" / "five.tif", (12, 12, 5))
    draw(tmp_path / "train" / "b" / "small.png", (12, 7, 3))
    assert_problems(
        labeled(tmp_path, augmentation={"resize": "none"}).inspect(8),
        (tmp_path, "domain 'a' has no test images, but other domains have: add some, or leave it out of data.domains"),
        (tmp_path, "domain 'b' has no validation images, but other"),
        (tmp_path / "train" / "a" / "broken.png", "cannot be decoded"),
        (tmp_path / "train" / "b" / "small.png", "is 7x12, smaller than image_size=8"),
        (tmp_path / "train" / "b" / "five.tif", "has 5 channels, but the images have 3"),
    )


def test_channels_are_named_by_their_setting(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "a" / "1.png")
    draw(tmp_path / "b" / "1.tif", (12, 12, 5))
    inspection = labeled(tmp_path, channels=3).inspect(8)
    assert_problems(inspection, (tmp_path / "b" / "1.tif", "set data.channels)"))


def test_one_domain_alone_is_not_enough(draw: Draw, tmp_path: Path) -> None:
    for name in ("domains/a/1.png", "domains/b/2.png"):
        draw(tmp_path / name)
    assert_problems(
        labeled(tmp_path).inspect(8),
        (
            tmp_path,
            f"'domains' alone; translating between domains needs two or more, such as one subfolder each (The "
            f"subfolders of {tmp_path / 'domains'} are a, b. If those are the domains, point data.root there.)",
        ),
    )


def test_nothing_left_for_training(draw: Draw, tmp_path: Path) -> None:
    for name in ("test/a/1.png", "test/b/1.png"):
        draw(tmp_path / name)
    assert_problems(labeled(tmp_path).inspect(8), (tmp_path, "no image is left for training; lower data.validation_"))


def test_aligned_folders_without_equal_names(draw: Draw, tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        draw(tmp_path / name)
    inspection = labeled(tmp_path, aligned=True).inspect(8)
    assert_problems(inspection, (tmp_path, "no file has the same name in the folders of two domains"))


def test_aligned_images_of_the_same_name(draw: Draw, tmp_path: Path) -> None:
    for name in ("a/1.bmp", "a/1.png", "b/1.png"):
        draw(tmp_path / name)
    inspection = labeled(tmp_path, aligned=True).inspect(8)
    assert_problems(inspection, (tmp_path / "a" / "1.png", "has the same name as 1.bmp; keep one of them"))
    assert labeled(tmp_path).inspect(8).problems == []


# --- label files ---


def test_a_csv_with_every_problem_at_once(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / name)
    table = tmp_path / "t.csv"
    rows = [
        "image,a,b,split",
        "1.png,1,0,train",
        "2.png,0,1,",
        "3.png,0,maybe,",
        ",0,1,",
        "4.png,0,1,later",
        "1.png,0,1,",
        "5.png,0",
        "gone.png,1,0,",
    ]
    table.write_text("\n".join(rows))
    assert_problems(
        labeled(table).inspect(8),
        (table, "line 4 has b='maybe', which is not one of 1, true, 0, -1, false (data.domains chooses"),
        (table, "line 5 names no image"),
        (table, "line 6 has split='later', which is not one of train, validation, val"),
        (table, "line 7 lists 1.png again, which is on line 2 already"),
        (table, "line 8 has 2 cells, but the first line names 4 columns"),
        (tmp_path / "gone.png", "is listed in t.csv, but there is no such file"),
    )


def test_a_row_without_a_domain(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        draw(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text("image,domain\n1.png,a\n2.png,\n3.png,b\n")
    assert_problems(labeled(table).inspect(8), (table, "line 3 names no domain"))


def test_a_csv_without_a_good_row(draw: Draw, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,domain\n1.png,\n")
    assert_problems(labeled(table).inspect(8), (table, "line 2 names no domain"))


def test_rows_that_are_not_one_hot(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png", "4.png"):
        draw(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text("image,a,b\n1.png,1,0\n2.png,1,1\n3.png,0,1\n4.png,0,0\n")
    assert_problems(
        labeled(table, kind="one_hot").inspect(8),
        (table, "line 3 has 2 of the domains a, b; data.kind=one_hot needs exactly one"),
        (table, "line 5 has 0 of the domains a, b;"),
    )
    assert labeled(table).inspect(8).problems == []


def test_many_missing_images_are_summed_up_first(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "0.png")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["image,domain", "0.png,a", *(f"{index}.png,b" for index in range(1, 5))]))
    inspection = labeled(table).inspect(8)
    assert inspection.problems[0] == f"{tmp_path}: 4 of 5 images that {table} lists are not there"
    assert len(inspection.problems) == 5


def test_attributes_that_teach_nothing(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text("image,a,b,c\n1.png,1,0,1\n2.png,0,0,1\n")
    assert_problems(
        labeled(table).inspect(8),
        (
            tmp_path / "t.csv",
            "no training image shows 'b', which teaches nothing about it: add others, or leave it out",
        ),
        (tmp_path / "t.csv", "every training image shows 'c'"),
    )


def test_a_list_of_attributes_with_every_problem_at_once(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        draw(tmp_path / name)
    listed = tmp_path / "list.txt"
    listed.write_text("7\nA B\n1.png 1 -1\n2.png -1 1\n3.png 1 yes\n4.png 1\n2.png 1 1\ngone.png 1 1\n")
    assert_problems(
        labeled(tmp_path, label_file=str(listed)).inspect(8),
        (listed, "says 7 images, but lists 6: is it complete?"),
        (listed, "line 5 has B='yes', which is not one of"),
        (listed, "line 6 does not hold a file and 2 values"),
        (listed, "line 7 lists 2.png again, which is on line 4 already"),
        (tmp_path / "gone.png", "is listed in list.txt"),
    )


# --- nothing to look at, and settings that cannot be met ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, "data.validation_fraction=1.0 is outside 0 to 1"),
        ({"layout": "table"}, "data.layout='table' is not one of auto, folders, csv, list_attr"),
        ({"kind": "both"}, "data.kind='both' is not one of auto, one_hot, attributes"),
        ({"value_range": [1, 1]}, r"data.value_range=\[1, 1\] is not \[low, high\] with low < high"),
        ({"kind": "one_hot", "exclusive": [["a", "b"]]}, "data.exclusive is for attributes"),
        ({"augmentation": {"color": 2.0}}, "data.augmentation.color=2.0 is outside 0 to 1"),
        ({"augmentation": {"center_crop": 0}}, "data.augmentation.center_crop=0 is no size"),
    ],
)
def test_values_outside_their_choices(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        labeled(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"holds no domains. Give a folder with one subfolder per domain .* are empty\.$"),
        ({"domains": ["a"], "layout": "csv"}, "data.layout=csv needs the CSV file: give it as data.label_file=FILE"),
        (
            {"layout": "list_attr"},
            "data.layout=list_attr needs the list of attributes: give it as data.label_file=FILE",
        ),
        ({"layout": "folders", "label_file": "x.csv"}, "and no data.label_file: use data.layout=auto"),
        ({"label_file": "gone.csv"}, "data.label_file=gone.csv cannot be read as a CSV file: .*No such file"),
        ({"label_file": "gone.txt"}, "data.label_file=gone.txt cannot be read as text: .*No such file"),
        (
            {"label_file": "x.csv", "aligned": True},
            "data.aligned=true needs one folder per domain, but the layout is csv",
        ),
        (
            {"augmentation": {"resize": "none", "center_crop": 7}},
            "data.augmentation.center_crop=7 is smaller than image_size=8",
        ),
        ({"augmentation": {"load_size": 7}}, "data.augmentation.load_size=7 is smaller than image_size=8"),
    ],
)
def test_nothing_to_look_at(draw: Draw, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    draw(tmp_path / "loose.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        labeled(tmp_path, **options).inspect(8)


def test_what_was_found_instead_of_domains_is_described(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "train" / "1.png")
    (tmp_path / "docs").mkdir()
    message = rf"holds no domains.*data.label_file.*The subfolders of {tmp_path} are docs, train\.$"
    with pytest.raises(UserError, match=message):
        labeled(tmp_path).inspect(8)
    with pytest.raises(UserError, match=rf"data.root={tmp_path}/gone does not exist"):
        labeled(tmp_path / "gone").inspect(8)


def test_a_domain_that_is_not_there(draw: Draw, tmp_path: Path) -> None:
    for name in ("old/1.png", "new/2.png"):
        draw(tmp_path / name)
    with pytest.raises(UserError, match=rf"data.domains names 'odl', but {tmp_path} holds new, old \(did you mean old"):
        labeled(tmp_path, domains=["odl", "new"]).inspect(8)
    with pytest.raises(UserError, match=r"data.domains names 'new' twice"):
        labeled(tmp_path, domains=["new", "new"]).inspect(8)
    with pytest.raises(UserError, match=r"data.exclusive is for attributes, but"):
        labeled(tmp_path, exclusive=[["old", "new"]]).inspect(8)
    with pytest.raises(UserError, match=r"data.exclusive names 'x', but the data holds new, old"):
        labeled(tmp_path, exclusive=[["old", "x"]], kind="attributes").inspect(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a column image and either .*; its columns are none"),
        ("file,domain\n", "its columns are file, domain"),
        ("image,split\n", "its columns are image, split"),
        ("image,a,a\n", "several columns named 'a': rename or remove one"),
        ("image,a,b\n", "no images$"),
        ("image,domain\n", "no images$"),
        ("image,a\n\udc80,1\n", "be read as a CSV file"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"data.root={table} .*{message}"):
        labeled(table).inspect(8)


@pytest.mark.parametrize("content", ["", "3\n", "image,domain\n1.png,a\n"])
def test_a_list_of_attributes_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(UserError, match=r"is not a list of attributes: its first line .* data.layout=csv"):
        labeled(tmp_path, label_file=str(tmp_path / "list.txt")).inspect(8)
