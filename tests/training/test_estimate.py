"""Time and memory of a run, told from a few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from translate.config import compose_settings
from translate.errors import DivergenceError, UserError
from translate.training import estimate as module
from translate.training.estimate import Estimate, estimate
from translate.training.prepare import look_at_data

TinyFor = Callable[[str], list[str]]


def measure(words: list[str], **changes: Any) -> Estimate:
    composed = compose_settings(words)
    data, inspection = look_at_data(composed.settings, composed.allowed, None)
    inspection.raise_problems()
    for name, value in changes.items():
        setattr(data, name, value)
    return estimate(composed.settings, data, composed.allowed)


def made(**changes: Any) -> Estimate:
    values: dict[str, Any] = {
        "device": "cuda",
        "devices": 1,
        "batch_size": 4,
        "steps": 36_000,
        "step_seconds": 0.2,
        "loading_seconds": 0.4,
        "workers": 4,
        "peak_bytes": 3 * 2**30,
        "total_bytes": 8 * 2**30,
    }
    return Estimate(**(values | changes))


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "stargan"])
def test_a_few_steps_of_every_method_are_measured_and_nothing_is_written(
    method: str, tiny_for: TinyFor, tmp_path: Path
) -> None:
    words = [*tiny_for(method), "steps=1000", "average_decay=0.9"]
    before = sorted(tmp_path.rglob("*"))
    found = measure(words)
    assert sorted(tmp_path.rglob("*")) == before
    assert (found.device, found.devices, found.steps, found.workers) == ("cpu", 1, 1000, 0)
    assert 0 < found.step_seconds < 5
    assert 0 < found.loading_seconds < 5
    assert found.peak_bytes > 50 * 2**20  # PyTorch alone takes more
    assert found.total_bytes > 50 * 2**20


def test_the_images_are_counted_in_epochs(tiny: list[str]) -> None:
    assert measure([*tiny, "epochs=20"]).steps == 100  # 10 training pairs, 2 in a batch


def test_each_player_moves(tiny_for: TinyFor, monkeypatch: pytest.MonkeyPatch) -> None:
    from translate.methods.stargan import StarGAN

    moved: list[str] = []
    play = StarGAN.play

    def watch(self: Any, batch: Any, step: Any) -> Any:
        for turn in play(self, batch, step):
            moved.append(turn.player)
            yield turn

    monkeypatch.setattr(StarGAN, "play", watch)
    measure([*tiny_for("stargan"), "method.n_critic=3"])
    assert moved[-4:].count("generator") == 1  # of the last three steps, in one
    assert moved.count("discriminator") >= 4


def test_the_first_step_does_not_count(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 107.0, 109.0])

    def advance(self: module.Stopwatch, step: int) -> None:
        self.times.append(next(now))

    monkeypatch.setattr(module.Stopwatch, "advance", advance)
    assert measure(tiny).step_seconds == 4.5


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_memory_that_does_not_suffice_is_a_message(
    error: Exception, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "fit", run_out)
    with pytest.raises(UserError, match=r"batch_size=2 and image_size=16: lower one"):
        measure(tiny)


def test_other_errors_are_not_hidden(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(module, "fit", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        measure(tiny)


def test_losses_that_are_not_finite_are_told(tiny: list[str]) -> None:
    with pytest.raises(DivergenceError):
        measure([*tiny, "optimizer.lr=1e30"])


def test_hours_follow_from_the_slower_of_steps_and_loading() -> None:
    assert made().hours == pytest.approx(2)  # 36,000 x 0.2 s; 4 processes load a batch in 0.1 s
    assert not made().is_starved
    assert made(loading_seconds=1.6).hours == pytest.approx(4)
    assert made(loading_seconds=1.6).is_starved
    assert made(workers=0).hours == pytest.approx(6)  # one after the other


def test_what_was_measured_is_said() -> None:
    step, memory, loading = made().describe()
    assert step == "A step of batch_size=4 takes 0.20 s on cuda; 36,000 steps take about 2.0 hours."
    assert memory == "Peak memory 3.0 of 8.0 GiB."
    assert loading == "Loading a batch in 4 processes takes 0.10 s: training does not wait for that."
    assert "training waits for that. More data.workers" in made(loading_seconds=4.0).describe()[2]
    assert "67% of the time goes there" in made(workers=0).describe()[2]
    assert "on each of 2 takes" in made(devices=2).describe()[0]


@pytest.mark.parametrize(
    ("steps", "said"), [(10, "about a minute"), (9000, "about 30 minutes"), (36_000 * 48, "about 4.0 days")]
)
def test_times_are_said_in_fitting_units(steps: int, said: str) -> None:
    assert said in made(steps=steps).describe()[0]
