"""What a folder of results remembers: what is skipped, what is made again, and what is never touched."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from translate.conversion import manifest as manifest_module
from translate.conversion.folder import convert_folder, prepare
from translate.conversion.manifest import Manifest, Record, Stamp, result_key
from translate.conversion.plan import Shard
from translate.conversion.translator import Translator
from translate.data.image import read_image, write_image

Make = Callable[..., Translator]
Draw = Callable[..., np.ndarray]


@pytest.fixture
def source(tmp_path: Path, noise: Draw) -> Path:
    """Four images."""
    for name in ("a.png", "b.png", "x/c.png", "x/d.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "in" / name, noise((6, 8, 3)))
    return tmp_path / "in"


def other(translator: Translator) -> Translator:
    """The same with other weights, by its fingerprint."""
    translator.engine.info = replace(translator.engine.info, fingerprint="other")
    return translator


def lines(output: Path, name: str = "done.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / ".translate" / name).read_text().splitlines()]


# --- what is skipped ---


def test_what_is_done_and_unchanged_is_skipped(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    report = negative().convert_folder(source, output, batch_size=3)
    assert (report.converted, report.skipped, report.replaced, report.failed) == (0, 4, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.png")} == before


def test_a_changed_input_is_converted_again(negative: Make, source: Path, output: Path, noise: Draw) -> None:
    negative().convert_folder(source, output)
    image = noise((6, 8, 3))
    write_image(source / "a.png", image)
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped, report.replaced) == (1, 3, 0)
    np.testing.assert_array_equal(read_image(output / "a.png"), 255 - image)


@pytest.mark.parametrize("damage", [b"", b"longer than it was" * 100, None])
def test_an_output_that_is_not_as_it_was_is_made_again(
    negative: Make, source: Path, output: Path, damage: bytes | None
) -> None:
    negative().convert_folder(source, output)
    good = (output / "a.png").read_bytes()
    (output / "a.png").unlink() if damage is None else (output / "a.png").write_bytes(damage)
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped) == (1, 3)
    assert (output / "a.png").read_bytes() == good


def test_another_model_converts_again_and_says_how_many_were_replaced(
    negative: Make, source: Path, output: Path
) -> None:
    negative().convert_folder(source, output)
    (output / "a.png").unlink()
    report = other(negative()).convert_folder(source, output)
    assert (report.converted, report.skipped, report.replaced) == (4, 0, 4)
    assert other(negative()).convert_folder(source, output).skipped == 4


def test_options_that_change_results_convert_again(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    model = Translator(negative().engine, resize="native")
    model.resize = "training"
    found = prepare(model, source, output).survey
    assert (found.new, found.changed, found.done) == (0, 4, 0)
    assert result_key(domain="a", format="png") != result_key(domain="b", format="png")


def test_overwrite_converts_everything_again(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    report = negative().convert_folder(source, output, overwrite=True)
    assert (report.converted, report.skipped, report.replaced) == (4, 0, 0)


# --- what is never touched ---


def test_files_of_somebody_else_are_never_overwritten_without_overwrite(
    negative: Make, source: Path, output: Path
) -> None:
    output.mkdir()
    (output / "a.png").write_text("mine")
    (output / "b.png").symlink_to("nowhere")
    report = negative().convert_folder(source, output)
    assert (report.converted, report.failed) == (2, 2)
    assert report.failures[0] == (
        source / "a.png",
        f"{output / 'a.png'} is there already and was not made by this tool: move it away, or use --overwrite",
    )
    assert (output / "a.png").read_text() == "mine"
    assert (output / "b.png").is_symlink()
    report = negative().convert_folder(source, output, overwrite=True)
    assert (report.converted, report.failed) == (4, 0)
    np.testing.assert_array_equal(read_image(output / "a.png"), 255 - read_image(source / "a.png"))


def test_a_single_image_leaves_what_is_there_alone_and_keeps_no_log(negative: Make, source: Path, output: Path) -> None:
    output.mkdir()
    (output / "a.png").write_text("mine")
    report = negative().convert_folder(source / "a.png", output)
    assert (report.converted, report.failed) == (0, 1)
    assert report.failures[0][1] == f"{output / 'a.png'} is there already: move it away, or use --overwrite"
    assert (output / "a.png").read_text() == "mine"
    assert negative().convert_folder(source / "a.png", output, overwrite=True).converted == 1
    assert [path.name for path in output.iterdir()] == ["a.png"]


def test_results_of_another_input_are_neither_taken_for_done_nor_overwritten(
    negative: Make, source: Path, output: Path, tmp_path: Path
) -> None:
    negative().convert_folder(source, output)
    before = (output / "a.png").read_bytes()
    shutil.copytree(source, tmp_path / "other", copy_function=shutil.copy2)
    report = negative().convert_folder(tmp_path / "other", output)
    assert (report.converted, report.skipped, report.failed) == (0, 0, 4)
    assert f"made from INPUT {source.resolve()}: use another OUTPUT" in report.failures[0][1]
    assert (output / "a.png").read_bytes() == before
    assert negative().convert_folder(tmp_path / "other", output, overwrite=True).converted == 4


def test_looking_writes_nothing(negative: Make, source: Path, output: Path) -> None:
    found = prepare(negative(), source, output).survey
    assert (found.new, found.changed, found.done, found.pending) == (4, 0, 0, 4)
    assert not output.exists()


# --- the log ---


def test_a_line_comes_before_each_output_and_one_after(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    said = lines(output)
    assert len(said) == 8
    for name in ("a.png", "b.png", "x/c.png", "x/d.png"):
        begun, done = (line for line in said if name in line.values())
        stamp = Stamp.of(str(source / name))
        assert begun.keys() == {"begun", "time", "from"}
        assert (done["size"], done["modified"]) == stamp
        assert done["written"] == (output / name).stat().st_size


def test_an_output_that_was_begun_but_not_finished_is_made_again(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    manifest = Manifest(output, source)
    manifest.open(None)
    manifest.begin("a.png")
    manifest.close()
    assert Manifest(output, source).records["a.png"].key is None
    report = negative().convert_folder(source, output)
    assert (report.converted, report.skipped) == (1, 3)


@pytest.mark.parametrize("torn", [b'{"done":"a.png","time":1', b'{"begun"', b"\xff\x00", b"[]", b"7", b'{"done":1}'])
def test_a_torn_last_line_is_ignored_and_joins_no_other(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / ".translate").mkdir()
    log = tmp_path / ".translate" / "done.jsonl"
    log.write_bytes(b'{"begun":"before.png","time":1,"from":"/in"}\n' + torn)
    manifest = Manifest(tmp_path, tmp_path)
    assert set(manifest.records) == {"before.png"}
    manifest.open(None)
    manifest.finish("a.png", key="k", stamp=Stamp(1, 2), written=3)
    manifest.close()
    assert Manifest(tmp_path, tmp_path).records["a.png"][1:4] == ("k", Stamp(1, 2), 3)
    assert torn + b"\n" in log.read_bytes()


def test_of_several_logs_the_latest_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard, key, now in ((Shard(2, 2), "new", 200.0), (None, "old", 100.0)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        manifest = Manifest(tmp_path / str(key), tmp_path)
        manifest.open(shard)
        manifest.finish("a.png", key=key, stamp=Stamp(1, 2), written=3)
        manifest.close()
    (tmp_path / "new" / ".translate" / "done-2-of-2.jsonl").rename(tmp_path / "old/.translate/done-2-of-2.jsonl")
    both = Manifest(tmp_path / "old", tmp_path)
    assert both.records == {"a.png": Record(200.0, "new", Stamp(1, 2), 3, str(tmp_path.resolve()))}
    both.open(None)  # by a machine whose clock is behind
    both.begin("a.png")
    both.close()
    assert Manifest(tmp_path / "old", tmp_path).records["a.png"].key is None


def test_a_log_of_many_repetitions_is_shortened_when_nobody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "SHORT", 10)
    for shard in (None, Shard(1, 2)):
        manifest = Manifest(tmp_path, tmp_path)
        manifest.open(shard)
        for _ in range(5):
            manifest.begin("a.png")
            manifest.finish("a.png", key="k", stamp=Stamp(1, 2), written=3)
        manifest.begin("b.png")
        manifest.close()
    before = Manifest(tmp_path, tmp_path).records
    Manifest(tmp_path, tmp_path).open(None)
    assert len(lines(tmp_path)) == 11  # somebody may be at work
    for log in (tmp_path / ".translate").iterdir():
        os.utime(log, (1, 1))
    Manifest(tmp_path, tmp_path).open(Shard(1, 2))
    assert len(lines(tmp_path)) == 11  # with shards, never
    Manifest(tmp_path, tmp_path).open(None)
    assert len(lines(tmp_path)) == 2
    assert [log.name for log in (tmp_path / ".translate").iterdir()] == ["done.jsonl"]
    assert Manifest(tmp_path, tmp_path).records == before


# --- shards ---


def test_shards_together_do_what_one_run_does(negative: Make, source: Path, output: Path, tmp_path: Path) -> None:
    (source / "bad.png").touch()
    whole = tmp_path / "whole"
    negative().convert_folder(source, whole)
    reports = [convert_folder(negative(), source, output, shard=(index, 3)) for index in (3, 1, 2)]
    assert sum(report.converted for report in reports) == 4
    assert sum(report.failed for report in reports) == 1
    assert all(report.total == report.converted + report.failed for report in reports)
    for path in whole.rglob("*.png"):
        assert (output / path.relative_to(whole)).read_bytes() == path.read_bytes()
    [failures] = output.glob("failures-*-of-3.jsonl")
    assert json.loads(failures.read_text())["input"] == str(source / "bad.png")
    again = negative().convert_folder(source, output)  # all logs are read
    assert (again.converted, again.skipped, again.failed) == (0, 4, 1)


def test_what_is_done_changes_no_shard(negative: Make, source: Path, output: Path) -> None:
    convert_folder(negative(), source / "a.png", output / "elsewhere")
    first = {job.name for job in prepare(negative(), source, output, shard="1/2").survey.jobs}
    convert_folder(negative(), source, output, shard="2/2")
    assert {job.name for job in prepare(negative(), source, output, shard="1/2").survey.jobs} == first
    assert prepare(negative(), source, output, shard="2/2").survey.jobs == []


# --- what killed runs left ---


def test_leftovers_of_killed_runs_are_removed(negative: Make, source: Path, output: Path) -> None:
    negative().convert_folder(source, output)
    gone, running = 2**22 + 1, os.getppid()  # no process has a number beyond the first
    names = {
        f".{'0' * 16}.partial-{gone}-1": True,
        f".{'1' * 16}.partial-{running}-1": False,
        f".{'2' * 16}.partial-{running}-2": True,  # but old
        ".mine.partial-1-1": False,
    }
    for name in names:
        (output / "x" / name).touch()
    os.utime(output / "x" / f".{'2' * 16}.partial-{running}-2", (time.time() - 400,) * 2)
    negative().convert_folder(source, output)
    assert {name: not (output / "x" / name).exists() for name in names} == names


def test_with_shards_leftovers_may_be_of_other_machines(negative: Make, source: Path, output: Path) -> None:
    young, old = (output / f".{digit * 16}.partial-{2**22 + 1}-1" for digit in "01")
    output.mkdir()
    for path, age in ((young, 3000), (old, 4000)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    for index in (1, 2):
        negative().convert_folder(source, output, shard=(index, 2))
    assert (young.exists(), old.exists()) == (True, False)
