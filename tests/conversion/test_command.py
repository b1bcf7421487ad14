"""`translate convert` as a person uses it: options, summaries, exit codes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate import printing
from translate.conversion.report import Report
from translate.conversion.translator import Translator
from translate.data.image import ImageError, write_image

Make = Callable[..., Translator]
Draw = Callable[..., np.ndarray]
Run = Callable[..., Any]


@pytest.fixture
def source(tmp_path: Path, noise: Draw) -> Path:
    """Three images."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}.png", noise((6, 8, 3)))
    return tmp_path / "in"


@pytest.fixture
def asked() -> dict[str, Any]:
    """The options that the model was last loaded with."""
    return {}


@pytest.fixture
def convert(command: Run, negative: Make, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`translate convert MODEL ARGUMENTS` with negatives as the model."""
    model = negative()

    def load(checkpoint: Path, **options: Any) -> Translator:
        asked.update(options)
        return model

    monkeypatch.setattr("translate.conversion.translator.load_translator", load)
    return lambda *arguments: command("convert", "MODEL", *arguments)


def test_the_summary_counts_and_names_what_failed(convert: Run, source: Path, output: Path) -> None:
    (source / "bad [b].png").touch()
    ran = convert(source, output)
    assert ran.code == 1
    assert f"3 converted, 0 skipped, 1 failed: {output}" in ran.out
    assert f"  {source / 'bad [b].png'}: is empty" in ran.out
    assert "images/s" in ran.out
    again = convert(source, output)
    assert "0 converted, 3 skipped, 1 failed" in again.out
    assert "Skipped images were in OUTPUT already; --overwrite converts them again." in again.out
    assert "3 converted, 0 skipped, 1 failed" in convert(source, output, "--overwrite").out


def test_the_summary_says_what_another_model_replaced(
    convert: Run, source: Path, output: Path, negative: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(source, output)
    other = negative()
    other.engine.info = replace(other.engine.info, fingerprint="other")
    monkeypatch.setattr("translate.conversion.translator.load_translator", lambda *_, **__: other)
    dry = convert(source, output, "--dry-run")
    assert dry.out.splitlines()[-1] == "3 to convert (0 new, 3 changed), 0 in OUTPUT already"
    ran = convert(source, output)
    assert "3 converted, 0 skipped, 0 failed" in ran.out
    assert "3 of them replaced results of another model or other options." in ran.out


def test_json_is_all_there_is_on_the_standard_output(convert: Run, source: Path, output: Path) -> None:
    (source / "bad.png").touch()
    ran = convert(source, output, "--json", "--compare")
    found = json.loads(ran.out)
    assert ran.code == 1
    assert ran.err == ""
    assert found.pop("seconds") > 0
    assert found.pop("images_per_second") > 0
    assert found == {
        "output": str(output),
        "total": 4,
        "converted": 3,
        "skipped": 0,
        "replaced": 0,
        "failed": 1,
        "stopped": False,
        "comparison": str(output / "comparison.png"),
        "failures": [{"input": str(source / "bad.png"), "reason": "is empty"}],
    }


def test_a_dry_run_counts_by_reason(convert: Run, source: Path, output: Path, noise: Draw) -> None:
    convert(source, output)
    write_image(source / "a.png", noise((7, 9, 3)))
    write_image(source / "new.png", noise((7, 9, 3)))
    write_image(source / "d.png", noise((7, 9, 3)))
    (output / "d.png").write_text("mine")
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    ran = convert(source, output, "--dry-run")
    assert ran.out.splitlines() == [
        f"{source / 'a.png'} -> {output / 'a.png'}",
        f"{source / 'new.png'} -> {output / 'new.png'}",
        "2 to convert (1 new, 1 changed), 2 in OUTPUT already",
        "1 in OUTPUT already were made by something else: --overwrite replaces them",
    ]
    counts = {"dry_run": True, "to_convert": 2, "new": 1, "changed": 1, "done": 2, "foreign": 1}
    assert json.loads(convert(source, output, "--dry-run", "--json").out) == counts
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_shards_from_the_command_line(convert: Run, source: Path, output: Path) -> None:
    found = [json.loads(convert(source, output, "--json", "--shard", f"{index}/2").out) for index in (1, 2)]
    assert sum(each["converted"] for each in found) == 3
    assert len(list(output.glob("*.png"))) == 3


def test_the_options_of_the_model_arrive(convert: Run, source: Path, output: Path, asked: dict[str, Any]) -> None:
    convert(source, output)
    assert (asked["tile"], asked["tile_statistics"], asked["backend"]) == ("auto", None, None)
    words = ["--tile", "512", "--tile-statistics", "sampled", "--backend", "openvino", "--resize", "training"]
    convert(source, output, *words, "--dry-run")
    assert (asked["tile"], asked["tile_statistics"]) == (512, "sampled")
    assert (asked["backend"], asked["resize"]) == ("openvino", "training")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "big"], "--tile big is not auto, off, or a number of pixels"),
        (["--tile-statistics", "some"], "--tile-statistics='some' is not one of exact, sampled"),
        (["--backend", "tflite"], "--backend='tflite' is not one of torch, onnxruntime, openvino"),
        (["--resize", "half"], "--resize='half' is not one of native, training"),
        (["--format", "gif"], "--format gif is not one of keep, png, jpeg, webp, tiff"),
        (["--shard", "3/2"], "--shard 3/2 is not I/N with I from 1 to N"),
    ],
)
def test_bad_values_are_refused_with_the_choices(
    convert: Run, source: Path, output: Path, words: list[str], message: str
) -> None:
    ran = convert(source, output, *words)
    assert ran.code == 2
    assert message in ran.err
    assert not output.exists()


def test_names_that_no_terminal_shows_are_escaped(convert: Run, source: Path, output: Path) -> None:
    (source / "bad \udcff.png").touch()
    assert r"bad \udcff.png: is empty" in convert(source, output).out
    assert r"bad \udcff.png -> " in convert(source, output, "--dry-run").out


def test_without_a_terminal_a_line_tells_the_progress_from_time_to_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    report = Report(total=500, converted=100, skipped=20, failed=5, finished=125, seconds=10.0)
    for plain in (True, False):
        with printing.conversion_progress(plain=plain) as progress:
            for second in (10, 29, 31, 40, 62):
                now[0] = second + 1000 * (not plain)
                progress(report)
    # 105 outputs took 10 seconds, 375 are left.
    line = "125 of 500 10.0 images/s, 20 skipped, 5 failed, 0:00:36 left\n"
    assert capsys.readouterr().err == 2 * line


def test_videos_are_converted_beside_images(
    convert: Run, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(translate_batch: Any, input_path: Path, output_path: Path, *, batch_size: int, progress: Any) -> int:
        if input_path.stem == "broken":
            raise ImageError("is damaged")
        frame = np.full((4, 4, 3), 100, np.uint8)
        output_path.write_bytes(translate_batch([frame])[0].tobytes())
        progress(1, 1)
        return batch_size

    monkeypatch.setattr("translate.conversion.video.convert_video", fake)
    (source / "clip.MP4").write_bytes(b"frames")
    (source / "broken.mkv").write_bytes(b"frames")
    ran = convert(source, output, "--format", "jpeg")
    assert "4 converted, 0 skipped, 1 failed" in ran.out
    assert (output / "clip.MP4").read_bytes() == bytes([155]) * 48
    assert f"{source / 'broken.mkv'}: is damaged" in ran.out
    assert "0 converted, 4 skipped, 1 failed" in convert(source, output, "--format", "jpeg").out
