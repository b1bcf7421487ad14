"""What a training image looks like depends on (seed, epoch, index) alone, and both sides of a pair move together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from translate.batch import Pair
from translate.data.paired import PairedData, PairItems
from translate.data.sampler import StreamSampler
from translate.data.source import collate

Draw = Callable[..., np.ndarray]
MakeData = Callable[..., PairedData]
EVERYTHING = {
    "resize": "stretch",
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "quarter_turns": 0.5,
    "rotation": 20.0,
    "color_a": 0.5,
    "color_b": 0.5,
}


@pytest.fixture
def folder(draw: Draw, tmp_path: Path) -> Path:
    """Seven side-by-side pairs of 20x20 pixels."""
    for index in range(7):
        draw(tmp_path / f"{index}.png", (20, 40, 3))
    return tmp_path


@pytest.fixture
def twins(draw: Draw, tmp_path: Path) -> Path:
    """Three pairs of 20x20 pixels whose sides are equal."""
    for index in range(3):
        image = draw(tmp_path / "A" / f"{index}.png", (20, 20, 3))
        draw(tmp_path / "B" / f"{index}.png", image=image)
    return tmp_path


def training(data: PairedData, *, seed: int = 0, cache_gib: float = 0.0) -> PairItems:
    data.inspect(12).raise_problems()
    items = data.items("train", 12, seed=seed, augment=True, cache_gib=cache_gib)
    assert isinstance(items, PairItems)
    return items


def stream(dataset: PairItems, *, workers: int = 0, first_step: int = 0) -> list[Pair]:
    """Three epochs in batches of 3."""
    sampler = StreamSampler(size=len(dataset), batch_size=3, first_step=first_step, last_step=7, seed=0)
    return list(DataLoader(dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate))


def assert_equal(one: list[Pair], other: list[Pair]) -> None:
    torch.testing.assert_close([list(pair) for pair in one], [list(pair) for pair in other], rtol=0, atol=0)


# --- what a draw depends on ---


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(folder: Path, paired: MakeData, workers: int) -> None:
    dataset = training(paired(folder, augmentation=EVERYTHING), cache_gib=0.001)
    assert_equal(stream(dataset, workers=workers), stream(dataset))


def test_a_later_start_draws_the_same(folder: Path, paired: MakeData) -> None:
    data = paired(folder, augmentation=EVERYTHING)
    assert_equal(stream(training(data), first_step=4), stream(training(data))[4:])


def test_the_order_of_access_changes_nothing(folder: Path, paired: MakeData) -> None:
    data = paired(folder, augmentation=EVERYTHING)
    forward, backward = training(data), training(data)
    drawn = [forward[2, index] for index in range(7)]
    assert_equal([backward[2, index] for index in reversed(range(7))][::-1], drawn)


def test_epochs_indices_and_seeds_draw_differently(twins: Path, paired: MakeData) -> None:
    data = paired(twins, augmentation={"resize": "stretch", "load_size": 40})
    dataset = training(data)
    crops = [dataset[epoch, 0].source.numpy().tobytes() for epoch in range(6)]
    crops += [training(data, seed=seed)[0, 0].source.numpy().tobytes() for seed in range(1, 4)]
    assert len(set(crops)) == len(crops)


def test_images_of_one_epoch_are_cropped_differently(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    image = draw(tmp_path / "0.png", (40, 80, 1))
    for index in range(1, 6):
        draw(tmp_path / f"{index}.png", image=image)
    dataset = training(paired(tmp_path))
    assert len({dataset[0, index].source.numpy().tobytes() for index in range(6)}) == 6


def test_without_augmentation_every_epoch_is_the_same(folder: Path, paired: MakeData) -> None:
    data = paired(folder, augmentation=EVERYTHING)
    data.inspect(12).raise_problems()
    dataset = data.items("train", 12, seed=0, augment=False)
    assert_equal([dataset[0, 3]], [dataset[5, 3]])


# --- both sides together ---


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"horizontal_flip": 0.5}, id="flip"),
        pytest.param({"vertical_flip": 0.5}, id="vertical flip"),
        pytest.param({"quarter_turns": 0.8}, id="quarter turns"),
        pytest.param({"rotation": 45.0}, id="rotation"),
        pytest.param({"resize": "keep_aspect", "load_size": 14}, id="keep aspect"),
        pytest.param({"resize": "stretch", "load_size": 30}, id="enlarge"),
        pytest.param(EVERYTHING | {"color_a": 0.0, "color_b": 0.0}, id="everything"),
    ],
)
def test_sides_move_together(twins: Path, paired: MakeData, settings: dict[str, Any]) -> None:
    dataset = training(paired(twins, augmentation=settings))
    drawn = [dataset[epoch, index] for epoch in range(8) for index in range(3)]
    assert_equal([Pair(pair.target, pair.source) for pair in drawn], drawn)
    assert len({pair.source.numpy().tobytes() for pair in drawn}) > 12


def test_sides_of_different_kinds_move_together(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for index in range(3):
        image = draw(tmp_path / "A" / f"{index}.png", (20, 20, 1))
        draw(tmp_path / "B" / f"{index}.tif", image=np.repeat(image.astype(np.float32), 5, axis=2))
    settings = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "quarter_turns": 0.5}
    dataset = training(paired(tmp_path, augmentation=settings))
    for epoch in range(10):
        source, target = dataset[epoch, epoch % 3]
        assert torch.equal(source.float().expand(5, -1, -1), target)


@pytest.mark.parametrize(("settings", "changed"), [({"color_a": 0.5}, "source"), ({"color_b": 0.5}, "target")])
def test_colour_changes_its_own_side_alone(
    twins: Path, paired: MakeData, settings: dict[str, float], changed: str
) -> None:
    plain = training(paired(twins, augmentation={"horizontal_flip": 0.5}))
    colored = training(paired(twins, augmentation={"horizontal_flip": 0.5} | settings))
    for epoch in range(5):
        before, after = plain[epoch, 0]._asdict(), colored[epoch, 0]._asdict()
        assert {name for name in before if not torch.equal(before[name], after[name])} == {changed}


def test_both_sides_get_colours_of_their_own(twins: Path, paired: MakeData) -> None:
    source, target = training(paired(twins, augmentation={"color_a": 0.5, "color_b": 0.5}))[0, 0]
    assert not torch.equal(source, target)


# --- the cache ---


def test_the_cache_changes_nothing(folder: Path, paired: MakeData) -> None:
    data = paired(folder, augmentation=EVERYTHING)
    cached = training(data, cache_gib=0.001)
    assert_equal(stream(cached), stream(training(data)))
    assert len(cached.cache.images) == 7
    assert_equal(stream(cached), stream(training(data)))


@pytest.mark.parametrize("room", [0, 0.5, 1, 2.9, 3, 100])
def test_the_cache_stays_in_its_room(folder: Path, paired: MakeData, room: float) -> None:
    bytes_of_a_pair = 2 * 13 * 13 * 3  # 12 * 286 / 256 is 13
    data = paired(folder, augmentation={"resize": "stretch"})
    dataset = training(data, cache_gib=room * bytes_of_a_pair / 2**30)
    for index in range(7):
        dataset[0, index]
    assert len(dataset.cache.images) == min(int(room), 7)
    assert sum(image.nbytes for pair in dataset.cache.images.values() for image in pair) <= room * bytes_of_a_pair


def test_the_cache_is_not_written_to(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for side in "AB":
        draw(tmp_path / side / "1.png", (12, 12, 1))
    data = paired(tmp_path)
    data.inspect(12).raise_problems()
    dataset = data.items("train", 12, seed=0, augment=False, cache_gib=1.0)
    before = dataset[0, 0].source.clone()
    dataset[0, 0].source.zero_()
    assert torch.equal(dataset[0, 0].source, before)


# --- batches ---


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_batches_keep_the_pixel_type(draw: Draw, paired: MakeData, tmp_path: Path, dtype: str) -> None:
    images = [draw(tmp_path / f"{index}.tif", (12, 24, 3), dtype) for index in range(2)]
    dataset = training(paired(tmp_path))
    batch = collate([dataset[0, 0], dataset[0, 1]])
    assert batch.source.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(batch.target, [image[:, 12:].transpose(2, 0, 1) for image in images])
