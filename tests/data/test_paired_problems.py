"""Everything that is wrong with a data set is said at once, one line each, beginning with the path."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from translate.data.check import Inspection
from translate.data.paired import PairedData
from translate.errors import UserError

Draw = Callable[..., np.ndarray]
MakeData = Callable[..., PairedData]


def assert_problems(inspection: Inspection, root: Path, expected: dict[str, str]) -> None:
    """One problem per path, holding the text."""
    problems = {}
    for line in inspection.problems:
        path, _, text = line.partition(": ")
        problems[Path(path).relative_to(root).as_posix()] = text
    assert len(inspection.problems) == len(problems)
    assert problems.keys() == expected.keys()
    for path, text in expected.items():
        assert text in problems[path], path


def test_two_folders_with_every_problem_at_once(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for side, names in (
        ("A", ["good", "only a", "nested/only a", "twice", "sizes"]),
        ("B", ["good", "only b", "twice"]),
    ):
        for name in names:
            draw(tmp_path / side / f"{name}.png")
    draw(tmp_path / "A" / "twice.bmp")
    draw(tmp_path / "B" / "sizes.png", (12, 10, 3))
    draw(tmp_path / "A" / "small.png", (9, 12, 3))
    draw(tmp_path / "B" / "small.png", (9, 12, 3))
    draw(tmp_path / "A" / "broken B.png")
    draw(tmp_path / "B" / "broken A.png")
    for name, content in {
        "A/broken A.png": b"",
        "B/broken B.png": b"no image",
        "A/both broken.png": b"no image",
        "B/both broken.png": b"",
    }.items():
        (tmp_path / name).write_bytes(content)

    assert_problems(
        paired(tmp_path).inspect(10),
        tmp_path,
        {
            "A/only a.png": f"has no partner of that name in {tmp_path / 'B'}",
            "A/nested/only a.png": f"has no partner of that name in {tmp_path / 'B'}",
            "B/only b.png": f"has no partner of that name in {tmp_path / 'A'}",
            "A/twice.png": "has the same name as twice.bmp; keep one of them",
            "A/sizes.png": f"differs in size from {tmp_path / 'B' / 'sizes.png'} (12x12 and 10x12)",
            "A/small.png": "is 12x9, smaller than image_size=10",
            "A/broken A.png": "is empty",
            "B/broken B.png": "cannot be decoded",
            "A/both broken.png": "cannot be decoded",
            "B/both broken.png": "is empty",
        },
    )


def test_side_by_side_with_every_problem_at_once(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "good.png", (12, 24, 3))
    draw(tmp_path / "odd.png", (12, 23, 3))
    draw(tmp_path / "narrow.png", (12, 18, 3))
    draw(tmp_path / "low.png", (9, 24, 3))
    (tmp_path / "broken.jpg").write_bytes(b"")
    assert_problems(
        paired(tmp_path).inspect(10),
        tmp_path,
        {
            "odd.png": "its width 23 is odd, but without folders of two sides every image is two halves",
            "narrow.png": "is 9x12, smaller than image_size=10",
            "low.png": "is 12x9, smaller than image_size=10",
            "broken.jpg": "is empty",
        },
    )


def test_size_does_not_matter_when_images_are_resized(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "low.png", (3, 24, 3))
    assert paired(tmp_path, augmentation={"resize": "stretch"}).inspect(10).problems == []


def test_channels_and_types_that_do_not_mix(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    kinds = {
        "1.tif": (3, "uint8"),
        "2.tif": (1, "uint8"),
        "3.tif": (3, "uint16"),
        "5.tif": (5, "uint8"),
        "f.tif": (3, "float32"),
    }
    kinds |= {"4.tif": (3, "uint8")}
    for name, (channels, dtype) in kinds.items():
        draw(tmp_path / "A" / name, (12, 12, channels), dtype)
        draw(tmp_path / "B" / name, (12, 12, 3))
    assert_problems(
        paired(tmp_path).inspect(10),
        tmp_path,
        {
            "A/5.tif": "has 5 channels, but the images of side A have 3 (convert the file, or set data.channels_a)",
            "A/f.tif": "has float32 pixels, but other images of side A have uint16",
        },
    )


def test_channels_that_the_user_set_count(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for side, channels in (("A", 3), ("B", 2)):
        draw(tmp_path / side / "1.tif", (12, 12, channels))
    assert_problems(
        paired(tmp_path, channels_a=1, channels_b=4).inspect(10),
        tmp_path,
        {"B/1.tif": "has 2 channels, but the images of side B have 4 (convert the file, or set data.channels_b)"},
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_pixels_must_be_finite(draw: Draw, noise: Draw, paired: MakeData, tmp_path: Path, value: float) -> None:
    image = noise((12, 12, 1), "float32")
    draw(tmp_path / "B" / "1.npy", image=image)
    image[3, 4] = value
    draw(tmp_path / "A" / "1.npy", image=image)
    assert_problems(paired(tmp_path).inspect(10), tmp_path, {"A/1.npy": "has pixels that are NaN or infinite"})


def test_a_folder_without_its_partner(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "train" / "A" / "1.png")
    draw(tmp_path / "test" / "B" / "1.png")
    (tmp_path / "test" / "A").mkdir()
    expected = {"train/B": "does not exist, but its partner does", "test/A": "holds no images"}
    assert_problems(paired(tmp_path).inspect(10), tmp_path, expected)


def test_csv_rows_with_problems_name_their_line(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    rows = ["a.png,b.png,train", "a.png", "a.png,,train", "a.png,b.png,trian", "missing.png,b.png,train"]
    (tmp_path / "pairs.csv").write_text("\n".join(["A,B,split", *rows]))
    problems = paired(tmp_path / "pairs.csv").inspect(10).problems
    table = tmp_path / "pairs.csv"
    assert problems == [
        f"{table}: line 3 does not name both A and B",
        f"{table}: line 4 does not name both A and B",
        f"{table}: line 5 has split='trian', which is not one of train, validation, val, valid, test, testing",
        f"{tmp_path / 'missing.png'}: cannot be opened: No such file or directory",
    ]


def test_nothing_left_for_training(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "test" / "1.png", (12, 24, 3))
    inspection = paired(tmp_path).inspect(10)
    assert_problems(inspection, tmp_path, {".": "no pair is left for training"})


def test_an_inspection_counts_what_it_found(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for name, shape in (("train/1", (12, 24, 3)), ("train/2", (12, 24, 1)), ("val/3", (20, 60, 3))):
        draw(tmp_path / f"{name}.png", shape)
    inspection = paired(tmp_path).inspect(10)
    assert inspection.counts == {"train pairs": 2, "validation pairs": 1, "test pairs": 0}
    assert inspection.sizes == Counter({(12, 12): 2, (20, 30): 1})


def test_the_progress_sees_every_image(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    for side in "AB":
        draw(tmp_path / side / "1.png")
        draw(tmp_path / side / "2.png")
    seen = []

    def progress(facts, length):  # type: ignore[no-untyped-def]
        seen.append(length)
        for fact in facts:
            seen.append(fact.height)
            yield fact

    paired(tmp_path).inspect(10, progress).raise_problems()
    assert seen == [4, 12, 12, 12, 12]


def test_problems_are_raised_together_up_to_a_limit() -> None:
    inspection = Inspection({}, {}, Counter(), [f"{index}.png: is empty" for index in range(30)])
    with pytest.raises(UserError) as caught:
        inspection.raise_problems(most=2)
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["the data has 30 problems:", "  0.png: is empty (and 29 more like it)"]
    assert len(lines) == 3
    assert "translate check" in lines[2]


def test_without_problems_nothing_is_raised() -> None:
    Inspection({}, {}, Counter(), []).raise_problems()


def test_a_file_that_vanishes_after_the_inspection_is_named(draw: Draw, paired: MakeData, tmp_path: Path) -> None:
    draw(tmp_path / "1.png", (12, 24, 3))
    data = paired(tmp_path)
    data.inspect(10).raise_problems()
    (tmp_path / "1.png").unlink()
    with pytest.raises(UserError, match=r"1\.png.*cannot be opened"):
        data.items("train", 10, seed=0, augment=True)[0, 0]
