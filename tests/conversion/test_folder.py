"""Converting folders: the tree is mirrored, a bad file stops no other, and nothing is lost or half written."""

import errno
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from translate.conversion import folder as folder_module
from translate.conversion.folder import COMPARISON
from translate.conversion.reading import AHEAD
from translate.conversion.report import Report
from translate.conversion.translator import Translator
from translate.data.image import Metadata, iterate_pages, read_image, read_metadata, write_image, write_pages
from translate.data.tiff import write_tiff_strips
from translate.errors import UserError
from translate.picture import TITLE_HEIGHT
from translate.pixels import Side

Make = Callable[..., Translator]
Draw = Callable[..., np.ndarray]
GREY = Side(1, "uint8", 0, 255)


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
    """Every file below a folder but the logs."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if not file.startswith(".translate/"))


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
    assert (report.converted, report.skipped, report.failures, report.comparison) == (len(names), 0, [], None)
    assert (report.total, report.finished, report.stopped) == (len(names), len(names), False)
    assert report.images_per_second == report.converted / report.seconds > 0


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
    assert report.converted == len(images)
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
    negative().convert_folder(source, output, format=format)
    assert tree(output) == [f"a{suffix}", f"deep/v1.5{'.PNG' if format == 'png' else suffix}"]  # that is one already
    assert all((output / name).read_bytes().startswith(signature) for name in tree(output))


@pytest.mark.parametrize(
    ("name", "kind", "target", "converted"),
    [
        ("a.pgm", ((6, 8, 1), "uint8"), Side(3, "uint8", 0, 255), "a.ppm"),
        ("a.ppm", ((6, 8, 3), "uint16"), Side(1, "uint8", 0, 255), "a.pgm"),
        ("a.ppm", ((6, 8, 3), "uint8"), Side(4, "uint8", 0, 255), "a.tif"),
        ("a.png", ((6, 8, 3), "uint16"), Side(5, "uint8", 0, 255), "a.tif"),
        ("a.png", ((6, 8, 3), "uint8"), Side(2, "uint8", 0, 255), "a.png"),
        ("a.bmp", ((6, 8, 3), "uint8"), Side(2, "uint8", 0, 255), "a.tif"),
        ("A.BMP", ((6, 8, 3), "uint8"), Side(1, "uint8", 0, 255), "A.BMP"),
    ],
)
def test_what_the_format_cannot_hold_goes_into_one_that_can(
    negative: Make, draw: Draw, source: Path, output: Path, name: str, kind: Any, target: Side, converted: str
) -> None:
    image = draw(name, *kind)
    model = negative(Side(image.shape[2], "uint8", 0, 255), target)
    model.convert_folder(source, output)
    assert tree(output) == [converted]
    found = read_image(output / converted)
    assert (found.dtype, found.shape) == (kind[1], (6, 8, target.channels))
    np.testing.assert_array_equal(found, model(read_image(source / name)))


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_deep_and_clear_images_become_what_the_format_holds(
    negative: Make, source: Path, output: Path, format: str
) -> None:
    suffix = {"jpeg": ".jpg", "webp": ".webp"}[format]
    write_image(source / "deep.png", np.full((16, 16, 3), 257 * 100, np.uint16))
    write_image(source / "floats.tif", np.full((16, 16, 3), 100 / 255, np.float32))
    clear = np.full((16, 16, 4), 100, np.uint8)
    clear[..., 3] = 7
    write_image(source / "clear.png", clear)
    negative().convert_folder(source, output, format=format)
    assert tree(output) == [f"{name}{suffix}" for name in ("clear", "deep", "floats")]
    for name in ("deep", "floats"):
        assert np.abs(read_image(output / f"{name}{suffix}").astype(int) - 155).max() <= 2
    found = read_image(output / f"clear{suffix}")
    assert found.shape[2] == (3 if format == "jpeg" else 4)
    assert (found[..., 3:] == 7).all()


def test_floats_become_sixteen_bits_in_a_png(negative: Make, source: Path, output: Path) -> None:
    # The model knows floats from 0 to 2; the negative of 0.5 is 1.5, three quarters of the range.
    write_image(source / "a.tif", np.full((8, 8, 1), 0.5, np.float32))
    negative(Side(1, "float32", 0, 2)).convert_folder(source, output, format="png")
    found = read_image(output / "a.png")
    assert found.dtype == np.uint16
    assert found.min() == found.max() == round(0.75 * 65535)


def test_content_that_the_own_extension_cannot_hold_is_a_failure_with_the_remedy(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("deep.png", (6, 8, 3), "uint16")
    (source / "deep.png").rename(source / "deep.jpg")
    report = negative().convert_folder(source, output)
    reason = "becomes uint16 pixels with 3 channels, which .jpg files cannot hold: use --format png"
    assert report.failures == [(source / "deep.jpg", reason)]
    assert negative().convert_folder(source, output, format="png").converted == 1
    assert read_image(output / "deep.png").dtype == np.uint16


def test_a_wrong_extension_of_the_right_kind_is_read_by_content(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    image = draw("a.bmp")
    (source / "a.bmp").rename(source / "a.png")
    negative().convert_folder(source, output)
    assert_negatives(output, {"a.png": image})


def test_profile_and_resolution_are_kept(negative: Make, source: Path, output: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in ("png", "jpg", "tif"):
        Image.new("RGB", (8, 6)).save(source / f"a.{suffix}", icc_profile=profile, dpi=(300, 300))
    negative().convert_folder(source, output)
    for suffix in ("png", "jpg", "tif"):
        with Image.open(output / f"a.{suffix}") as image:
            assert image.info["icc_profile"] == profile
            assert [round(value) for value in image.info["dpi"]] == [300, 300]


# --- several pages, and images larger than memory ---


def pages(path: Path, count: int, noise: Draw, shape: tuple[int, ...] = (6, 8, 3)) -> list[np.ndarray]:
    """Write a TIFF of so many pages of noise, of growing size, and return them."""
    images = [noise((shape[0] + index, *shape[1:])) for index in range(count)]
    write_pages(path, images)
    return images


def test_every_page_of_a_tiff_is_converted(negative: Make, noise: Draw, source: Path, output: Path) -> None:
    images = pages(source / "a.tif", 3, noise)
    report = negative().convert_folder(source, output)
    assert (report.converted, report.failures) == (1, [])
    found = list(iterate_pages(output / "a.tif"))
    for image, page in zip(images, found, strict=True):
        np.testing.assert_array_equal(page, 255 - image)


def test_pages_do_not_fit_into_another_format(negative: Make, noise: Draw, source: Path, output: Path) -> None:
    pages(source / "a.tif", 2, noise)
    report = negative().convert_folder(source, output, format="png")
    assert report.failures == [(source / "a.tif", "has 2 pages, which .png files cannot hold: use --format tiff")]
    assert tree(output) == ["failures.jsonl"]


def test_a_bad_page_makes_the_file_a_failure(negative: Make, noise: Draw, source: Path, output: Path) -> None:
    write_pages(source / "a.tif", [noise((6, 8, 3)), noise((6, 8, 5))])
    report = negative().convert_folder(source, output)
    assert [reason for _, reason in report.failures] == ["has 5 channels, but the model translates images of 3"]
    assert tree(output) == ["failures.jsonl"]


class Strips(Translator):
    """Negatives, three rows at a time."""

    def translate_strips(self, source: Any, domain: str | None = None) -> Iterator[np.ndarray]:
        for top in range(0, source.shape[0], 3):
            yield 255 - source[top : top + 3, 0 : source.shape[1]]


def test_a_tiff_that_is_large_beside_the_memory_goes_through_in_strips(
    negative: Make, noise: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, small = noise((300, 20, 3)), noise((4, 4, 3))
    metadata = Metadata(resolution=(300.0, 300.0))
    write_tiff_strips(source / "a.tif", [image], image.shape, "uint8", metadata)
    write_image(source / "b.tif", small)
    # 300 x 20 pixels of 6 channels take 5 bytes each: 180,000 bytes are more than a quarter of this.
    monkeypatch.setattr("translate.memory.available_memory", lambda: 4 * 179_999)
    monkeypatch.setattr(folder_module, "load", None)
    report = Strips(negative().engine).convert_folder(source, output)
    assert (report.converted, report.failures) == (2, [])
    np.testing.assert_array_equal(next(iter(iterate_pages(output / "a.tif"))), 255 - image)
    np.testing.assert_array_equal(read_image(output / "b.tif"), 255 - small)
    assert [round(value) for value in read_metadata((output / "a.tif").read_bytes()).resolution or ()] == [300, 300]


@pytest.mark.parametrize("name", ["one strip.tif", "a.png"])
def test_what_cannot_go_through_in_strips_is_converted_whole(
    negative: Make, noise: Draw, source: Path, output: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise((40, 50, 3))
    Image.fromarray(image).save(source / name, **({"compression": "tiff_lzw"} if name.endswith("tif") else {}))
    monkeypatch.setattr("translate.memory.available_memory", lambda: 4 * 59_999)
    model = Strips(negative().engine, tile="off")
    monkeypatch.setattr(Strips, "translate_strips", None)
    assert model.convert_folder(source, output).failures == []
    np.testing.assert_array_equal(read_image(output / name), 255 - image)


def test_images_too_large_to_read_ahead_are_converted_one_by_one(
    negative: Make, draw: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{index}.png": draw(f"{index}.png") for index in range(5)}
    monkeypatch.setattr("translate.memory.available_memory", lambda: 2000)
    report = Translator(negative().engine, tile="off").convert_folder(source, output, batch_size=3)
    assert report.converted == 5
    assert_negatives(output, images)


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


# --- the comparison overwrites nothing ---


@pytest.mark.parametrize("name", ["comparison.png", "deep/comparison.png"])
def test_the_comparison_overwrites_no_result(negative: Make, draw: Draw, source: Path, output: Path, name: str) -> None:
    image = draw(name)
    report = negative().convert_folder(source, output, compare=True)
    np.testing.assert_array_equal(read_image(output / name), 255 - image)
    assert report.comparison is not None
    assert report.comparison != output / name


def test_the_comparison_overwrites_no_foreign_file(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.mkdir()
    (output / COMPARISON).write_text("mine")
    report = negative().convert_folder(source, output, compare=True)
    assert report.comparison == output / "comparison_sheet.png"
    assert (output / COMPARISON).read_text() == "mine"
    draw("b.png")
    again = negative().convert_folder(source, output, compare=True)
    assert again.comparison == report.comparison  # which is its own


# --- one image ---


def test_one_image_to_a_file(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.png")
    report = negative().convert_folder(source / "a.png", output / "new" / "b.tif")
    assert report.converted == 1
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
    assert tree(output) == []


def test_a_list_of_failures_of_somebody_else_is_not_deleted(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("a.png")
    output.mkdir()
    (output / "failures.jsonl").write_text("mine")
    with pytest.raises(
        UserError, match=r"failures\.jsonl is there already and was not made by this tool: move it away"
    ):
        negative().convert_folder(source, output)
    assert (output / "failures.jsonl").read_text() == "mine"


def test_a_link_that_leads_back_to_the_input_is_refused(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("sub/a.png")
    output.mkdir()
    (output / "sub").symlink_to(source / "sub")
    with pytest.raises(UserError, match="by a link, which would be overwritten: remove the link"):
        negative().convert_folder(source, output, overwrite=True)
    np.testing.assert_array_equal(read_image(source / "sub" / "a.png"), image)


def test_an_error_of_the_caller_leaves_nobody_writing(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    for index in range(20):
        draw(f"{index}.png")

    def fail(report: Report) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        negative().convert_folder(source, output, progress=fail)
    said = (output / ".translate" / "done.jsonl").read_text().splitlines()
    assert sum("begun" in line for line in said) == sum("done" in line for line in said) == len(tree(output))


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
    assert report.converted == 3
    assert tree(output) == ["0.png", "1.png", "3.png", "failures.jsonl"]


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
    assert (report.converted, report.skipped) == (1, 1)
    assert_negatives(output, images)  # failures.jsonl is gone


@pytest.mark.parametrize("kind", ["truncated.jpg", "truncated.png", "zero.tif", "text.webp", "pickle.npy"])
def test_files_of_no_use_are_failures(negative: Make, draw: Draw, source: Path, output: Path, kind: str) -> None:
    image = draw("good.png")
    if kind.startswith("truncated"):
        draw(kind, (64, 64, 3))
        (source / kind).write_bytes((source / kind).read_bytes()[:300])
    elif kind == "pickle.npy":
        np.save(source / kind, np.array([{}], dtype=object), allow_pickle=True)
    else:
        (source / kind).write_bytes(b"" if kind == "zero.tif" else b"no image at all")
    report = negative().convert_folder(source, output)
    assert [path for path, _ in report.failures] == [source / kind]
    np.testing.assert_array_equal(read_image(output / "good.png"), 255 - image)


def test_an_unexpected_error_is_a_failure_of_its_file_alone(
    negative: Make, draw: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{index}.png": draw(f"{index}.png") for index in range(4)}

    def encode(path: Path, image: np.ndarray, metadata: Metadata) -> None:
        if path.name == "2.png":
            raise RuntimeError("out of luck")
        write_image(path, image, metadata)

    monkeypatch.setattr(folder_module, "write_image", encode)
    report = negative().convert_folder(source, output)
    assert report.failures == [(source / "2.png", "RuntimeError: out of luck")]
    assert report.converted == 3
    del images["2.png"]
    (output / "failures.jsonl").unlink()
    assert_negatives(output, images)


def test_a_decompression_bomb_is_a_failure(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    image = draw("a.png")
    side = 2_000_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    (source / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    report = negative().convert_folder(source, output)
    assert [path.name for path, _ in report.failures] == ["bomb.png"]
    np.testing.assert_array_equal(read_image(output / "a.png"), 255 - image)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission_are_failures(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    for name in ("a.png", "closed.png", "locked/b.png"):
        draw(name)
    (source / "closed.png").chmod(0)
    (source / "locked").chmod(0)
    report = negative().convert_folder(source, output)
    (source / "locked").chmod(0o755)
    assert report.converted == 1
    assert sorted((path.name, reason) for path, reason in report.failures) == [
        ("closed.png", "cannot be opened: Permission denied"),
        ("locked", "cannot be opened: Permission denied"),
    ]


def test_a_folder_named_like_an_image_and_a_link_to_nothing(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    image = draw("folder.png/a.png")
    (source / "broken.png").symlink_to("nowhere.png")
    (source / "itself.png").symlink_to("itself.png")
    os.mkfifo(source / "pipe.png")
    report = negative().convert_folder(source, output)
    assert sorted((path.name, reason) for path, reason in report.failures) == [
        ("broken.png", "cannot be opened: No such file or directory"),
        ("itself.png", "cannot be opened: Too many levels of symbolic links"),
        ("pipe.png", "is no regular file"),
    ]
    (output / "failures.jsonl").unlink()
    assert_negatives(output, {"folder.png/a.png": image})


def test_names_that_are_no_text_are_kept(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    name = os.fsdecode(b"bad \xff.png")
    (source / "a.png").rename(source / name)
    (source / os.fsdecode(b"worse \xfe.png")).touch()
    report = negative().convert_folder(source, output)
    assert (report.converted, report.failed) == (1, 1)
    assert tree(output) == [name, "failures.jsonl"]
    [line] = (output / "failures.jsonl").read_bytes().splitlines()
    assert json.loads(line) == {"input": str(source / "worse \udcfe.png"), "reason": "is empty"}
    assert negative().convert_folder(source, output).skipped == 1


def test_failures_stand_in_the_file_while_others_are_converted(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    (source / "0.png").touch()
    draw("1.png")
    seen = []

    def progress(report: Report) -> None:
        seen.append((report.failed, len((output / "failures.jsonl").read_text().splitlines())))

    negative().convert_folder(source, output, progress=progress)
    assert seen == [(1, 1), (1, 1)]


def test_of_very_many_failures_the_file_has_all(tmp_path: Path) -> None:
    report = Report(file=tmp_path / "failures.jsonl")
    for index in range(1200):
        report.add_failure(Path(f"{index}.png"), "is empty", outputs=1)
    assert (report.failed, len(report.failures)) == (1200, 1000)
    assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == 1200


def test_the_progress_hears_of_every_image(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("done.png")
    negative().convert_folder(source, output)
    for name in ("a.png", "b.png"):
        draw(name)
    (source / "z.png").write_bytes(b"")
    seen = []

    def progress(report: Report) -> None:
        seen.append((report.finished, report.total, report.skipped, report.images_per_second >= 0))

    negative().convert_folder(source, output, progress=progress)
    assert seen == [(count, 4, 1, True) for count in (1, 2, 3, 4)]


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
    assert (report.converted, report.comparison) == (1, output / "comparison.png")


def test_without_results_there_is_no_comparison(negative: Make, source: Path, output: Path) -> None:
    (source / "a.png").write_bytes(b"")
    assert negative().convert_folder(source, output, compare=True).comparison is None
    assert tree(output) == ["failures.jsonl"]


# --- when nothing can be written ---


def test_a_full_disk_ends_the_conversion_and_leaves_what_is_finished(
    negative: Make, draw: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{index:02}.png": draw(f"{index:02}.png") for index in range(30)}

    def until_full(path: Path, image: np.ndarray, metadata: Metadata) -> None:
        if path.name >= "05.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_image(path, image, metadata)

    monkeypatch.setattr(folder_module, "write_image", until_full)
    with pytest.raises(UserError, match=r"OUTPUT .*out cannot be written: No space left on device\. 5 images are done"):
        negative().convert_folder(source, output)
    assert_negatives(output, {name: image for name, image in images.items() if name < "05.png"})

    monkeypatch.undo()
    report = negative().convert_folder(source, output)
    assert report.skipped == 5
    assert_negatives(output, images)


def test_a_file_in_the_way_of_the_output_is_said(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.write_text("a file")
    with pytest.raises(UserError, match=r"OUTPUT .*deep cannot be written: Not a directory"):
        negative().convert_folder(source, output / "deep")
    assert output.read_text() == "a file"


def test_a_file_in_the_way_of_a_subfolder_fails_what_lies_there(
    negative: Make, draw: Draw, source: Path, output: Path
) -> None:
    draw("deep/a.png")
    image = draw("b.png")
    output.mkdir()
    (output / "deep").write_text("a file")
    report = negative().convert_folder(source, output)
    assert report.failures == [(source / "deep" / "a.png", "cannot be written: File exists")]
    assert (output / "deep").read_text() == "a file"
    np.testing.assert_array_equal(read_image(output / "b.png"), 255 - image)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_that_may_not_be_written_is_said(negative: Make, draw: Draw, source: Path, output: Path) -> None:
    draw("a.png")
    output.mkdir(mode=0o555)
    with pytest.raises(UserError, match=r"OUTPUT .*out cannot be written: Permission denied\. 0 images are done"):
        negative().convert_folder(source, output)


def test_a_file_system_that_is_read_only_ends_the_conversion(
    negative: Make, draw: Draw, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        draw(f"{index}.png")

    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(folder_module, "write_image", read_only)
    with pytest.raises(UserError, match="cannot be written: Read-only file system"):
        negative().convert_folder(source, output)
    assert tree(output) == []
