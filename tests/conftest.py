"""What many tests share: tiny images, tiny networks, and the command line run in this process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

# Networks of these sizes are slower with several threads, most of all in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start processes take longest, then those that run commands: nobody shall wait for them last."""

    def order(path: Path) -> tuple[bool, ...]:
        text = path.read_text()
        return not any(word in text for word in ("subprocess", "start_translate")), "command" not in text

    orders = {path: order(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: orders[item.path])


TINY = [
    "image_size=16",
    "generator=unet_64",
    "generator.num_downs=3",
    "generator.width=2",
    "discriminator=patchgan",
    "discriminator.num_layers=1",
    "discriminator.width=2",
    "batch_size=2",
    "data.workers=0",
    "accelerator=cpu",
]
"""Settings that make a step take milliseconds."""


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def draw_pairs(folder: Path, count: int, *, size: int = 20) -> Path:
    """Side-by-side pairs: noise on the left, the same upside down on the right."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(count):
        left = generator.integers(0, 256, (size, size, 3), np.uint8)
        cv2.imwrite(str(folder / f"image {index}.png"), np.concatenate([left, 255 - left], axis=1))
    return folder


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Noise of any shape and pixel type; every call gives other pixels."""
    generator = np.random.default_rng(0)

    def make(shape: tuple[int, ...] = (12, 12, 3), dtype: str = "uint8") -> np.ndarray:
        if dtype == "float32":
            return generator.random(shape, np.float32)
        return generator.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)

    return make


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A data set of 12 side-by-side pairs of 20x20 pixels."""
    return draw_pairs(tmp_path / "pairs", 12)


def draw_folders(root: Path, counts: dict[str, int], *, size: int = 20) -> Path:
    """Folders of noise images, each with a shade of its own."""
    generator = np.random.default_rng(0)
    for place, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = generator.integers(0, 128, (size, size, 3)) + 120 * place // max(len(counts) - 1, 1)
            cv2.imwrite(str(root / name / f"image {index}.png"), image.astype(np.uint8))
    return root


@pytest.fixture
def unpaired(tmp_path: Path) -> Path:
    """A data set of two folders, 5 and 7 images of 20x20 pixels."""
    return draw_folders(tmp_path / "unpaired", {"trainA": 5, "trainB": 7})


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """A data set of two domains, dark and light, 6 images of 20x20 pixels each."""
    return draw_folders(tmp_path / "domains", {"dark": 6, "light": 6})


@pytest.fixture
def tiny_for(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], list[str]]:
    """KEY=VALUE words for a run of a method on data that it can train on."""

    def words(method: str) -> list[str]:
        from translate.build import LOCAL, resolve
        from translate.config import compose_settings

        target = compose_settings([f"method={method}", "data.root=somewhere"]).tree["method"]["_target_"]
        data = {"Pair": "pairs", "Unpaired": "unpaired", "Labeled": "domains"}[
            resolve(target, LOCAL).batch_type.__name__
        ]
        kind = {"pairs": "paired"}.get(data, data)
        root = request.getfixturevalue(data)
        return [f"method={method}", *TINY, f"data={kind}", f"data.root={root}", f"output={tmp_path / 'run'}"]

    return words


@pytest.fixture
def tiny(pairs: Path, tmp_path: Path) -> list[str]:
    """KEY=VALUE words for a run of milliseconds per step into tmp_path/run."""
    return [*TINY, f"data.root={pairs}", f"output={tmp_path / 'run'}"]


@pytest.fixture
def curves() -> None:
    """Asked for by a test whose runs draw their curves, which takes as long as all else of a tiny run."""


@pytest.fixture
def pages() -> None:
    """Asked for by a test whose runs write their report."""


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Callable[..., Ran]:
    """Run `translate ARGUMENTS` in this process."""
    from translate.cli import main

    if "curves" not in request.fixturenames:
        monkeypatch.setattr("translate.training.run.draw_curves", lambda folder: None)

    if "pages" not in request.fixturenames:
        # First the one that imports the real one where nothing has.
        monkeypatch.setattr("translate.run.refresh_report", lambda folder: None)
        monkeypatch.setattr("translate.report.write.refresh_report", lambda folder: None)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["translate", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


WARM = """
import json, os, sys
import albumentations, kornia.metrics, torchvision.utils
from translate.cli import main
from translate.report import write
from translate.training import run
run.draw_curves = write.refresh_report = lambda folder: None
for line in sys.stdin:
    asked = json.loads(line)
    if "pid" in asked:
        pid, status = os.waitpid(asked["pid"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if not answer:
            break
    print(json.dumps(answer), flush=True)
else:
    os._exit(0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, path in enumerate(asked["logs"], start=1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
os.environ.update(asked["environment"])
sys.argv = asked["argv"]
main()
"""
"""A program that imports, and then becomes `translate` with one set of arguments after the other, in processes."""


class Process:
    """A process of such a program, used as one of subprocess is."""

    def __init__(self, program: "subprocess.Popen[str]", **asked: object) -> None:
        self.program = program
        self.returncode: int | None = None
        self.pid: int = self.ask(**asked)

    def ask(self, **asked: object) -> Any:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        print(json.dumps(asked), file=self.program.stdin, flush=True)
        return json.loads(self.program.stdout.readline())

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.ask(pid=self.pid)
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, "the process does not end"
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def warm() -> Iterator["subprocess.Popen[str]"]:
    """The program that becomes others; at the end its input is closed, which ends it."""
    with subprocess.Popen(
        [sys.executable, "-c", WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield program


@pytest.fixture
def start_translate(warm: "subprocess.Popen[str]") -> Iterator[Callable[..., Process]]:
    """Start `translate ARGUMENTS` in a process of its own, without the seconds in which it imports.

    What it prints is appended to `log` and `errors`; it draws no curves and writes no page.
    """
    started: list[Process] = []

    def start(*arguments: object, log: Path, errors: Path | None = None, **environment: str) -> Process:
        argv, logs = ["translate", *map(str, arguments)], [str(log), str(errors or log)]
        process = Process(warm, argv=argv, logs=logs, environment=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
