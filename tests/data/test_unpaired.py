"""Images of two kinds: where they are found, who meets whom, and that the sides are varied on their own."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from translate.batch import Labeled, Pair, Unpaired
from translate.data.augmentation import Augmentation
from translate.data.image import read_image
from translate.data.paired import PairedData
from translate.data.preview import ROWS, write_preview
from translate.data.sampler import StreamSampler
from translate.data.source import Items, collate
from translate.data.unpaired import UnpairedData
from translate.errors import UserError
from translate.picture import TITLE_HEIGHT
from translate.pixels import Side

Draw = Callable[..., np.ndarray]
MakePaired = Callable[..., PairedData]
EVERYTHING = {
    "resize": "stretch",
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "quarter_turns": 0.5,
    "rotation": 20.0,
    "color_a": 0.5,
    "color_b": 0.5,
}


def unpaired(root: Path, *, augmentation: dict[str, Any] | None = None, **options: Any) -> UnpairedData:
    """All of it for training, neither resized nor flipped unless said otherwise."""
    settings: dict[str, Any] = {"resize": "none", "horizontal_flip": 0.0} | (augmentation or {})
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return UnpairedData(root=str(root), augmentation=Augmentation(**settings), **(fractions | options))


def draw_flat(draw: Draw, folder: Path, values: range, size: int = 8) -> None:
    """Grey images that are all of one value, which is their name too."""
    for value in values:
        draw(folder / f"{value}.png", image=np.full((size, size, 1), value, np.uint8))


def names(data: UnpairedData) -> dict[str, tuple[list[str], list[str]]]:
    """The names of the images of A and of B by split, of the splits that have any."""
    data.inspect(8).raise_problems()
    found = {
        split: ([picture.name for picture in pictures["A"]], [picture.name for picture in pictures["B"]])
        for split, pictures in data.splits.items()
    }
    return {split: sides for split, sides in found.items() if any(sides)}


def training(data: UnpairedData | PairedData, *, seed: int = 0, **options: Any) -> Items:
    data.inspect(8).raise_problems()
    return data.items("train", 8, seed=seed, **({"augment": True} | options))


def values(items: Items, epoch: int = 0) -> list[tuple[int, int]]:
    """The first pixels of source and target of every item."""
    drawn = [items[epoch, index] for index in range(len(items))]
    return [(int(item.source[0, 0, 0]), int(item.target[0, 0, 0])) for item in drawn]


def assert_equal(one: list[Unpaired], other: list[Unpaired]) -> None:
    torch.testing.assert_close([list(item) for item in one], [list(item) for item in other], rtol=0, atol=0)


# --- where images are found ---


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(["A/1", "A/x/2", "B/3"], {"train": (["1", "x/2"], ["3"])}, id="two folders"),
        pytest.param(
            ["trainA/1", "trainB/2", "trainB/2 b", "testA/3", "testB/4"],
            {"train": (["1"], ["2 b", "2"]), "test": (["3"], ["4"])},
            id="split in the name",
        ),
        pytest.param(
            ["train/A/1", "train/B/2", "val/A/3", "val/B/4"],
            {"train": (["1"], ["2"]), "validation": (["3"], ["4"])},
            id="split above",
        ),
        pytest.param(
            ["A/train/1", "B/train/2", "A/testing/3", "B/testing/4"],
            {"train": (["1"], ["2"]), "test": (["3"], ["4"])},
            id="split below",
        ),
        pytest.param(["trainA/1", "testA/2", "B/3"], {"train": (["1"], ["3"]), "test": (["2"], [])}, id="mixed"),
    ],
)
def test_layouts(draw: Draw, tmp_path: Path, files: list[str], expected: dict[str, tuple[list[str], ...]]) -> None:
    for name in files:
        draw(tmp_path / f"{name}.png")
    assert names(unpaired(tmp_path)) == expected


def test_names_with_and_without_partners_are_all_the_same(draw: Draw, tmp_path: Path) -> None:
    for name in ("A/2013-10-16 10_14_29.jpg", "A/1.png", "A/1.jpg", "B/1.png"):
        draw(tmp_path / name)
    assert names(unpaired(tmp_path)) == {"train": (["1", "1", "2013-10-16 10_14_29"], ["1"])}


def test_folders_may_lie_anywhere(draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "summer" / "1.png")
    draw(tmp_path / "photos" / "winter" / "train" / "2.png")
    draw(tmp_path / "photos" / "winter" / "test" / "3.png")
    draw(tmp_path / "summer" / "train.png")  # an image, no split
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = {"train": (["1", "train"], ["2"]), "test": ([], ["3"])}
    summer, winter = tmp_path / "summer", tmp_path / "photos" / "winter"
    assert names(unpaired(Path("."), folder_a=str(summer), folder_b=str(winter))) == expected
    assert names(unpaired(tmp_path / "nowhere", folder_a=str(summer), folder_b=str(winter))) == expected
    assert names(unpaired(tmp_path / "photos", folder_a="../summer", folder_b="winter")) == expected
    assert names(unpaired(Path("."), folder_a="~/summer", folder_b="~/photos/winter")) == expected


def test_a_split_of_the_root_is_none_of_a_folder_elsewhere(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "root" / "train" / "1.png")
    draw(tmp_path / "root" / "B" / "2.png")
    draw(tmp_path / "A" / "3.png")
    assert names(unpaired(tmp_path / "root", folder_a=str(tmp_path / "A"))) == {"train": (["3"], ["2"])}


def test_lists_of_files(draw: Draw, tmp_path: Path) -> None:
    for name in ("images/1.png", "images/ö 2.png", "3.png", "B/4.png"):
        draw(tmp_path / name)
    listed = tmp_path / "lists" / "chosen.txt"
    listed.parent.mkdir()
    lines = ["../images/ö 2.png", "", f"  {tmp_path / '3.png'}", "../images/1.png", "../images/1.png"]
    listed.write_text("\r\n".join(lines), encoding="utf-8-sig")
    expected = {"train": (["../images/ö 2", f"{tmp_path}/3", "../images/1"], ["4"])}
    assert names(unpaired(tmp_path, folder_a="lists/chosen.txt")) == expected
    assert names(unpaired(tmp_path, folder_a=str(listed))) == expected


def test_lists_may_name_splits(draw: Draw, tmp_path: Path) -> None:
    for number in "1234":
        draw(tmp_path / f"{number}.png")
    for name, number in (("traina.txt", "1"), ("testa.txt", "2"), ("trainb.txt", "3"), ("testb.txt", "4")):
        (tmp_path / name).write_text(f"{number}.png\n")
    data = unpaired(tmp_path, folder_a="a.txt", folder_b="b.txt")
    assert names(data) == {"train": (["1"], ["3"]), "test": (["2"], ["4"])}


def test_each_side_holds_out_its_own_share(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(20))
    draw_flat(draw, tmp_path / "B", range(40))
    data = unpaired(tmp_path, test_fraction=0.2, validation_fraction=0.25)
    found = names(data)
    assert {split: tuple(map(len, sides)) for split, sides in found.items()} == {
        "train": (12, 24),
        "validation": (4, 8),
        "test": (4, 8),
    }
    for side in (0, 1):
        assert len({name for sides in found.values() for name in sides[side]}) == (20, 40)[side]
    assert names(data) == found
    assert names(unpaired(tmp_path, test_fraction=0.2, validation_fraction=0.25, split_seed=1)) != found


def test_folders_of_one_side_win_over_the_fractions_of_that_side_alone(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "trainA", range(10))
    draw_flat(draw, tmp_path / "testA", range(10, 13))
    draw_flat(draw, tmp_path / "B", range(10))
    found = names(unpaired(tmp_path, test_fraction=0.4, validation_fraction=0.2))
    assert {split: tuple(map(len, sides)) for split, sides in found.items()} == {
        "train": (8, 5),
        "validation": (2, 1),
        "test": (3, 4),
    }


# --- who meets whom ---


@pytest.mark.parametrize(("count_a", "count_b"), [(3, 5), (5, 3), (4, 4), (1, 5)])
def test_in_order_the_shorter_side_starts_over(draw: Draw, tmp_path: Path, count_a: int, count_b: int) -> None:
    draw_flat(draw, tmp_path / "A", range(10, 10 + count_a))
    draw_flat(draw, tmp_path / "B", range(20, 20 + count_b))
    items = training(unpaired(tmp_path, partner="in_order"))
    length = max(count_a, count_b)
    expected = [(10 + index % count_a, 20 + index % count_b) for index in range(length)]
    assert len(items) == length
    assert values(items) == values(items, epoch=7) == expected


def test_random_partners_are_new_in_every_epoch_and_all_come_up(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(10, 20))
    draw_flat(draw, tmp_path / "B", range(20, 24))
    items = training(unpaired(tmp_path))
    drawn = [values(items, epoch) for epoch in range(40)]
    assert all([a for a, _ in epoch] == list(range(10, 20)) for epoch in drawn)
    assert len({tuple(epoch) for epoch in drawn}) == 40
    counts = Counter(b for epoch in drawn for _, b in epoch)
    assert counts.keys() == set(range(20, 24))
    # 400 draws among 4: 100 each, with a standard deviation of 8.7.
    assert all(abs(count - 100) < 40 for count in counts.values())


def test_random_partners_follow_from_the_seed(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(10, 20))
    draw_flat(draw, tmp_path / "B", range(20, 30))
    data = unpaired(tmp_path)
    assert values(training(data, seed=4)) == values(training(data, seed=4))
    assert values(training(data, seed=4)) != values(training(data, seed=5))


def test_without_augmentation_every_image_is_seen_in_order(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(10, 12))
    draw_flat(draw, tmp_path / "B", range(20, 23))
    items = training(unpaired(tmp_path), augment=False)
    assert values(items) == values(items, epoch=3) == [(10, 20), (11, 21), (10, 22)]


def test_the_direction_swaps_source_and_target_and_nothing_else(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(10, 13))
    draw(tmp_path / "B" / "1.tif", (8, 8, 5), "uint16")
    draw(tmp_path / "B" / "2.tif", (8, 8, 5), "uint16")
    forward, backward = (unpaired(tmp_path, direction=direction) for direction in ("AtoB", "BtoA"))
    there, back = training(forward), training(backward)
    for index in range(3):
        assert_equal([there[0, index]], [Unpaired(*reversed(back[0, index]))])
    assert (forward.source, forward.target) == (Side(1, "uint8", 0, 255), Side(5, "uint16", 0, 65535))
    assert (backward.source, backward.target) == (forward.target, forward.source)
    assert backward.field_sides == (forward.target, forward.source)


def test_sides_may_differ_in_size_channels_and_type(draw: Draw, tmp_path: Path) -> None:
    for index, shape in enumerate([(20, 30, 3), (9, 9, 1), (50, 8, 3)]):
        draw(tmp_path / "A" / f"{index}.png", shape)
    draw(tmp_path / "B" / "1.npy", (12, 40, 2), "float32")
    items = training(unpaired(tmp_path, augmentation={"resize": "stretch"}, range_b=(0, 2)))
    batch = collate([items[0, index] for index in range(3)])
    assert isinstance(batch, Unpaired)
    assert (batch.source.shape, batch.source.dtype) == ((3, 3, 8, 8), torch.uint8)
    assert (batch.target.shape, batch.target.dtype) == ((3, 2, 8, 8), torch.float32)


def test_the_same_folder_may_be_both_sides_in_different_channels(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "A" / "1.png", (8, 8, 3))
    items = training(unpaired(tmp_path, folder_b="A", channels_b=1), cache_gib=1.0)
    for _ in range(2):
        assert [image.shape for image in items[0, 0]] == [(3, 8, 8), (1, 8, 8)]


@pytest.mark.parametrize("missing", ["A", "B"])
def test_a_split_that_one_side_lacks_is_empty(draw: Draw, tmp_path: Path, missing: str) -> None:
    for name in {"trainA", "trainB", "testA", "testB"} - {f"test{missing}"}:
        draw(tmp_path / name / "1.png")
    data = unpaired(tmp_path, test_fraction=0.5)
    assert data.inspect(8).problems == []
    assert len(data.items("test", 8, seed=0, augment=False)) == 0
    assert len(data.items("train", 8, seed=0, augment=False)) == 1


# --- draws ---


@pytest.fixture
def folder(draw: Draw, tmp_path: Path) -> Path:
    """Seven images of A, four of B, of 20x20 pixels."""
    for side, count in (("A", 7), ("B", 4)):
        for index in range(count):
            draw(tmp_path / side / f"{index}.png", (20, 20, 3))
    return tmp_path


def stream(items: Items, *, workers: int = 0, first_step: int = 0) -> list[Unpaired]:
    """Three epochs in batches of 3."""
    sampler = StreamSampler(size=len(items), batch_size=3, first_step=first_step, last_step=7, seed=0)
    return list(DataLoader(items, batch_sampler=sampler, num_workers=workers, collate_fn=collate))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(folder: Path, workers: int) -> None:
    items = training(unpaired(folder, augmentation=EVERYTHING), cache_gib=0.001)
    assert_equal(stream(items, workers=workers), stream(items))


def test_a_later_start_draws_the_same(folder: Path) -> None:
    data = unpaired(folder, augmentation=EVERYTHING)
    assert_equal(stream(training(data), first_step=4), stream(training(data))[4:])


def test_the_cache_changes_nothing_and_holds_every_image_once(folder: Path) -> None:
    data = unpaired(folder, augmentation=EVERYTHING)
    items = training(data, cache_gib=0.001)
    for _ in range(2):
        assert_equal(stream(items), stream(training(data)))
    assert len(items.cache.images) == 7 + 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"horizontal_flip": 0.5}, id="flip"),
        pytest.param({"resize": "stretch", "load_size": 16}, id="crop"),
        pytest.param({"rotation": 90.0}, id="rotation"),
        pytest.param({"color_a": 0.5, "color_b": 0.5}, id="colour"),
    ],
)
def test_the_sides_are_varied_on_their_own(draw: Draw, tmp_path: Path, settings: dict[str, Any]) -> None:
    image = draw(tmp_path / "A" / "1.png", (8, 8, 3))
    draw(tmp_path / "B" / "1.png", image=image)
    items = training(unpaired(tmp_path, augmentation=settings))
    drawn = [tuple(field.numpy().tobytes() for field in items[epoch, 0]) for epoch in range(32)]
    assert sum(source != target for source, target in drawn) > 8


def test_flips_of_both_sides_are_independent(draw: Draw, tmp_path: Path) -> None:
    image = draw(tmp_path / "A" / "1.png", (8, 8, 1))
    draw(tmp_path / "B" / "1.png", image=image)
    items = training(unpaired(tmp_path, augmentation={"horizontal_flip": 0.5}))
    upright = torch.from_numpy(image).permute(2, 0, 1)
    drawn = [items[epoch, 0] for epoch in range(200)]
    flips = Counter((torch.equal(source, upright), torch.equal(target, upright)) for source, target in drawn)
    # Four equally likely outcomes: 50 each, with a standard deviation of 6.
    assert len(flips) == 4
    assert all(abs(count - 50) < 28 for count in flips.values())


# --- what is wrong ---


def test_everything_wrong_is_said_at_once(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "A" / "good.png")
    draw(tmp_path / "A" / "good too.png")
    draw(tmp_path / "A" / "float.npy", (12, 12, 3), "float32")
    draw(tmp_path / "A" / "small.png", (6, 12, 3))
    (tmp_path / "A" / "empty.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("A/good.png\nmissing.png\nfive.tif\nA/good too.png\n")
    draw(tmp_path / "five.tif", (12, 12, 5))
    problems = unpaired(tmp_path, folder_b="list.txt").inspect(8).problems
    assert sorted(problems) == [
        f"{tmp_path}/A/empty.png: is empty",
        f"{tmp_path}/A/float.npy: has float32 pixels, but other images of side A have uint8: convert them to one",
        f"{tmp_path}/A/small.png: is 12x6, smaller than image_size=8: "
        "use a smaller image_size or data.augmentation.resize=stretch",
        f"{tmp_path}/five.tif: has 5 channels, but the images of side B have 3 "
        "(convert the file, or set data.channels_b)",
        f"{tmp_path}/missing.png: cannot be opened: No such file or directory",
    ]


def test_a_side_that_is_nowhere_is_named_with_the_remedy(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "trainA" / "1.png")
    draw(tmp_path / "monet" / "1.png")
    assert unpaired(tmp_path).inspect(8).problems == [
        f"{tmp_path}/B: does not exist, and no folder of a split has images of side B either: name their folder, "
        "or a .txt list of them, with data.folder_b=... (data.root has monet, trainA)"
    ]


def test_a_side_without_images_is_a_problem(draw: Draw, tmp_path: Path) -> None:
    draw(tmp_path / "A" / "1.png")
    (tmp_path / "B").mkdir()
    (tmp_path / "none.txt").write_text("\n\n")
    for folder, text in (("B", "B: holds no images"), ("none.txt", "none.txt: holds no images")):
        [problem] = unpaired(tmp_path, folder_b=folder).inspect(8).problems
        assert problem.startswith(f"{tmp_path}/{text}")


def test_nothing_at_all_is_a_problem_of_both_sides(tmp_path: Path) -> None:
    first, second = unpaired(tmp_path).inspect(8).problems
    assert first.startswith(f"{tmp_path}/A: does not exist")
    assert second.startswith(f"{tmp_path}/B: does not exist")


def test_a_side_without_training_images_is_a_problem(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "trainA", range(3))
    draw(tmp_path / "testB" / "1.png")
    for fraction, problem in (
        (0.0, "B is left for training; those found are for test alone"),
        (0.9, "A is left for training; lower data.validation_fraction or data.test_fraction"),
    ):
        problems = unpaired(tmp_path, validation_fraction=fraction).inspect(8).problems
        assert f"{tmp_path}: no image of side {problem}" in problems


def test_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere does not exist: give the folder of your images"):
        unpaired(tmp_path / "nowhere", folder_a=str(tmp_path)).inspect(8)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match=r"list\.txt cannot be read as a list of images: .*codec"):
        unpaired(tmp_path, folder_a="list.txt").inspect(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partner": "nearest"}, r"data\.partner='nearest' is not one of random, in_order"),
        ({"direction": "BtoC"}, r"data\.direction='BtoC' is not one of AtoB, BtoA"),
        ({"labels": "a"}, r"data\.labels='a' is not one of none, A, B, both"),
        ({"test_fraction": 1.0}, r"data\.test_fraction=1\.0 is outside 0 to 1"),
        ({"range_b": (1, 0)}, r"data\.range_b=\[1, 0\] is not \[low, high\] with low < high"),
    ],
)
def test_values_outside_their_choices(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        unpaired(tmp_path, **options)


def test_it_gives_unpaired_images_alone(tmp_path: Path) -> None:
    data = unpaired(tmp_path)
    data.arrange(Unpaired)
    for kind in (Pair, Labeled):
        with pytest.raises(UserError, match=r"but the data set gives images of two kinds \(data=unpaired\)"):
            data.arrange(kind)


# --- what is known of it ---


def test_an_inspection_counts_both_sides(draw: Draw, tmp_path: Path) -> None:
    for name, shape in (
        ("trainA/1", (9, 9, 3)),
        ("trainA/2", (9, 9, 3)),
        ("trainB/1", (10, 20, 3)),
        ("testB/2", (9, 9, 3)),
    ):
        draw(tmp_path / f"{name}.png", shape)
    inspection = unpaired(tmp_path).inspect(8)
    assert inspection.counts == {
        "train images A": 2,
        "train images B": 1,
        "validation images A": 0,
        "validation images B": 0,
        "test images A": 0,
        "test images B": 1,
    }
    assert inspection.sizes == Counter({(9, 9): 3, (10, 20): 1})
    assert inspection.sides == dict.fromkeys("AB", Side(3, "uint8", 0, 255))


@pytest.mark.parametrize("side", ["A", "B"])
def test_the_fingerprint_covers_the_training_images_of_both_sides(draw: Draw, tmp_path: Path, side: str) -> None:
    for name in ("trainA/1", "trainB/1", "testA/1", "testB/1"):
        draw(tmp_path / f"{name}.png")
    data = unpaired(tmp_path)

    def fingerprint() -> str:
        data.inspect(8).raise_problems()
        return data.fingerprint()

    before = fingerprint()
    draw(tmp_path / f"test{side}" / "2.png")
    assert fingerprint() == before
    draw(tmp_path / f"train{side}" / "2.png")
    assert fingerprint() != before


def test_the_preview_shows_both_sides(draw: Draw, tmp_path: Path) -> None:
    draw_flat(draw, tmp_path / "A", range(50, 51))
    draw_flat(draw, tmp_path / "B", range(200, 201))
    data = unpaired(tmp_path)
    data.inspect(8).raise_problems()
    write_preview(tmp_path / "check.png", data, 8, seed=0)
    picture = read_image(tmp_path / "check.png")
    assert picture.shape == (TITLE_HEIGHT + 2 + ROWS * 10, 2 + 2 * 10, 3)
    assert set(np.unique(picture[TITLE_HEIGHT + 2 : TITLE_HEIGHT + 10, 2:10])) == {50}
    assert set(np.unique(picture[TITLE_HEIGHT + 2 : TITLE_HEIGHT + 10, 12:20])) == {200}


# --- pairs as unpaired images ---


def as_unpaired(data: PairedData) -> PairedData:
    data.arrange(Unpaired)
    return data


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_halves_of_pairs_meet_random_partners(draw: Draw, paired: MakePaired, tmp_path: Path, direction: str) -> None:
    for index in range(6):
        left, right = np.full((8, 8, 1), 10 + index, np.uint8), np.full((8, 8, 1), 20 + index, np.uint8)
        draw(tmp_path / f"{index}.png", image=np.concatenate([left, right], axis=1))
    items = training(as_unpaired(paired(tmp_path, direction=direction)))
    assert isinstance(items[0, 0], Unpaired)
    drawn = [pair if direction == "AtoB" else pair[::-1] for epoch in range(20) for pair in values(items, epoch)]
    assert [a for a, _ in drawn[:6]] == list(range(10, 16))
    assert len(set(drawn)) > 20  # of 36 combinations, 6 of which are the pairs


def test_folders_of_pairs_meet_random_partners(draw: Draw, paired: MakePaired, tmp_path: Path) -> None:
    for name in ("train/A", "test/A"):
        draw_flat(draw, tmp_path / name, range(10, 16))
        draw_flat(draw, tmp_path / name.replace("A", "B"), range(10, 16))
    data = as_unpaired(paired(tmp_path))
    items = training(data)
    assert [a for a, _ in values(items)] == list(range(10, 16))
    assert any(a != b for a, b in values(items))
    test = data.items("test", 8, seed=0, augment=False)
    assert all(a == b for a, b in values(test))  # what has a true answer is judged by it


def test_pairs_hold_out_the_same_images_either_way(draw: Draw, paired: MakePaired, tmp_path: Path) -> None:
    for index in range(20):
        draw(tmp_path / f"{index}.png", (8, 16, 1))
    options = {"test_fraction": 0.2, "validation_fraction": 0.2}
    plain, mixed = paired(tmp_path, **options), as_unpaired(paired(tmp_path, **options))
    assert plain.inspect(8).counts == mixed.inspect(8).counts
    assert plain.splits == mixed.splits
    assert plain.fingerprint() == mixed.fingerprint()


def test_pairs_are_varied_on_their_own_as_unpaired_images(draw: Draw, paired: MakePaired, tmp_path: Path) -> None:
    image = draw(tmp_path / "A" / "1.png", (8, 8, 1))
    draw(tmp_path / "B" / "1.png", image=image)
    data = as_unpaired(paired(tmp_path, augmentation={"horizontal_flip": 0.5}))
    items = training(data)
    assert {torch.equal(*items[epoch, 0]) for epoch in range(20)} == {True, False}
