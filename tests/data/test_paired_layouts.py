"""Finding pairs: every layout of files, both directions, and images of every kind on either side."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.data.image import encode_image
from translate.data.paired import PairedData
from translate.errors import UserError
from translate.pixels import Side

Draw = Callable[..., np.ndarray]
MakeData = Callable[..., PairedData]
SPLITS = ("train", "validation", "test")


def draw_negatives(draw: Draw, noise: Draw, *paths: Path) -> None:
    """A negative of A as B: side by side in one file, or in two files (A first)."""
    image = noise((8, 8, 3))
    if len(paths) == 1:
        draw(paths[0], image=np.concatenate([image, 255 - image], axis=1))
    else:
        draw(paths[0], image=image)
        draw(paths[1], image=255 - image)


def found(data: PairedData) -> dict[str, list[str]]:
    """The names of the pairs per split; each pair is loaded and must be a negative."""
    data.inspect(8).raise_problems()
    for split, pairs in data.splits.items():
        dataset = data.items(split, 8, seed=0, augment=False) if pairs else []
        for index in range(len(dataset)):
            source, target = dataset[0, index]
            assert source.shape == (3, 8, 8)
            np.testing.assert_array_equal(target, 255 - source.numpy())
    return {split: [pair.name for pair in data.splits[split]] for split in SPLITS}


# --- layouts ---


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([("1.png",), ("2.png",)], (["1", "2"], [], []), id="side by side"),
        pytest.param([("x/1.png",), ("y/ö 2.PNG",)], (["x/1", "y/ö 2"], [], []), id="side by side, nested"),
        pytest.param(
            [("train/1.png",), ("train/x/2.png",), ("val/3.png",), ("test/4.png",)],
            (["1", "x/2"], ["3"], ["4"]),
            id="side by side, split folders",
        ),
        pytest.param([("A/1.png", "B/1.tif"), ("A/2.png", "B/2.bmp")], (["1", "2"], [], []), id="two folders"),
        pytest.param(
            [("A/x/1.png", "B/x/1.png"), ("A/2.png", "B/2.png")], (["2", "x/1"], [], []), id="two folders, nested"
        ),
        pytest.param(
            [("trainA/1.png", "trainB/1.png"), ("valA/2.png", "valB/2.png"), ("testA/3.png", "testB/3.png")],
            (["1"], ["2"], ["3"]),
            id="split in the name",
        ),
        pytest.param(
            [
                ("train/A/1.png", "train/B/1.png"),
                ("valid/A/2.png", "valid/B/2.png"),
                ("testing/A/3.png", "testing/B/3.png"),
            ],
            (["1"], ["2"], ["3"]),
            id="split above",
        ),
        pytest.param(
            [("A/train/1.png", "B/train/1.png"), ("A/validation/2.png", "B/validation/2.png")],
            (["1"], ["2"], []),
            id="split below",
        ),
        pytest.param(
            [("A/v1.5.png", "B/v1.5.png"), ("A/v1.6.png", "B/v1.6.png")], (["v1.5", "v1.6"], [], []), id="dots"
        ),
    ],
)
def test_layouts(
    draw: Draw,
    noise: Draw,
    paired: MakeData,
    tmp_path: Path,
    pairs: list[tuple[str, ...]],
    expected: tuple[list[str], ...],
) -> None:
    for names in pairs:
        draw_negatives(draw, noise, *(tmp_path / name for name in names))
    assert found(paired(tmp_path)) == dict(zip(SPLITS, expected, strict=True))


def test_the_folders_may_have_other_names(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw_negatives(draw, noise, tmp_path / "photos" / "1.png", tmp_path / "maps" / "1.png")
    assert found(paired(tmp_path, folder_a="photos", folder_b="maps"))["train"] == ["1"]


def test_folders_that_mean_one_split_are_joined(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path) -> None:
    for name in ("train/1.png", "val/2.png", "validation/3.png"):
        draw_negatives(draw, noise, tmp_path / name)
    assert sorted(found(paired(tmp_path))["validation"]) == ["2", "3"]


def test_csv_without_a_split(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw_negatives(draw, noise, tmp_path / "in" / "1.png", tmp_path / "out" / "one.png")
    draw_negatives(draw, noise, tmp_path / "elsewhere" / "2.png", tmp_path / "elsewhere" / "two.png")
    table = tmp_path / "lists" / "pairs.csv"
    table.parent.mkdir()
    absolute = tmp_path / "elsewhere"
    table.write_text(f"B,A\n../out/one.png,../in/1.png\n{absolute / 'two.png'},{absolute / '2.png'}\n")
    assert found(paired(table))["train"] == ["../in/1", f"{absolute}/2"]


def test_csv_with_a_split(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path) -> None:
    for number in "1234":
        draw_negatives(draw, noise, tmp_path / f"a{number}.png", tmp_path / f"b{number}.png")
    rows = ["a1.png,b1.png,train", "a2.png,b2.png,val", "a3.png,b3.png,test", "a4.png,b4.png,train"]
    (tmp_path / "pairs.csv").write_text("\n".join(["A,B,split", *rows]), encoding="utf-8-sig")
    assert found(paired(tmp_path / "pairs.csv")) == {"train": ["a1", "a4"], "validation": ["a2"], "test": ["a3"]}


def test_a_given_layout_is_not_guessed(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw_negatives(draw, noise, tmp_path / "A" / "1.png")
    assert found(paired(tmp_path, layout="side_by_side"))["train"] == ["A/1"]


def test_a_home_folder_may_be_abbreviated(
    draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    draw_negatives(draw, noise, tmp_path / "pairs" / "1.png")
    assert found(paired(Path("~/pairs")))["train"] == ["1"]


# --- directions and kinds of images ---


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_sides_may_differ_in_everything(draw: Draw, paired: MakeData, tmp_path: Path, direction: str) -> None:
    grey = draw(tmp_path / "A" / "1.png", (8, 8, 1))
    color = draw(tmp_path / "B" / "1.png", (8, 8, 3), "uint16")
    data = paired(tmp_path, direction=direction)
    data.inspect(8).raise_problems()
    sides, images = [Side(1, "uint8", 0, 255), Side(3, "uint16", 0, 65535)], [grey, color]
    if direction == "BtoA":
        sides, images = sides[::-1], images[::-1]
    assert [data.source, data.target] == sides
    for tensor, image in zip(data.items("train", 8, seed=0, augment=True)[0, 0], images, strict=True):
        np.testing.assert_array_equal(tensor.numpy().transpose(1, 2, 0), image)


def test_side_by_side_can_be_reversed(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    image = draw(tmp_path / "1.png", (8, 16, 3))
    data = paired(tmp_path, direction="BtoA")
    data.inspect(8).raise_problems()
    source, target = data.items("train", 8, seed=0, augment=False)[0, 0]
    np.testing.assert_array_equal(source, image[:, 8:].transpose(2, 0, 1))
    np.testing.assert_array_equal(target, image[:, :8].transpose(2, 0, 1))


def first_a(data: PairedData, size: int = 8) -> list[np.ndarray]:
    """Every training image of side A as (H, W, C), not augmented."""
    data.inspect(size).raise_problems()
    dataset = data.items("train", size, seed=0, augment=False)
    return [dataset[0, index].source.numpy().transpose(1, 2, 0) for index in range(len(dataset))]


def draw_sides(draw: Draw, root: Path, suffix: str, *kinds: tuple[int, str]) -> list[np.ndarray]:
    """One pair per kind (channels, type) of A."""
    for index in range(len(kinds)):
        draw(root / "B" / f"{index}.png", (8, 8, 3))
    return [draw(root / "A" / f"{index}{suffix}", (8, 8, kind[0]), kind[1]) for index, kind in enumerate(kinds)]


def test_transparency_is_left_out(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    images = draw_sides(draw, tmp_path, ".png", (4, "uint8"), (3, "uint8"))
    np.testing.assert_array_equal(first_a(paired(tmp_path)), [image[..., :3] for image in images])


def test_grey_among_colour_is_repeated(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    grey, color = draw_sides(draw, tmp_path, ".png", (1, "uint8"), (3, "uint8"))
    np.testing.assert_array_equal(first_a(paired(tmp_path)), [np.repeat(grey, 3, 2), color])


def test_colour_can_be_made_grey(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "B" / "1.png", (8, 8, 3))
    draw(tmp_path / "A" / "1.png", image=np.full((8, 8, 3), [10, 100, 200], np.uint8))
    [image] = first_a(paired(tmp_path, channels_a=1))
    assert image.shape == (8, 8, 1)
    assert (image == round(0.299 * 10 + 0.587 * 100 + 0.114 * 200)).all()


def test_eight_among_sixteen_bits_are_widened(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    narrow, wide = draw_sides(draw, tmp_path, ".png", (3, "uint8"), (3, "uint16"))
    np.testing.assert_array_equal(first_a(paired(tmp_path)), [narrow.astype(int) * 257, wide])


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".tif", (3, "uint16")), (".tif", (5, "uint8")), (".tif", (4, "float32")), (".npy", (2, "uint16"))],
)
def test_scientific_images(draw: Draw, paired: MakeData, tmp_path: Path, suffix: str, kind: tuple[int, str]) -> None:
    images = draw_sides(draw, tmp_path, suffix, kind)
    data = paired(tmp_path)
    np.testing.assert_array_equal(first_a(data), images)
    assert (data.source.channels, data.source.dtype) == kind


def test_the_users_range_is_kept(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw_sides(draw, tmp_path, ".png", (1, "uint16"))
    data = paired(tmp_path, range_a=(0, 4095))
    data.inspect(8).raise_problems()
    assert data.source == Side(1, "uint16", 0, 4095)
    assert data.target == Side(3, "uint8", 0, 255)


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("augment", [False, True])
def test_resizing_a_label_map_makes_no_new_labels(
    draw: Draw, paired: MakeData, tmp_path: Path, size: int, augment: bool
) -> None:
    labels = np.random.default_rng(0).choice([0, 10, 200], (20, 20, 1)).astype(np.uint8)
    for side in "AB":
        draw(tmp_path / side / "1.png", image=labels)
    settings = {"resize": "stretch", "load_size": size + 3, "rotation": 30.0}
    data = paired(tmp_path, labels="A", augmentation=settings)
    data.inspect(size).raise_problems()
    source, target = data.items("train", size, seed=0, augment=augment)[0, 0]
    assert set(np.unique(source)) == {0, 10, 200}
    assert len(np.unique(target)) > 3


def test_which_side_holds_labels_is_known(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw_sides(draw, tmp_path, ".png", (1, "uint8"))
    for labels, expected in (
        ("none", (False, False)),
        ("A", (True, False)),
        ("B", (False, True)),
        ("both", (True, True)),
    ):
        data = paired(tmp_path, labels=labels)
        data.inspect(8).raise_problems()
        assert (data.source.labels, data.target.labels) == expected


# --- splits by fraction ---


@pytest.fixture
def forty(tmp_path: Path) -> Path:
    """A folder of 40 pairs, all the same tiny image."""
    for index in range(40):
        add_pair(tmp_path, f"image {index}")
    return tmp_path


def add_pair(root: Path, name: str) -> None:
    (root / f"{name}.png").write_bytes(encode_image(np.zeros((1, 2, 1), np.uint8), ".png"))


def split_names(data: PairedData) -> dict[str, set[str]]:
    data.inspect(8).raise_problems()
    return {split: {pair.name for pair in pairs} for split, pairs in data.splits.items()}


def test_fractions_split_without_overlap(forty: Path, paired: MakeData) -> None:
    splits = split_names(paired(forty, augmentation={"resize": "stretch"}, test_fraction=0.2, validation_fraction=0.25))
    assert {split: len(names) for split, names in splits.items()} == {"train": 24, "validation": 8, "test": 8}
    assert len(set.union(*splits.values())) == 40


def test_the_split_is_a_function_of_names_and_seed(forty: Path, paired: MakeData) -> None:
    options = {"augmentation": {"resize": "stretch"}, "test_fraction": 0.2, "validation_fraction": 0.2}
    once = split_names(paired(forty, **options))
    assert split_names(paired(forty, **options)) == once
    assert split_names(paired(forty, **options, split_seed=1)) != once


def test_adding_images_moves_hardly_any_pair(forty: Path, paired: MakeData) -> None:
    data = paired(forty, augmentation={"resize": "stretch"}, test_fraction=0.2, validation_fraction=0.25)
    before = split_names(data)
    for index in range(10):
        add_pair(forty, f"new {index}")
        after = split_names(data)
        moved = [name for split, names in before.items() for name in names if name not in after[split]]
        assert len(moved) <= 2  # one into or out of each held-out split
        before = after


def test_small_fractions_hold_out_at_least_one(forty: Path, paired: MakeData) -> None:
    splits = split_names(
        paired(forty, augmentation={"resize": "stretch"}, test_fraction=0.001, validation_fraction=0.001)
    )
    assert (len(splits["test"]), len(splits["validation"])) == (1, 1)


def test_pairs_without_a_split_go_to_training_where_others_have_one(
    draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path
) -> None:
    rows = [f"a{number}.png,b{number}.png,{split}" for number, split in enumerate(["", "", "", "test", "val"])]
    for number in range(5):
        draw_negatives(draw, noise, tmp_path / f"a{number}.png", tmp_path / f"b{number}.png")
    (tmp_path / "pairs.csv").write_text("\n".join(["A,B,split", *rows]))
    data = paired(tmp_path / "pairs.csv", validation_fraction=0.5, test_fraction=0.5)
    assert found(data) == {"train": ["a0", "a1", "a2"], "validation": ["a4"], "test": ["a3"]}


def test_folders_for_a_split_win_over_its_fraction(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for split, count in (("train", 10), ("test", 1)):
        for index in range(count):
            draw(tmp_path / split / f"{index}.png", (8, 16, 3))
    splits = split_names(paired(tmp_path, validation_fraction=0.3, test_fraction=0.5))
    assert {split: len(names) for split, names in splits.items()} == {"train": 7, "validation": 3, "test": 1}


# --- nothing to look at ---


def test_a_missing_root(paired: MakeData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere does not exist"):
        paired(tmp_path / "nowhere").inspect(8)


def test_an_empty_root(paired: MakeData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no pairs.*There are no subfolders in it"):
        paired(tmp_path).inspect(8)


def test_subfolders_of_other_names_are_suggested(paired: MakeData, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "maps").mkdir()
    with pytest.raises(UserError, match=r"subfolders are maps, photos: name two with data\.folder_a"):
        paired(tmp_path).inspect(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"input,output\n1.png,2.png\n", "needs columns named A and B; its columns are input, output"),
        (b"input,output\n1.png,2.png,3.png\n", "needs columns named A and B; its columns are input, output"),
        (b"A;B\n1.png;2.png\n", "needs columns named A and B; its columns are A;B"),
        (b"", "needs columns named A and B; its columns are none"),
        (b"A,B\n\xe4.png,b.png\n", "cannot be read as a CSV file"),
    ],
)
def test_csv_files_that_are_none(paired: MakeData, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        paired(tmp_path / "pairs.csv").inspect(8)


def test_a_csv_without_rows_is_not_told_that_its_columns_are_missing(paired: MakeData, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("A,B\n")
    with pytest.raises(UserError) as caught:
        paired(tmp_path / "pairs.csv").inspect(8)
    assert "pairs.csv" in str(caught.value)
    assert "columns are none" not in str(caught.value)


def test_a_folder_is_no_csv(paired: MakeData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read as a CSV file.*directory"):
        paired(tmp_path, layout="csv").inspect(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, r"data\.validation_fraction=1\.0 is outside 0 to 1"),
        ({"test_fraction": -0.1}, r"data\.test_fraction=-0\.1 is outside 0 to 1"),
        ({"test_fraction": float("nan")}, r"data\.test_fraction=nan"),
        ({"range_a": (1, 1)}, r"data\.range_a=\[1, 1\] is not \[low, high\] with low < high"),
        ({"range_b": (0, 1, 2)}, r"data\.range_b=\[0, 1, 2\] is not \[low, high\]"),
        ({"range_b": (float("nan"), 2)}, r"data\.range_b=\[nan, 2\] is not \[low, high\]"),
        ({"layout": "sideways"}, r"data\.layout='sideways' is not one of auto, csv, folders, side_by_side"),
        ({"direction": "BtoC"}, r"data\.direction='BtoC' is not one of AtoB, BtoA"),
        ({"labels": "a"}, r"data\.labels='a' is not one of none, A, B, both"),
    ],
)
def test_values_outside_their_choices(
    paired: MakeData, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    (tmp_path / "1.png").write_bytes(encode_image(np.zeros((8, 16, 1), np.uint8), ".png"))
    with pytest.raises(UserError, match=message):
        paired(tmp_path, **options).inspect(8)
