"""What is converted into what: names, domains, collisions and shards, before anything is read."""

import os
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from translate.conversion import plan as plan_module
from translate.conversion.plan import Plan, Shard, find_inputs, make_plan
from translate.errors import UserError


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def outputs(plan: Plan) -> dict[str, str]:
    """The output of every input, of a model without domains."""
    return {name: plan.output_of(name, None) for name in plan.names()}


# --- finding ---


def test_images_and_videos_are_found_to_any_depth_and_hidden_ones_left_out(source: Path) -> None:
    touch(source, "b.PNG", "a.jpeg", "x/y z/ü.tif", "x/clip.mp4", "v1.5/n.npy")
    touch(source, ".hidden.png", ".git/a.png", "__MACOSX/a.png", "x/readme.txt", "x/no extension")
    tree, problems = find_inputs(source)
    assert tree == {"": ["a.jpeg", "b.PNG"], "v1.5": ["n.npy"], "x": ["clip.mp4"], "x/y z": ["ü.tif"]}
    assert problems == []


def test_links_that_lead_round_in_circles_end(source: Path, tmp_path: Path) -> None:
    touch(source, "a/1.png")
    touch(tmp_path / "elsewhere", "2.png")
    (source / "a" / "up").symlink_to(source)
    (source / "a" / "self").symlink_to("self")
    (source / "0 first by name").symlink_to(source / "a")
    (source / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(source)
    assert find_inputs(source) == ({"a": ["1.png"], "other": ["2.png"]}, [])


def test_linked_files_are_images_as_any(source: Path, tmp_path: Path) -> None:
    touch(tmp_path, "original.png")
    (source / "a.png").symlink_to(tmp_path / "original.png")
    assert find_inputs(source)[0] == {"": ["a.png"]}


def test_folders_named_like_images_are_folders_and_pipes_are_problems(source: Path) -> None:
    touch(source, "x.png/a.png")
    os.mkfifo(source / "pipe.png")
    assert find_inputs(source) == ({"x.png": ["a.png"]}, [("pipe.png", "is no regular file")])


def test_a_folder_that_cannot_be_opened_is_a_problem(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(source, "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_inputs(source) == ({"": ["a.png"]}, [("locked", "cannot be opened: Permission denied")])


def test_nothing_to_convert(source: Path, output: Path) -> None:
    with pytest.raises(UserError, match=r"INPUT .*in holds no images or videos \(looked for \.avi, \.bmp"):
        make_plan(source, output, channels=3)
    with pytest.raises(UserError, match=r"INPUT .*nowhere does not exist"):
        make_plan(source / "nowhere", output, channels=3)
    touch(source, "a.txt")
    with pytest.raises(UserError, match=r"a\.txt is no image or video by its extension: \.avi"):
        make_plan(source / "a.txt", output, channels=3)


def test_many_files_are_planned_in_no_time(source: Path, output: Path) -> None:
    for index in range(3000):
        (source / f"{index}.jpg").touch()
    begun = time.process_time()
    assert make_plan(source, output, channels=3).count == 3000
    assert time.process_time() - begun < 0.3  # a tenth of it in fact


# --- names ---


@pytest.mark.parametrize(
    ("format", "channels", "expected"),
    [
        ("keep", 3, {"a.jpeg": "a.jpeg", "B.PGM": "B.ppm", "c.d.png": "c.d.png", "m.MOV": "m.MOV", "w.webp": "w.webp"}),
        ("keep", 1, {"a.jpeg": "a.jpeg", "B.PGM": "B.PGM", "c.d.png": "c.d.png", "m.MOV": "m.MOV", "w.webp": "w.webp"}),
        ("keep", 5, {"a.jpeg": "a.tif", "B.PGM": "B.tif", "c.d.png": "c.d.tif", "m.MOV": "m.MOV", "w.webp": "w.tif"}),
        ("jpeg", 3, {"a.jpeg": "a.jpeg", "B.PGM": "B.jpg", "c.d.png": "c.d.jpg", "m.MOV": "m.MOV", "w.webp": "w.jpg"}),
        ("tiff", 5, {"a.jpeg": "a.tif", "B.PGM": "B.tif", "c.d.png": "c.d.tif", "m.MOV": "m.MOV", "w.webp": "w.tif"}),
    ],
)
def test_names_of_outputs_are_known_beforehand(
    source: Path, output: Path, format: Any, channels: int, expected: dict[str, str]
) -> None:
    touch(source, *expected)
    assert outputs(make_plan(source, output, format=format, channels=channels)) == expected


def test_unknown_formats_are_refused(source: Path, output: Path) -> None:
    with pytest.raises(UserError, match="--format gif is not one of keep, png, jpeg, webp, tiff"):
        make_plan(source, output, format="gif", channels=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("format", "channels"), [("png", 5), ("jpeg", 5), ("webp", 16), ("jpeg", 2)])
def test_a_format_that_holds_no_such_channels_is_refused(
    source: Path, output: Path, format: Any, channels: int
) -> None:
    touch(source, "a.png")
    with pytest.raises(UserError, match=f"--format {format} cannot hold the {channels} channels .*use --format tiff"):
        make_plan(source, output, format=format, channels=channels)


def test_domains_get_a_folder_each(source: Path, output: Path) -> None:
    touch(source, "x/a.png")
    plan = make_plan(source, output, channels=3, domains=["red", "a/b"])
    assert [plan.output_of("x/a.png", domain) for domain in ("red", "a/b")] == ["red/x/a.png", "a_b/x/a.png"]
    assert make_plan(source, output, channels=3, domains=["red"]).output_of("x/a.png", "red") == "x/a.png"


# --- collisions ---


def test_two_inputs_of_one_output_are_named(source: Path, output: Path) -> None:
    touch(source, "ok.png", "x/a.png", "x/a.bmp", "b.pgm", "b.bmp")
    with pytest.raises(UserError) as caught:
        make_plan(source, output, format="jpeg", channels=3)
    assert str(caught.value) == (
        f"{source}/b.bmp and {source}/b.pgm would both become {output}/b.jpg\n"
        f"{source}/x/a.bmp and {source}/x/a.png would both become {output}/x/a.jpg: "
        "use --format keep, or rename one of them"
    )
    assert not output.exists()


def test_of_many_collisions_ten_are_named(source: Path, output: Path) -> None:
    touch(source, *(f"{index}.{suffix}" for index in range(13) for suffix in ("png", "bmp")))
    with pytest.raises(UserError, match=r"(?s)and 3 more: use --format keep") as caught:
        make_plan(source, output, format="png", channels=3)
    assert str(caught.value).count("would both become") == 10


def test_an_extension_that_has_to_change_overwrites_no_other_result(source: Path, output: Path) -> None:
    touch(source, "a.pgm", "a.ppm")
    with pytest.raises(UserError, match=r"a\.pgm and .*a\.ppm would both become .*a\.ppm"):
        make_plan(source, output, channels=3)


def test_an_output_may_not_be_a_folder_of_another(source: Path, output: Path) -> None:
    touch(source, "x.bmp", "x.png/a.bmp")
    with pytest.raises(UserError, match=r"x\.bmp and .*in/x\.png would both become .*out/x\.png"):
        make_plan(source, output, format="png", channels=3)
    assert outputs(make_plan(source, output, channels=3)) == {"x.bmp": "x.bmp", "x.png/a.bmp": "x.png/a.bmp"}


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "A.png"),
        ("x/a.png", "X/A.PNG"),
        ("é.png", unicodedata.normalize("NFD", "é.png")),
        ("straße.png", "STRASSE.png"),
    ],
)
def test_names_that_differ_in_case_alone_need_a_disk_that_tells_them_apart(
    source: Path, output: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(source, *names)
    assert make_plan(source, output, channels=3).count == 2
    assert list(output.parent.iterdir()) == [source]  # nothing is left of the probe
    monkeypatch.setattr(plan_module, "_tells_apart", lambda output: False)
    with pytest.raises(UserError, match="the disk of OUTPUT does not tell the names apart: rename one of them"):
        make_plan(source, output, channels=3)


def test_the_disk_is_asked_only_where_names_are_alike(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(source, "a.png", "b.png", "x/a.png", "Y/1.png", "y/2.png")
    monkeypatch.setattr(plan_module, "_tells_apart", None)
    assert make_plan(source, output, channels=3).count == 5


def test_a_folder_called_as_the_list_of_failures_is_refused(source: Path, output: Path) -> None:
    touch(source, "failures.jsonl/a.png")
    with pytest.raises(UserError, match=r"holds a folder failures\.jsonl, which OUTPUT needs as a file: rename it"):
        make_plan(source, output, channels=3)


# --- INPUT and OUTPUT ---


def test_output_inside_input_is_refused(source: Path) -> None:
    touch(source, "a.png")
    (source.parent / "link").symlink_to(source)
    for inside in (source, source / "out", source / "x" / "y", source / "x" / "..", source.parent / "link" / "out"):
        with pytest.raises(UserError, match=r"OUTPUT .* lies in INPUT .*: use another folder"):
            make_plan(source, inside, channels=3)


def test_input_inside_output_is_refused_where_outputs_could_become_inputs(source: Path) -> None:
    touch(source, "a.png")
    assert make_plan(source, source.parent, channels=3).count == 1
    touch(source, "in/b.png")
    with pytest.raises(UserError, match=r"INPUT .*in lies in OUTPUT .* holds a folder in itself"):
        make_plan(source, source.parent, channels=3)


def test_a_folder_beside_with_a_longer_name_is_not_inside(source: Path) -> None:
    touch(source, "a.png")
    assert make_plan(source, source.with_name("in 2"), channels=3).output == source.with_name("in 2")


def test_a_file_as_output_of_a_folder_is_refused(source: Path, output: Path) -> None:
    touch(source, "a.png")
    output.write_text("important")
    with pytest.raises(UserError, match=r"OUTPUT .*out is a file, but INPUT .* is a folder"):
        make_plan(source, output, channels=3)


# --- one image ---


@pytest.mark.parametrize(
    ("given", "format", "expected"),
    [
        ("b.tif", "keep", "b.tif"),
        ("new/b.PNG", "keep", "new/b.PNG"),
        ("b.jpeg", "jpeg", "b.jpeg"),
        ("folder", "keep", "folder/a.png"),
        ("folder", "webp", "folder/a.webp"),
        ("v1.5", "keep", "v1.5/a.png"),
        ("there.png", "keep", "there.png/a.png"),
    ],
)
def test_one_image_goes_into_a_file_or_a_folder(source: Path, given: str, format: Any, expected: str) -> None:
    touch(source, "a.png")
    (source.parent / "there.png").mkdir()
    plan = make_plan(source / "a.png", source.parent / given, format=format, channels=3)
    assert plan.output / plan.output_of("a.png", None) == source.parent / expected


@pytest.mark.parametrize(
    ("given", "format", "channels", "message"),
    [
        ("b.jpg", "png", 3, "OUTPUT .* contradicts --format png: leave one of them out"),
        ("b.pgm", "keep", 3, r"\.pgm files cannot hold 3 channels: name it \.tif"),
        ("b.mp4", "keep", 3, "OUTPUT .* cannot hold INPUT .*, which is an image: give another extension"),
        ("file", "keep", 3, "is a file without the extension of an image"),
    ],
)
def test_outputs_that_cannot_be_are_refused(source: Path, given: str, format: Any, channels: int, message: str) -> None:
    touch(source, "a.png")
    touch(source.parent, "file")
    with pytest.raises(UserError, match=message):
        make_plan(source / "a.png", source.parent / given, format=format, channels=channels)


@pytest.mark.parametrize("given", ["in/a.png", "in", "link.png"])
def test_an_image_never_overwrites_itself(source: Path, given: str) -> None:
    touch(source, "a.png")
    (source.parent / "link.png").symlink_to(source / "a.png")
    with pytest.raises(UserError, match="is INPUT itself: give another name or folder"):
        make_plan(source / "a.png", source.parent / given, channels=3)


# --- shards ---


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_shards_cover_everything_once_and_evenly(count: int) -> None:
    names = [f"{index // 100:02}/image {index:06}.png" for index in range(6400)]
    parts = [{name for name in names if name in Shard(index, count)} for index in range(1, count + 1)]
    assert Counter(name for part in parts for name in part) == Counter(names)
    assert max(map(len, parts)) < 1.5 * 6400 / count


def test_the_shard_of_a_name_never_changes() -> None:
    assert [next(i for i in (1, 2, 3) if name in Shard(i, 3)) for name in ("a.png", "b.png", "日本/c.png")] == [3, 1, 3]


@pytest.mark.parametrize("given", ["2/3", (2, 3), Shard(2, 3)])
def test_shards_are_given_as_text_or_numbers(given: Any) -> None:
    assert Shard.parse(given) == Shard(2, 3)


@pytest.mark.parametrize("given", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", (0, 3), (1, 2, 3), ""])
def test_what_is_no_shard_is_refused(given: Any) -> None:
    with pytest.raises(UserError, match="is not I/N with I from 1 to N, as 1/4 for the first of four parts"):
        Shard.parse(given)
