"""What a labelled training image looks like, and its targets, depend on (seed, epoch, index) alone."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from translate.batch import Labeled, Pair
from translate.data.augmentation import DomainAugmentation
from translate.data.labeled import LabeledData, LabeledItems
from translate.data.sampler import StreamSampler
from translate.data.source import collate
from translate.errors import UserError
from translate.pixels import Side

Draw = Callable[..., np.ndarray]
EVERYTHING = {
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "quarter_turns": 0.5,
    "rotation": 20.0,
    "color": 0.5,
    "center_crop": 15,
}


def labeled(root: Path, *, augmentation: dict[str, Any] | None = None, **options: Any) -> LabeledData:
    """Inspected data, all of it for training, neither resized nor flipped unless said otherwise."""
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    settings = {"resize": "none", "horizontal_flip": 0.0} if augmentation is None else augmentation
    data = LabeledData(root=str(root), augmentation=DomainAugmentation(**settings), **(fractions | options))
    data.inspect(12).raise_problems()
    return data


def training(data: LabeledData, *, seed: int = 0, cache_gib: float = 0.0) -> LabeledItems:
    return data.items("train", 12, seed=seed, augment=True, cache_gib=cache_gib)


def stream(items: LabeledItems, *, workers: int = 0, first_step: int = 0) -> list[list[torch.Tensor]]:
    """Three epochs in batches of 3."""
    sampler = StreamSampler(size=len(items), batch_size=3, first_step=first_step, last_step=7, seed=0)
    return [list(batch) for batch in DataLoader(items, batch_sampler=sampler, num_workers=workers, collate_fn=collate)]


def assert_equal(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.fixture
def folder(draw: Draw, tmp_path: Path) -> Path:
    """Seven images of 20x20 pixels in three domains."""
    for index, domain in enumerate("aaabbcc"):
        draw(tmp_path / domain / f"{index}.png", (20, 20, 3))
    return tmp_path


def test_an_item_is_the_image_with_its_labels(draw: Draw, tmp_path: Path) -> None:
    images = [draw(tmp_path / name) for name in ("a/1.png", "b/2.png")]
    items = training(labeled(tmp_path))
    assert len(items) == 2
    for index, labels in enumerate(([1, 0], [0, 1])):
        item = items[4, index]
        np.testing.assert_array_equal(item.images, images[index].transpose(2, 0, 1))
        assert item.images.dtype == torch.uint8
        assert item.labels.dtype == item.targets.dtype == torch.float32
        assert item.labels.tolist() == labels


def test_sides_and_kinds(folder: Path) -> None:
    data = labeled(folder, value_range=[0, 100])
    side = Side(3, "uint8", 0, 100)
    assert data.source == data.target == side
    assert data.field_sides == (side, None, None)
    data.arrange(Labeled)
    with pytest.raises(UserError, match="the data set gives images labelled with their domain"):
        data.arrange(Pair)


# --- what a draw depends on ---


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(folder: Path, workers: int) -> None:
    items = training(labeled(folder, augmentation=EVERYTHING), cache_gib=0.001)
    assert_equal(stream(items, workers=workers), stream(items))


def test_a_later_start_and_the_cache_change_nothing(folder: Path) -> None:
    data = labeled(folder, augmentation=EVERYTHING)
    whole = stream(training(data))
    assert_equal(stream(training(data, cache_gib=0.001), first_step=4), whole[4:])


def test_epochs_indices_and_seeds_draw_differently(draw: Draw, tmp_path: Path) -> None:
    image = draw(tmp_path / "a" / "0.png", (12, 12, 3))
    draw(tmp_path / "b" / "0.png", image=image)
    data = labeled(tmp_path, augmentation={"load_size": 60, "color": 0.5})
    drawn = [training(data)[epoch, index] for epoch in range(4) for index in range(2)]
    drawn += [training(data, seed=seed)[0, 0] for seed in range(1, 5)]
    assert len({item.images.numpy().tobytes() for item in drawn}) == 12


def test_without_augmentation_every_epoch_shows_the_same_image(folder: Path) -> None:
    items = labeled(folder, augmentation=EVERYTHING).items("train", 12, seed=0, augment=False)
    assert_equal(items[0, 3].images, items[5, 3].images)


def test_targets_follow_the_labels_of_the_split(folder: Path) -> None:
    items = training(labeled(folder))
    drawn = Counter(tuple(items[epoch, index].targets.tolist()) for epoch in range(200) for index in range(7))
    assert drawn.keys() == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    shares = [drawn[vector] / 1400 for vector in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    np.testing.assert_allclose(shares, [3 / 7, 2 / 7, 2 / 7], atol=0.05)


def test_targets_do_not_depend_on_the_image(folder: Path) -> None:
    items = training(labeled(folder))
    drawn = [tuple(items[epoch, 0].targets.tolist()) for epoch in range(300)]
    np.testing.assert_allclose(np.mean(drawn, axis=0), [3 / 7, 2 / 7, 2 / 7], atol=0.1)


def test_targets_stay_within_the_split(draw: Draw, tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        draw(tmp_path / name)
    (tmp_path / "t.csv").write_text("image,a,b,split\n1.png,1,0,train\n2.png,0,1,train\n3.png,1,1,test\n")
    data = labeled(tmp_path / "t.csv")
    items = data.items("test", 12, seed=0, augment=False)
    assert {tuple(items[epoch, 0].targets.tolist()) for epoch in range(5)} == {(1, 1)}
    drawn = {tuple(training(data)[epoch, 0].targets.tolist()) for epoch in range(20)}
    assert drawn == {(1, 0), (0, 1)}


def test_a_split_may_be_empty(folder: Path) -> None:
    assert len(labeled(folder).items("test", 12, seed=0, augment=False)) == 0


# --- augmentation ---


@pytest.mark.parametrize("augment", [False, True])
def test_the_centre_is_kept_before_resizing(draw: Draw, tmp_path: Path, augment: bool) -> None:
    image = draw(tmp_path / "a" / "1.png", (18, 20, 3))
    draw(tmp_path / "b" / "1.png", (18, 20, 3))
    settings = {"center_crop": 12, "load_size": 12, "horizontal_flip": 0.0}
    data = labeled(tmp_path, augmentation=settings)
    items = data.items("train", 12, seed=0, augment=augment)
    np.testing.assert_array_equal(items[0, 0].images, image[3:15, 4:16].transpose(2, 0, 1))


def test_an_axis_shorter_than_the_centre_is_kept(draw: Draw, tmp_path: Path) -> None:
    image = draw(tmp_path / "a" / "1.png", (12, 20, 3))
    draw(tmp_path / "b" / "1.png", (12, 20, 3))
    data = labeled(tmp_path, augmentation={"center_crop": 14, "resize": "none"})
    items = data.items("train", 12, seed=0, augment=False)
    np.testing.assert_array_equal(items[0, 0].images, image[:, 4:16].transpose(2, 0, 1))


def test_colours_of_many_channels_cannot_change(draw: Draw, tmp_path: Path) -> None:
    for name in ("a/1.tif", "b/1.tif"):
        draw(tmp_path / name, (12, 12, 5))
    data = labeled(tmp_path, augmentation={"color": 0.5})
    with pytest.raises(UserError, match=r"data.augmentation.color=0.5 cannot change images of 5 channels: set it to 0"):
        training(data)


# --- preview ---


def test_the_preview_has_a_column_of_images_per_domain(folder: Path, draw: Draw) -> None:
    data = labeled(folder)
    items = data.items("train", 12, seed=0, augment=False)
    columns = data.preview(items, 3)
    assert list(columns) == ["a", "b", "c"]
    assert {column.shape for column in columns.values()} == {(3, 3, 12, 12)}
    for name, places in {"a": [0, 1, 2], "b": [3, 4, 3], "c": [5, 6, 5]}.items():
        expected = torch.stack([items[0, place].images for place in places]).float() / 127.5 - 1
        torch.testing.assert_close(columns[name], expected)


def test_the_preview_leaves_out_what_no_image_shows_and_ends_somewhere(draw: Draw, tmp_path: Path) -> None:
    for index in range(4):
        draw(tmp_path / f"{index}.png")
    names = [f"n{place}" for place in range(10)]
    rows = [[index % 2 for _ in names] for index in range(3)] + [[0] * 10]
    rows[0][3] = rows[2][3] = 1
    rows[1][3] = 0
    splits = ["train", "train", "test", "train"]
    lines = [f"{index}.png,{','.join(map(str, rows[index]))},{splits[index]}" for index in range(4)]
    (tmp_path / "t.csv").write_text("\n".join([f"image,{','.join(names)},split", *lines]))
    data = labeled(tmp_path / "t.csv")
    assert list(data.preview(data.items("test", 12, seed=0, augment=False), 1)) == ["n3"]
    assert list(data.preview(training(data), 1)) == names[:8]
