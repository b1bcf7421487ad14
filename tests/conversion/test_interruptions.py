"""Conversions that are stopped, killed, or told to stop: nothing is lost, half written, or done twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.conversion.report import Report
from translate.conversion.translator import Translator
from translate.data.image import write_image

Make = Callable[..., Translator]
Draw = Callable[..., np.ndarray]
PROGRAM = """
import sys, time
from pathlib import Path
from translate.conversion.engine import Engine, ModelInfo
from translate.conversion.folder import convert_folder
from translate.conversion.translator import Translator
from translate.pixels import Side

COLOR = Side(3, "uint8", 0, 255)

class Negative(Engine):
    name = "torch"
    info = ModelInfo(COLOR, COLOR, None, {}, 1, 1, 0, "fingerprint")

    def memory_for(self, height, width):
        return 0

    def run(self, pixels, domain):
        time.sleep(float(sys.argv[3]))
        return 255 - pixels

print("ready", flush=True)
report = convert_folder(Translator(Negative()), Path(sys.argv[1]), Path(sys.argv[2]))
print(report.converted, report.failed)
assert "torch" not in sys.modules
"""


@pytest.fixture
def source(tmp_path: Path, noise: Draw) -> Path:
    """60 images of three kinds in two folders."""
    for index in range(60):
        path = tmp_path / "in" / f"{index % 2}" / f"{index:02}.{('png', 'jpg', 'bmp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, noise((16, 16 + index % 4, 3)))
    return tmp_path / "in"


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a conversion that takes so many seconds per image in a process of its own."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def start(source: Path, output: Path, seconds: float = 0.0) -> "subprocess.Popen[str]":
        command = [sys.executable, script, source, output, str(seconds)]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)

    return start


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the logs."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != ".translate"
    }


def test_killed_at_any_moment_nothing_is_lost_or_half_written(
    program: Callable[..., "subprocess.Popen[str]"], source: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert program(source, whole).communicate()[0].endswith("60 0\n")
    expected = content(whole)
    chance = random.Random(0)
    kills = 0
    for _ in range(20):
        running = program(source, output, 0.04)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.12))
        kills += running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.communicate()
        for name, data in content(output).items() if output.exists() else ():
            if not re.fullmatch(r"\.[0-9a-f]{16}\.partial-\d+-\d+", Path(name).name):
                assert data == expected[name]
    assert kills == 20
    running = program(source, output)
    converted, failed = map(int, running.communicate()[0].split()[1:])
    assert (running.returncode, failed) == (0, 0)
    assert converted < 60  # the killed runs were of use
    assert content(output) == expected
    said = [json.loads(line) for line in (output / ".translate" / "done.jsonl").read_text().splitlines()]
    assert set(Counter(line["done"] for line in said if "done" in line).values()) == {1}
    assert sum("begun" in line for line in said) <= 60 + 20 * 8  # at most 8 were being written at each kill


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_conversion_after_the_batch(
    command: Callable[..., Any], negative: Make, source: Path, tmp_path: Path, number: int, monkeypatch: Any
) -> None:
    model, output = negative(), tmp_path / "out"
    run, calls = model.engine.run, []

    def interrupted(pixels: np.ndarray, domain: str | None) -> np.ndarray:
        calls.append(len(pixels))
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return run(pixels, domain)

    monkeypatch.setattr(model.engine, "run", interrupted)
    monkeypatch.setattr("translate.conversion.translator.load_translator", lambda *_, **__: model)
    handler = signal.getsignal(number)
    ran = command("convert", "MODEL", source, output)
    assert ran.code == 128 + number
    assert len(calls) == 3
    assert "3 converted, 0 skipped, 0 failed" in ran.out
    assert "Stopped before the end. The same command goes on." in ran.out
    assert len(content(output)) == 3
    assert signal.getsignal(number) == handler
    again = command("convert", "MODEL", source, output)
    assert (again.code, "57 converted, 3 skipped, 0 failed" in again.out) == (0, True)


def test_a_second_signal_ends_it_at_once(
    command: Callable[..., Any], negative: Make, source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    model = negative()

    def interrupted(*arguments: Any) -> np.ndarray:
        for _ in range(2):  # two that come at once count as one
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
        raise AssertionError("went on")

    monkeypatch.setattr(model.engine, "run", interrupted)
    monkeypatch.setattr("translate.conversion.translator.load_translator", lambda *_, **__: model)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are begun without
    try:
        ran = command("convert", "MODEL", source, tmp_path / "out")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ran.code == 130 or "Aborted" in ran.err
    assert content(tmp_path / "out") == {}


def test_python_callers_stop_it_between_batches(negative: Make, source: Path, tmp_path: Path) -> None:
    done: list[int] = []
    report = negative().convert_folder(
        source,
        tmp_path / "out",
        batch_size=4,
        progress=lambda report: done.append(report.finished),
        stop=lambda: bool(done),
    )
    assert report.stopped
    assert 0 < report.converted < 60
    assert len(content(tmp_path / "out")) == report.converted
    assert not negative().convert_folder(source, tmp_path / "out", stop=lambda: False).stopped


def test_a_stop_within_several_pages_leaves_no_part_of_them(negative: Make, noise: Draw, tmp_path: Path) -> None:
    from translate.data.image import write_pages

    (tmp_path / "in").mkdir()
    write_pages(tmp_path / "in" / "a.tif", [noise((6, 8, 3)) for _ in range(5)])
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 4

    report = negative().convert_folder(tmp_path / "in", tmp_path / "out", stop=stop)
    assert (report.stopped, report.converted, report.failed) == (True, 0, 0)
    assert content(tmp_path / "out") == {}


def test_an_error_in_the_callback_leaves_what_is_finished(negative: Make, source: Path, tmp_path: Path) -> None:
    def progress(report: Report) -> None:
        if report.finished == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        negative().convert_folder(source, tmp_path / "out", progress=progress)
    written = len(content(tmp_path / "out"))
    assert written >= 5
    assert negative().convert_folder(source, tmp_path / "out").skipped >= 5
    assert len(content(tmp_path / "out")) == 60
