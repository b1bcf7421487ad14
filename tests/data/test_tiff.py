"""TIFF in every layout: read as a whole, by region and by page; written in strips and pages."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from translate import memory
from translate.data import tiff
from translate.data.image import (
    TYPES,
    Header,
    ImageError,
    iterate_pages,
    read_header,
    read_image,
    read_metadata,
    write_image,
    write_pages,
)
from translate.data.metadata import Metadata
from translate.data.tiff import TiffReader, write_tiff_strips

Noise = Callable[..., np.ndarray]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "big-endian": {"rowsperstrip": 7, "byteorder": ">"},
    "bigtiff": {"tile": (16, 16), "bigtiff": True},
}
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflate": {"compression": "zlib"},
    "lzw": {"compression": "lzw", "predictor": True},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
}
REGIONS = [(0, 37, 0, 50), (3, 11, 5, 40), (16, 32, 32, 50), (36, 37, 49, 50), (20, 20, 0, 9)]


def save(path: Path, image: np.ndarray, *, planes: str = "contig", **options: Any) -> None:
    channels = image.shape[2]
    if channels == 1:
        stored = image[..., 0]
    else:
        stored = np.moveaxis(image, -1, 0) if planes == "separate" else image
        options["planarconfig"] = planes
    tifffile.imwrite(path, stored, photometric="rgb" if channels in (3, 4) else "minisblack", metadata=None, **options)


def check_regions(path: Path) -> None:
    whole = read_image(path)
    with TiffReader(path) as reader:
        assert reader.shape == whole.shape
        assert reader.dtype == whole.dtype
        for top, bottom, left, right in REGIONS:
            found = reader[top:bottom, left:right]
            assert found.dtype == whole.dtype
            np.testing.assert_array_equal(found, whole[top:bottom, left:right])


# --- by region ---


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_regions_equal_the_whole_image(
    noise: Noise, tmp_path: Path, planes: str, layout: str, compression: str
) -> None:
    for channels, dtype in ((1, "uint16"), (2, "uint8"), (3, "uint8"), (4, "uint16"), (5, "uint8")):
        image = noise((37, 50, channels), dtype)
        save(tmp_path / "a.tif", image, planes=planes, **LAYOUTS[layout], **COMPRESSIONS[compression])
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
        check_regions(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["plain", "deflate"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_regions_of_floats_are_single_precision(noise: Noise, tmp_path: Path, dtype: str, compression: str) -> None:
    for layout in LAYOUTS.values():
        save(tmp_path / "a.tif", noise((37, 50, 3), "float32").astype(dtype), **layout, **COMPRESSIONS[compression])
        assert read_image(tmp_path / "a.tif").dtype == np.float32
        check_regions(tmp_path / "a.tif")


def test_regions_of_jpeg_in_tiff_equal_the_whole_image(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:48, :64]
    image = np.stack([rows * 3, columns * 2, rows + columns], axis=-1).astype(np.uint8)
    for options in ({"tile": (16, 16)}, {"rowsperstrip": 16}, {}):
        save(tmp_path / "a.tif", image, compression="jpeg", compressionargs={"level": 95}, **options)
        check_regions(tmp_path / "a.tif")
        np.testing.assert_allclose(read_image(tmp_path / "a.tif").astype(int), image, atol=12)


def test_whether_a_region_is_cheaper_than_the_image_is_told(noise: Noise, tmp_path: Path) -> None:
    image = noise((37, 50, 3))
    cases = [({}, True), ({"compression": "zlib"}, False), ({"compression": "zlib", "rowsperstrip": 7}, True)]
    for options, expected in cases:
        save(tmp_path / "a.tif", image, **({"rowsperstrip": 37} | options))
        with TiffReader(tmp_path / "a.tif") as reader:
            assert reader.is_random_access is expected


@pytest.mark.parametrize(("cache", "times"), [(tiff.CACHE_BYTES, 8), (0, 16)])
def test_a_tile_is_decoded_once_for_neighbouring_regions(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: int, times: int
) -> None:
    save(tmp_path / "a.tif", noise((64, 64, 3)), tile=(16, 16), compression="zlib")
    monkeypatch.setattr(tiff, "CACHE_BYTES", cache)
    with TiffReader(tmp_path / "a.tif") as reader:
        read, decode = [], reader._page.decode
        counting = lambda data, index, **options: read.append(index) or decode(data, index, **options)  # noqa: E731
        monkeypatch.setitem(reader._page.__dict__, "decode", counting)
        reader[0:20, 0:64]
        reader[4:20, 0:64]
    assert len(read) == times


def test_several_threads_read_one_file(noise: Noise, tmp_path: Path) -> None:
    image = noise((128, 128, 3))
    save(tmp_path / "a.tif", image, tile=(16, 16), compression="zlib")
    with TiffReader(tmp_path / "a.tif") as reader, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda top: reader[top : top + 8, 3:125], range(0, 128, 8)))
    np.testing.assert_array_equal(np.concatenate(parts), image[:, 3:125])


def test_tiles_left_out_of_the_file_are_black(noise: Noise, tmp_path: Path) -> None:
    tile = noise((16, 16))
    tiles = iter([tile, None, None, tile])
    tifffile.imwrite(tmp_path / "a.tif", tiles, shape=(32, 32), dtype="uint8", tile=(16, 16), compression="zlib")
    with TiffReader(tmp_path / "a.tif") as reader:
        expected = np.block([[tile, np.zeros_like(tile)], [np.zeros_like(tile), tile]])
        np.testing.assert_array_equal(reader[0:32, 0:32][..., 0], expected)


@pytest.mark.parametrize("mode", ["P", "1", "CMYK"])
def test_what_needs_interpretation_is_read_as_a_whole(noise: Noise, tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise((20, 30, 3)))
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="cannot be read by region: it"):
        TiffReader(tmp_path / "a.tif")
    found = read_image(tmp_path / "a.tif")
    if mode == "CMYK":
        np.testing.assert_allclose(found.astype(int), np.asarray(image.convert("RGB")), atol=1)
    else:
        expected = np.asarray(image.convert("RGB" if mode == "P" else "L")).reshape(found.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_turned_tiff_stands_upright(noise: Noise, tmp_path: Path, channels: int) -> None:
    image = noise((20, 30, channels), "uint16")
    save(tmp_path / "a.tif", image, extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.rot90(image, -1))
    assert read_header(tmp_path / "a.tif") == Header(30, 20, channels, "uint16")
    with pytest.raises(ImageError, match="it is turned"):
        TiffReader(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_0_is_white_it_becomes_white(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1]], dtype), photometric="miniswhite")
    full = np.iinfo(dtype).max
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], [[full, full - 1]])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "uint64"])
def test_other_numbers_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), dtype))
    with pytest.raises(
        ImageError, match=f"has {dtype} pixels|cannot be decoded" if dtype == "uint64" else f"has {dtype} "
    ):
        read_image(tmp_path / "a.tif")
    assert read_header(tmp_path / "a.tif").dtype == dtype


def test_files_that_cannot_be_read_by_region_say_why(noise: Noise, tmp_path: Path) -> None:
    save(tmp_path / "a.tif", noise((64, 64, 3)), tile=(16, 16), compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(ImageError, match="has no page 1: its pages are 0 to 0"):
        TiffReader(tmp_path / "a.tif", 1)
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="truncated"), TiffReader(tmp_path / "cut.tif") as reader:
        reader[0:64, 0:64]
    (tmp_path / "zeros.tif").write_bytes(content[:-2000] + bytes(2000))
    with pytest.raises(ImageError, match="damaged"), TiffReader(tmp_path / "zeros.tif") as reader:
        reader[0:64, 0:64]
    (tmp_path / "other.tif").write_bytes(b"no TIFF")
    with pytest.raises(ImageError, match="not a TIFF"):
        TiffReader(tmp_path / "other.tif")
    with pytest.raises(ImageError, match="cannot be opened"):
        TiffReader(tmp_path / "missing.tif")


def test_too_large_for_the_memory_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**27)
    for options, remedy in (
        ({"tile": (256, 256)}, "`translate convert` reads it by region"),
        ({"rowsperstrip": 10000}, "save it as a TIFF in tiles or strips"),
    ):
        save(tmp_path / "a.tif", np.zeros((10000, 10000, 1), np.uint8), compression="zlib", **options)
        with pytest.raises(ImageError, match=rf"is 10000 x 10000 pixels, which takes 0.2 GiB .*{remedy}"):
            read_image(tmp_path / "a.tif")


def test_without_the_extra_plain_files_are_read_and_others_name_it(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise((5, 7, 3))
    save(tmp_path / "five.tif", noise((5, 7, 5)))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    write_image(tmp_path / "a.tif", image, Metadata(PROFILE, (300, 300)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    assert read_metadata((tmp_path / "a.tif").read_bytes()).icc_profile == PROFILE
    for work in (
        lambda: read_image(tmp_path / "five.tif"),
        lambda: write_image(tmp_path / "b.tif", noise((5, 7, 5))),
        lambda: TiffReader(tmp_path / "a.tif"),
    ):
        with pytest.raises(ImageError, match=r"needs the TIFF extra: pip install 'translate-images\[tiff\]'"):
            work()


# --- strips ---


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_strips_of_any_height_become_one_image(noise: Noise, tmp_path: Path, channels: int, dtype: str) -> None:
    image = noise((600, 300, channels), dtype)
    strips = np.split(image, [1, 200, 256, 257, 599])
    write_tiff_strips(tmp_path / "a.tif", iter(strips), image.shape, dtype, Metadata(PROFILE, (300, 150)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)
    with TiffReader(tmp_path / "a.tif") as reader:
        np.testing.assert_array_equal(reader[250:260, 100:290], image[250:260, 100:290])
        assert reader.metadata == Metadata(PROFILE if channels in (3, 4) else None, (300, 150))
        assert reader.is_random_access
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert page.is_tiled
        assert page.compression == 8
        assert not file.is_bigtiff
        assert tuple(page.extrasamples) == {2: (2,), 4: (2,), 5: (0,) * 4}.get(channels, ())


def test_a_large_image_becomes_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_LIMIT", 1000)
    for rows, is_big in ((10, False), (20, True)):
        image = np.full((rows, 10, 1), 7, np.uint16)
        write_tiff_strips(tmp_path / "a.tif", [image] * 5, (5 * rows, 10, 1), "uint16")
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.is_bigtiff is is_big
        assert (read_image(tmp_path / "a.tif") == 7).all()


def test_memory_is_bounded_by_the_strip(tmp_path: Path) -> None:
    shape = (8192, 2048, 3)
    tracemalloc.start()
    write_tiff_strips(tmp_path / "a.tif", (np.full((64, *shape[1:]), i, np.uint8) for i in range(128)), shape, "uint8")
    with TiffReader(tmp_path / "a.tif") as reader:
        assert reader[8128:8129, 5:6].tolist() == [[[127] * 3]]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50331648 / 5  # of what the image takes


@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ([(5, 8, 3)], "have 5 rows in all, not 10"),
        ([(5, 8, 3), (6, 8, 3)], r"\(6, 8, 3\) does not belong into uint8 \(10, 8, 3\)"),
        ([(10, 8, 3), (1, 8, 3)], "does not belong"),
        ([(10, 7, 3)], "does not belong"),
    ],
)
def test_strips_of_another_shape_leave_no_file(tmp_path: Path, strips: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_tiff_strips(tmp_path / "a.tif", (np.zeros(shape, np.uint8) for shape in strips), (10, 8, 3), "uint8")
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_while_strips_come_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("old")

    def strips() -> Iterator[np.ndarray]:
        yield np.zeros((300, 8, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tiff_strips(tmp_path / "a.tif", strips(), (600, 8, 3), "uint8")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_text() == "old"


# --- pages ---


def test_pages_of_any_shape_are_written_and_read(noise: Noise, tmp_path: Path) -> None:
    pages = [noise((5, 7, 3)), noise((8, 6, 1), "uint16"), noise((4, 4, 5), "float32"), noise((3, 9, 4))]
    write_pages(tmp_path / "a.tif", pages, Metadata(PROFILE, (300, 150)))
    assert read_header(tmp_path / "a.tif") == Header(5, 7, 3, "uint8", pages=4)
    for page, expected in zip(iterate_pages(tmp_path / "a.tif"), pages, strict=True):
        assert page.dtype == expected.dtype
        np.testing.assert_array_equal(page, expected)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pages[0])
    for number, expected in enumerate(pages):
        with TiffReader(tmp_path / "a.tif", number) as reader:
            assert (reader.page, reader.pages) == (number, 4)
            np.testing.assert_array_equal(reader[1:3, 2:4], expected[1:3, 2:4])
    assert read_metadata((tmp_path / "a.tif").read_bytes()) == Metadata(PROFILE, (300, 150))


def test_pages_may_come_one_after_the_other(noise: Noise, tmp_path: Path) -> None:
    pages = [noise((5, 7, 3)) for _ in range(3)]
    for count, is_big in ((3, False), (None, True)):  # of an unknown number, any may come
        write_pages(tmp_path / "a.tif", iter(pages), count=count)
        np.testing.assert_array_equal(list(iterate_pages(tmp_path / "a.tif")), pages)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.is_bigtiff is is_big


@pytest.mark.parametrize("options", [{"compression": "tiff_lzw"}, {}])
@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB", "RGBA"])
def test_pages_of_other_programs_are_read(noise: Noise, tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    pages = [Image.fromarray(noise((6, 9, 3))) for _ in range(3)]
    pages = [page.quantize(16) if mode == "P" else page.convert(mode) for page in pages]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], **options)
    found = list(iterate_pages(tmp_path / "a.tif"))
    expected = [np.asarray(page.convert({"P": "RGB", "1": "L"}.get(mode, mode))).reshape(6, 9, -1) for page in pages]
    np.testing.assert_array_equal(found, expected)


def test_thumbnails_and_smaller_copies_are_no_pages(noise: Noise, tmp_path: Path) -> None:
    first, second, small = noise((40, 40, 3)), noise((40, 40, 3)), noise((10, 10, 3))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
        file.write(first, photometric="rgb", subifds=1, metadata=None)
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)  # goes below the first
        file.write(second, photometric="rgb", metadata=None)
    assert read_header(tmp_path / "a.tif").pages == 2
    np.testing.assert_array_equal(list(iterate_pages(tmp_path / "a.tif")), [first, second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), first)


def test_other_formats_hold_one_page(noise: Noise, tmp_path: Path) -> None:
    image = noise((5, 7, 3))
    write_pages(tmp_path / "a.png", [image])
    np.testing.assert_array_equal(list(iterate_pages(tmp_path / "a.png")), [image])
    with pytest.raises(ImageError, match=r"\.png files cannot hold several pages; use \.tif"):
        write_pages(tmp_path / "b.png", [image, image])
    with pytest.raises(ImageError, match="no page"):
        write_pages(tmp_path / "b.tif", [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
