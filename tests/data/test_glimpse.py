"""What is remembered of every image in the one pass over them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.data import check
from translate.data.check import inspect_images
from translate.data.glimpse import MOST_PAIRS, Observer, glance
from translate.data.loading import Picture


def test_statistics_are_those_of_the_pixels():
    image = np.full((20, 30, 1), 100, np.uint16)
    image[:2] = 7  # 10 %
    image[-1, -1] = 4000
    found = glance(Path("x.png"), image)
    assert (found.height, found.width) == (20, 30)
    assert (found.low, found.high, found.dark, found.light) == (7, 4000, 7, 100)
    assert found.mean == pytest.approx((60 * 7 + 539 * 100 + 4000) / 600)
    assert found.levels == 3
    assert found.at_top == pytest.approx(1 / 600)
    assert found.commonest == pytest.approx(539 / 600)


def test_both_halves_of_a_file_are_seen_for_themselves():
    left, right = (Picture("x", Path("x.png"), half) for half in ("left", "right"))
    observer = Observer([left, right])
    observer(Path("x.png"), np.concatenate([np.zeros((4, 4, 3)), np.full((4, 4, 3), 9)], axis=1).astype(np.uint8))
    assert [one.mean for one in observer.of([right, left])] == [9, 0]
    assert observer.glimpses[left].width == 4


def test_a_file_in_several_pairs_is_compared_in_each():
    photo, *maps = (Picture(name, Path(f"{name}.png")) for name in ("photo", "one", "two"))
    observer = Observer([photo, *maps], [(photo, maps[0]), (photo, maps[1])])
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for picture in (maps[1], photo, maps[0]):
        observer(picture.path, noise)
    assert [offset.name for offset in observer.alignment.offsets] == ["photo.png", "photo.png"]


def test_of_many_pairs_some_are_compared():
    pairs = [(Picture(f"{i}", Path(f"a/{i}")), Picture(f"{i}", Path(f"b/{i}"))) for i in range(2 * MOST_PAIRS)]
    observer = Observer([picture for pair in pairs for picture in pair], pairs)
    image = np.zeros((4, 4, 1), np.uint8)
    for pair in pairs:
        for picture in pair:
            observer(picture.path, image)
    assert len(observer.glimpses) == 4 * MOST_PAIRS
    names = {offset.name for offset in observer.alignment.offsets}
    assert len(observer.alignment.offsets) == len(names) == MOST_PAIRS
    assert {"a/0", f"a/{2 * MOST_PAIRS - 1}"} <= names


def test_every_file_is_decoded_once(
    tmp_path: Path, draw: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(check, "read_image", lambda path: read.append(path) or np.zeros((8, 8, 3), np.uint8))
    pictures = [Picture(str(index), tmp_path / f"{index}.png") for index in range(5)]
    observer = Observer(pictures, [(pictures[0], pictures[1])])
    inspect_images([picture.path for picture in pictures], None, observer)
    assert sorted(read) == sorted(picture.path for picture in pictures)
    assert len(observer.glimpses) == 5


def test_bad_files_are_not_looked_at(tmp_path: Path, draw: Callable[..., np.ndarray]) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    draw(tmp_path / "nan.npy", image=np.full((4, 4, 1), np.nan, np.float32))
    draw(tmp_path / "good.png")
    pictures = [Picture(path.stem, path) for path in sorted(tmp_path.iterdir())]
    observer = Observer(pictures)
    inspect_images([picture.path for picture in pictures], None, observer)
    assert [picture.name for picture in observer.glimpses] == ["good"]
