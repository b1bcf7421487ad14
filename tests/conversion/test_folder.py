"""Converting folders: the tree is mirrored, a bad file stops no other, and nothing is lost or half written."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translate.conversion import folder as folder_module
from translate.conversion.folder import AHEAD, Report, plan
from translate.conversion.translator import Translator
from translate.data.image import read_image, write_image
from translate.errors import UserError
from translate.picture import TITLE_HEIGHT
from translate.pixels import Side

Make = Callable[..., Translator]
Draw = Callable[..., np.ndarray]
GREY = Side(1, "uint8", 0, 255)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder to convert, empty."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where converted images go; not there yet."""
    return tmp_path / "out"


@pytest.fixture
def draw(source: Path, noise: Draw) -> Draw:
    """Write noise into the folder to convert and return it."""

    def make(name: str, shape: tuple[int, ...] = (6, 8, 3), dtype: str = "uint8") -> np.ndarray:
        image = noise(shape, dtype)
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(source / name, image)
        return image

    return make


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def assert_negatives(output: Path, expected: dict[str, np.ndarray]) -> None:
    """Exactly these files, each the negative of its input."""
    assert tree(output) == sorted(expected)
    for name, image in expected.items():
        found = read_image(output / name)
        assert found.dtype == image.dtype
        np.testing.assert_array_equal(found, np.iinfo(image.dtype).max - image)


# --- names and formats ---


def test_the_tree_is_mirrored(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    names = [
        "a.png",
        "with space/b c.png",
        "ünï/cödé/日本.PNG",
        "v1.5/x.2.png",
        "bitmap.bmp",
        "t.TIFF",
        "n.npy",
        "p.ppm",
    ]
    images = {name: draw(name) for name in names}
    report = negative().convert_folder(source, output)
    assert_negatives(output, images)
    assert sorted(report.converted) == sorted(output / name for name in names)
    assert (report.skipped, report.failures, report.comparison) == ([], [], None)


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_images_of_many_sizes_and_depths(
    negative: Make, draw: Draw, source: Path, output: Path, batch_size: int | None
) -> None:
    kinds = [
        ((6, 8, 3), "uint8"),
        ((5, 3, 3), "uint8"),
        ((6, 8, 3), "uint16"),
        ((6, 8, 1), "uint8"),
        ((6, 8, 4), "uint8"),
    ]
    images = {f"{index:02}.png": draw(f"{index:02}.png", *kinds[index % 5]) for index in range(3 * AHEAD)}
    report = negative().convert_folder(source, output, batch_size=batch_size)
    assert len(report.converted) == len(images)
    for name, image in images.items():
        expected = np.iinfo(image.dtype).max - image
        if image.shape[2] == 4:
            expected[..., 3] = image[..., 3]
        np.testing.assert_array_equal(
            read_image(output / name), expected.repeat(3, 2) if image.shape[2] == 1 else expected
        )


@pytest.mark.parametrize(
    ("format", "suffix", "signature"),
    [
        ("png", ".png", b"\x89PNG"),
        ("jpeg", ".jpg", b"\xff\xd8"),
        ("webp", ".webp", b"RIFF"),
        ("tiff", ".tif", b"II*\0"),
    ],
)
def test_formats(
    negative: Make, draw: Draw, source: Path, output: Path, format: str, suffix: str, signature: bytes
) -> None:
    for name in ("a.bmp", "deep/v1.5.PNG"):
        draw(name)
    report = negative().convert_folder(source, output, format=format)
    assert tree(output) == [f"a{suffix}", f"deep/v1.5{suffix}"]
    assert all(path.read_bytes().startswith(signature) for path in report.converted)


def test_unknown_formats_are_refused(source: Path, output: Path) -> None:
    with pytest.raises(UserError, match="--format gif is not one of keep, png, jpeg, webp, tiff"):
        plan(source, output, format="gif")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "target", "converted"),
    [
        ("a.pgm", ((6, 8, 1), "uint8"), Side(3, "uint8", 0, 255), "a.png"),
        ("a.ppm", ((6, 8, 3), "uint16"), Side(1, "uint8", 0, 255), "a.png"),
        ("a.png", ((6, 8, 3), "uint16"), Side(5, "uint8", 0, 255), "a.tif"),
        ("a.png", ((6, 8, 3), "uint8"), Side(2, "uint8", 0, 255), "a.tif"),
        ("a.webp", ((6, 8, 3), "uint8"), Side(1, "uint8", 0, 255), "a.png"),
    ],
)
def test_what_the_format_cannot_hold_goes_into_one_that_can(
    negative: Make, draw: Draw, source: Path, output: Path, name: str, kind: Any, target: Side, converted: str
) -> None:
    image = draw(name, *kind)
    model = negative(Side(image.shape[2], "uint8", 0, 255), target)
    report = model.convert_folder(source, output)
    assert report.converted == [output / converted]
    found = read_image(output / converted)
    assert (found.dtype, found.shape) == (kind[1], (6, 8, target.channels))
    np.testing.assert_array_equal(found, model(read_image(source / name)))


def test_a_jpeg_cannot_keep_sixteen_bits_or_transparency(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("deep.png", (6, 8, 3), "uint16")
    draw("clear.png", (6, 8, 4))
    negative().convert_folder(source, output, format="jpeg")
    assert tree(output) == ["clear.png", "deep.png"]


def test_hidden_files_and_other_files_are_not_converted(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    draw(".thumbnails/b.png")
    (source / "readme.txt").write_text("about a.png")
    negative().convert_folder(source, output)
    assert tree(output) == ["a.png"]


def test_images_lying_on_their_side_come_out_upright(negative: Make, source: Path, output: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(source / "a.jpg", exif=exif)
    negative().convert_folder(source, output)
    with Image.open(output / "a.jpg") as image:
        assert image.size == (6, 8)
        assert image.getexif().get(0x0112, 1) == 1


# --- collisions ---


def test_two_inputs_of_one_name_are_refused_before_anything_is_written(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    for name in ("ok.png", "x/a.png", "x/a.bmp"):
        draw(name)
    with pytest.raises(UserError, match=r"a\.bmp and .*a\.png would both become .*a\.jpg: use --format keep"):
        negative().convert_folder(source, output, format="jpeg")
    assert not output.exists()


def test_a_format_that_has_to_change_overwrites_no_other_result(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("a.pgm", (6, 8, 1))
    draw("a.png")
    with pytest.raises(UserError, match=r"a\.pgm and .*a\.png would both become .*a\.png"):
        negative().convert_folder(source, output)
    assert not output.exists()


@pytest.mark.parametrize("name", ["comparison.png", "deep/comparison.png"])
def test_the_comparison_overwrites_no_result(negative: Make, draw: Draw, source: Path, output: Path, name: str) -> None:
    image = draw(name)
    report = negative().convert_folder(source, output, compare=True)
    [converted] = report.converted
    np.testing.assert_array_equal(read_image(converted), 255 - image)
    assert report.comparison not in report.converted


def test_output_inside_input_is_refused(negative: Make, draw: Draw, source: Path) -> None:
    draw("a.png")
    for inside in (source, source / "out", source / "deep" / "out", source / "x" / ".."):
        with pytest.raises(UserError, match=r"OUTPUT .* lies in INPUT .*: use another folder"):
            negative().convert_folder(source, inside)
    assert tree(source) == ["a.png"]


def test_output_inside_input_through_a_link_is_refused(draw: Draw, source: Path, tmp_path: Path) -> None:
    draw("a.png")
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(UserError, match="lies in INPUT"):
        plan(source, tmp_path / "link" / "out")


def test_a_folder_beside_with_a_longer_name_is_not_inside(draw: Draw, source: Path) -> None:
    draw("a.png")
    assert [task.output for task in plan(source, source.with_name("in 2"))] == [source.with_name("in 2") / "a.png"]


def test_a_file_as_output_of_a_folder_is_refused(draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.write_text("important")
    with pytest.raises(UserError, match=r"OUTPUT .*out is a file, but INPUT .* is a folder"):
        plan(source, output)


def test_nothing_to_convert(source: Path, output: Path) -> None:
    with pytest.raises(UserError, match=r"INPUT .*in holds no images \(looked for \.bmp, \.jpeg"):
        plan(source, output)
    with pytest.raises(UserError, match=r"INPUT .*nowhere does not exist"):
        plan(source / "nowhere", output)


# --- one image ---


def test_one_image_to_a_file(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.png")
    report = negative().convert_folder(source / "a.png", output / "new" / "b.tif")
    assert report.converted == [output / "new" / "b.tif"]
    assert_negatives(output, {"new/b.tif": image})


@pytest.mark.parametrize(("format", "name"), [("keep", "a.png"), ("tiff", "a.tif")])
def test_one_image_to_a_folder(negative: Make, draw: Draw, source: Path, output: Path, format: str, name: str) -> None:
    image = draw("a.png")
    negative().convert_folder(source / "a.png", output, format=format)
    assert_negatives(output, {name: image})


def test_one_bad_image_is_a_failure(negative: Make, source: Path, output: Path) -> None:
    (source / "a.png").write_bytes(b"")
    report = negative().convert_folder(source / "a.png", output)
    assert report.failures == [(source / "a.png", "is empty")]
    assert tree(output) == ["failures.jsonl"]


def test_one_image_leaves_the_files_beside_it_alone(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.mkdir()
    (output / "failures.jsonl").write_text("of something else")
    negative().convert_folder(source / "a.png", output / "b.png")
    assert (output / "failures.jsonl").read_text() == "of something else"


# --- bad files ---


def test_bad_files_are_reported_and_the_rest_is_done(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    good = {name: draw(name) for name in ("a.png", "m.png", "z.png")}
    draw("five.tif", (6, 8, 5))
    cut_off = source / "b.jpg"
    draw("b.jpg")
    cut_off.write_bytes(cut_off.read_bytes()[:-30])
    (source / "deep").mkdir()
    (source / "deep" / "empty ü.png").write_bytes(b"")
    (source / "text.png").write_text("no image")
    report = negative().convert_folder(source, output)
    reasons = dict(report.failures)
    assert {path.relative_to(source).as_posix() for path in reasons} == {
        "b.jpg",
        "deep/empty ü.png",
        "five.tif",
        "text.png",
    }
    assert reasons[source / "deep" / "empty ü.png"] == "is empty"
    assert reasons[source / "five.tif"] == "has 5 channels, but the model translates images of 3"
    lines = (output / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"input": str(path), "reason": reason} for path, reason in report.failures
    ]
    (output / "failures.jsonl").unlink()
    assert_negatives(output, good)


def test_an_image_that_does_not_suit_stops_no_other_of_its_batch(negative: Make, source: Path, output: Path) -> None:
    color = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    for index in range(4):
        write_image(source / f"{index}.png", color if index == 2 else np.repeat(color[..., :1], 3, axis=2))
    report = negative(GREY).convert_folder(source, output, batch_size=4)
    assert [path.name for path, _ in report.failures] == ["2.png"]
    assert sorted(path.name for path in report.converted) == ["0.png", "1.png", "3.png"]


@pytest.mark.parametrize("shape", [(0, 8, 3), (6, 8, 0)])
def test_an_empty_array_stops_no_other(
    negative: Make, draw: Draw, source: Path, output: Path, shape: tuple[int, ...]
) -> None:
    image = draw("a.png")
    np.save(source / "empty.npy", np.zeros(shape, np.uint8))
    report = negative().convert_folder(source, output)
    assert [path.name for path, _ in report.failures] == ["empty.npy"]
    np.testing.assert_array_equal(read_image(output / "a.png"), 255 - image)


def test_an_archive_of_arrays_stops_no_other(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.png")
    with (source / "b.npy").open("wb") as file:
        np.savez(file, image=image)
    report = negative().convert_folder(source, output)
    assert [path.name for path, _ in report.failures] == ["b.npy"]
    np.testing.assert_array_equal(read_image(output / "a.png"), 255 - image)


def test_a_long_name_stops_no_other(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image, long_name = draw("a.png"), "あ" * 83 + ".png"  # 253 bytes; a file system takes 255
    (source / long_name).write_bytes((source / "a.png").read_bytes())
    negative().convert_folder(source, output)
    assert_negatives(output, {"a.png": image, long_name: image})


def test_mended_files_are_converted_by_the_same_command(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    images = {"a.png": draw("a.png")}
    (source / "b.png").write_bytes(b"")
    negative().convert_folder(source, output)
    images["b.png"] = draw("b.png")
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped) == ([output / "b.png"], [output / "a.png"])
    assert_negatives(output, images)  # failures.jsonl is gone


# --- going on ---


def test_what_is_there_is_skipped(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    draw("b.png")
    output.mkdir()
    (output / "a.png").write_text("there already")
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped) == ([output / "b.png"], [output / "a.png"])
    assert (output / "a.png").read_text() == "there already"


def test_what_is_there_is_overwritten_on_demand(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.png")
    output.mkdir()
    (output / "a.png").write_text("there already")
    report = negative().convert_folder(source, output, overwrite=True)
    assert (report.converted, report.skipped) == ([output / "a.png"], [])
    assert_negatives(output, {"a.png": image})


def test_what_went_into_another_format_is_skipped_too(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.pgm", (6, 8, 1))
    negative().convert_folder(source, output)
    before = (output / "a.png").stat().st_mtime_ns
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped) == ([], [output / "a.png"])
    assert (output / "a.png").stat().st_mtime_ns == before


def test_the_progress_hears_of_every_image(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    for name in ("a.png", "b.png", "skipped.png"):
        draw(name)
    (source / "z.png").write_bytes(b"")
    output.mkdir()
    (output / "skipped.png").touch()
    seen = []

    def progress(report: Report) -> None:
        seen.append(len(report.converted) + len(report.skipped) + len(report.failures))

    negative().convert_folder(source, output, progress=progress)
    assert len(seen) == 4
    assert seen[-1] == 4


# --- the comparison ---


def test_the_comparison_shows_input_and_output(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    images = [draw(f"{index}.png") for index in range(2)]
    report = negative().convert_folder(source, output, compare=True)
    assert report.comparison == output / "comparison.png"
    sheet = read_image(output / "comparison.png")
    # Images of 6 x 8 pixels in the middle of squares of 8, with a margin of 2: cells of 12.
    assert sheet.shape == (TITLE_HEIGHT + 12, 2 * 24, 3)
    for index, image in enumerate(images):
        pair = sheet[TITLE_HEIGHT + 3 : TITLE_HEIGHT + 9, index * 24 :]
        np.testing.assert_array_equal(pair[:, 2:10], image)
        np.testing.assert_array_equal(pair[:, 14:22], 255 - image)


def test_the_comparison_shows_any_depth_in_eight_bits(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.tif", (6, 8, 1), "uint16")
    negative(Side(1, "uint16", 0, 65535)).convert_folder(source, output, compare=True)
    shown = read_image(output / "comparison.png")[TITLE_HEIGHT + 3 : TITLE_HEIGHT + 9, 2:10]  # centred in 8 x 8
    np.testing.assert_allclose(shown.astype(int), np.repeat(image / 257, 3, axis=2), atol=0.51)


def test_the_comparison_shows_at_most_twelve_four_a_row(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    for index in range(15):
        draw(f"{index:02}.png")
    negative().convert_folder(source, output, compare=True)
    assert read_image(output / "comparison.png").shape == (TITLE_HEIGHT + 3 * 12, 4 * 24, 3)


def test_images_of_all_sizes_are_fitted_into_equal_squares(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("large.png", (600, 300, 3))
    draw("banner.png", (1, 100, 3))
    negative().convert_folder(source, output, compare=True)
    sheet = read_image(output / "comparison.png")
    assert sheet.shape == (TITLE_HEIGHT + 260, 2 * 2 * 260, 3)  # two pairs of squares of 256 pixels and margins


@pytest.mark.parametrize("shape", [(1, 1, 3), (300, 1, 3), (1, 300, 3)])
def test_any_shape_can_be_compared(
    negative: Make, draw: Draw, source: Path, output: Path, shape: tuple[int, ...]
) -> None:
    draw("a.png", shape)
    report = negative().convert_folder(source, output, compare=True)
    assert (report.converted, report.comparison) == ([output / "a.png"], output / "comparison.png")


def test_without_results_there_is_no_comparison(negative: Make, source: Path, output: Path) -> None:
    (source / "a.png").write_bytes(b"")
    assert negative().convert_folder(source, output, compare=True).comparison is None
    assert tree(output) == ["failures.jsonl"]


# --- when nothing can be written ---


def test_a_full_disk_ends_the_conversion_and_leaves_what_is_finished(
    negative: Make, draw: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{index:02}.png": draw(f"{index:02}.png") for index in range(30)}

    def until_full(path: Path, image: np.ndarray) -> None:
        if path.name >= "05.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_image(path, image)

    monkeypatch.setattr(folder_module, "write_image", until_full)
    with pytest.raises(UserError, match=r"OUTPUT .*out cannot be written: No space left on device\. 5 images are done"):
        negative().convert_folder(source, output)
    assert_negatives(output, {name: image for name, image in images.items() if name < "05.png"})

    monkeypatch.undo()
    report = negative().convert_folder(source, output)
    assert len(report.skipped) == 5
    assert_negatives(output, images)


def test_a_file_in_the_way_of_the_output_is_said(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.write_text("a file")
    with pytest.raises(UserError, match=r"OUTPUT .*deep cannot be written: Not a directory"):
        negative().convert_folder(source, output / "deep")
    assert output.read_text() == "a file"


def test_a_file_in_the_way_of_a_subfolder_is_said(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("deep/a.png")
    output.mkdir()
    (output / "deep").write_text("a file")
    with pytest.raises(UserError, match=r"OUTPUT .*out cannot be written"):
        negative().convert_folder(source, output)
    assert tree(output) == ["deep"]
