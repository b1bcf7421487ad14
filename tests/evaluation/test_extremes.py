"""The picture of the best and the worst images."""

from pathlib import Path

import numpy as np
import torch

from translate.data.image import read_image
from translate.evaluation.bootstrap import Scored
from translate.evaluation.extremes import choose_shown, rank, shorten, write_extremes


def scored(**values: float) -> Scored:
    return Scored("image", "", values)


def test_the_best_come_first() -> None:
    rows = [scored(l1=0.5), scored(psnr=3.0), scored(l1=0.1), scored(l1=0.3)]
    assert rank(rows) == ("l1", [2, 3, 0])
    assert rank([scored(recognized=0), scored(recognized=1)]) == ("recognized", [1, 0])
    assert rank([scored(), scored()]) is None


def test_best_and_worst_stand_side_by_side_with_nobody_twice(tmp_path: Path) -> None:
    def picture(place: int) -> dict[str, torch.Tensor]:
        return {"input": torch.zeros(3, 8, 8), "output": torch.full((1, 8, 8), place / 10)}

    rows = [scored(l1=0.3), scored(l1=0.1), scored(l1=0.2)]
    assert write_extremes(tmp_path / "picture.png", rows, picture)
    found = read_image(tmp_path / "picture.png")
    cell, titles = 164, 22
    assert found.shape == (titles + 2 * (2 * titles + cell), 2 * (2 * cell + 12), 3)

    def output(row: int, column: int) -> int:
        top, left = titles + row * (2 * titles + cell) + 2 * titles, column * (2 * cell + 12) + cell
        return int(found[top + cell // 2, left + cell // 2, 0])

    assert [output(0, 0), output(1, 0), output(0, 1)] == [26, 51, 0]
    assert (found[-cell:, -cell:] == 255).all()  # of three, two are the best and one is the worst


def test_without_a_value_there_is_no_picture(tmp_path: Path) -> None:
    assert not write_extremes(tmp_path / "picture.png", [scored()], lambda place: {})
    assert not (tmp_path / "picture.png").exists()


def test_large_images_shrink(tmp_path: Path) -> None:
    assert write_extremes(tmp_path / "picture.png", [scored(l1=0.0)], lambda place: {"input": torch.rand(3, 100, 400)})
    assert np.shape(read_image(tmp_path / "picture.png")) == (3 * 22 + 44, 164 + 12, 3)


def test_different_images_are_shown_where_there_are_enough() -> None:
    rows = [Scored(name, str(group), {}) for name in "abcdefg" for group in range(3)]
    best, worst = choose_shown(rows, range(21))
    assert [rows[place].name for place in best] == list("abcdef")
    assert [rows[place].name for place in worst] == list("gfedcb")
    assert not {*best} & {*worst}
    few = [Scored("a", str(group), {}) for group in range(3)] + [Scored("b", "", {})]
    assert choose_shown(few, range(4)) == ([0, 3], [2, 1])


def test_long_names_give_way_in_the_middle() -> None:
    assert shorten("bottle/clock2-bottle3 to knife", 16) == "bottle/... knife"
    assert shorten("short", 8) == "short"
