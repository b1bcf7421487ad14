"""An interrupted run, continued, ends with the very weights of an unbroken one."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from translate.training.checkpoint import STATE, read_state

STEPS = 70
LENGTH = [
    f"steps={STEPS}",
    "save_every=7",
    "log_every=5",
    "sample_every=30",
    "validation.every=25",
    "average_decay=0.9",
    "generator.dropout=0.5",
]


def wait_for_step(run: Path, step: int, process) -> None:
    """Wait until the run has logged `step`."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if lines and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.001)
    raise AssertionError(f"the run did not reach step {step}")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = read_state(run)
    assert state["step"] == STEPS
    found = {f"model.{name}": tensor for name, tensor in load_file(run / "model" / "model.safetensors").items()}
    for name, tensors in (state["networks"] | {f"average.{name}": sd for name, sd in state["average"].items()}).items():
        found |= {f"{name}.{key}": tensor for key, tensor in tensors.items()}
    for name, memory in state["memories"].items():
        found |= {f"{name}.{key}": tensor for key, tensor in memory.items()}
    for player, optimizer in state["optimizers"].items():
        for index, moments in optimizer["state"].items():
            found |= {f"{player}.{index}.{key}": tensor for key, tensor in moments.items()}
    return found


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    assert different == []


@pytest.fixture(scope="module")
def known():
    """The weights of unbroken runs, by method."""
    return {}


@pytest.fixture
def unbroken(known, command, tmp_path):
    """The weights of a run that nobody interrupted, made in this process without loading workers."""

    def train(method, words):
        if method not in known:
            done = command("train", *words, *LENGTH, f"output={tmp_path / 'unbroken'}")
            assert done.code == 0, done.err
            known[method] = weights(tmp_path / "unbroken")
        return known[method]

    return train


@pytest.mark.parametrize(
    ("method", "kills", "more"),
    [
        ("pix2pix", [(5, 1), (30, 2)], []),
        ("cyclegan", [(25, 0)], ["method.history_size=3"]),
        ("stargan", [(25, 1)], []),
    ],
)
def test_killed_at_several_points_it_ends_with_the_same_weights(
    method, kills, more, tiny_for, unbroken, start_translate, tmp_path
):
    run, log = tmp_path / "run", tmp_path / "log"
    words = [*tiny_for(method), *LENGTH, *more]
    expected = unbroken(method, [*tiny_for(method), *more])
    assert (method == "cyclegan") == any(name.startswith("history") for name in expected)
    for kill_at, workers in kills:
        process = start_translate("train", *words, f"data.workers={workers}", log=log)
        wait_for_step(run, kill_at, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert (read_state(run) or {"step": 0})["step"] < STEPS
    assert start_translate("train", *words, log=log).wait() == 0, log.read_text()
    assert_equal(weights(run), expected)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(5, STEPS + 1, 5))
    assert not list(run.rglob("*.partial-*")) or os.name == "nt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tiny, unbroken, start_translate, tmp_path, number):
    run, log = tmp_path / "run", tmp_path / "log"
    words = [*tiny, *LENGTH, "save_every=100000"]
    process = start_translate("train", *words, "data.workers=1", log=log)
    wait_for_step(run, 10, process)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert f"of {STEPS}, saved in {run}. The same command continues." in log.read_text()
    assert 10 <= read_state(run)["step"] < STEPS
    assert start_translate("train", *words, log=log).wait() == 0
    assert_equal(weights(run), unbroken("pix2pix", tiny))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_goes_bad_during_training_ends_it_and_what_was_learned_is_kept(
    tiny, pairs, start_translate, tmp_path, workers
):
    run, errors = tmp_path / "run", tmp_path / "errors"
    words = [*tiny, f"data.workers={workers}", "steps=100000", "log_every=2", "save_every=100000"]
    process = start_translate("train", *words, log=tmp_path / "log", errors=errors)
    wait_for_step(run, 2, process)
    for image in pairs.iterdir():
        image.write_bytes(b"gone")
    assert process.wait(60) == 2  # it must also end: its loading processes must not keep it
    (error,) = errors.read_text().splitlines()
    assert "it was readable when training started" in error
    assert read_state(run)["step"] >= 2


def test_a_finished_run_says_so_and_more_steps_go_on(tiny, command, tmp_path):
    run = tmp_path / "run"
    assert command("train", *tiny, "steps=4").code == 0
    before = (run / STATE).stat().st_mtime_ns
    again = command("train", *tiny, "steps=4")
    assert again.code == 0
    assert "Finished: 4 steps" in again.out
    assert (run / STATE).stat().st_mtime_ns == before
    assert command("train", *tiny, "steps=6").code == 0
    assert read_state(run)["step"] == 6
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == 6


def test_epochs_count_passes_over_the_training_images(tiny, command, tmp_path):
    assert command("train", *tiny, "epochs=1.5", "data.validation_fraction=0", "data.test_fraction=0").code == 0
    assert read_state(tmp_path / "run")["step"] == 9  # 12 pairs, batches of 2


def test_resume_never_moves_the_old_run_aside(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    old = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    done = command("train", *tiny, "steps=3", "resume=never", "seed=1")
    assert done.code == 0
    (moved,) = tmp_path.glob("run.before-*")
    assert (moved / "model" / "model.safetensors").read_bytes() == old
    assert read_state(tmp_path / "run")["step"] == 3
    said = f"moved the run that was in {tmp_path / 'run'} to {moved}"
    assert said in done.out
    assert said in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("mistake", ["data.root=nowhere", "image_size=15", "precision=16", "wandb.mode=online"])
def test_a_command_that_is_refused_moves_nothing(tiny, command, tmp_path, monkeypatch, mistake, has_state):
    import wandb

    monkeypatch.setattr(wandb.api, "_api_key", None, raising=False)
    monkeypatch.setattr(type(wandb.api), "api_key", None)
    assert command("train", *tiny, "steps=2").code == 0
    if not has_state:
        (tmp_path / "run" / STATE).unlink()
    before = sorted(tmp_path.rglob("*"))
    done = command("train", *tiny, "steps=3", "resume=never", mistake)
    assert done.code == 2
    assert mistake.partition("=")[0] in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_letters_drawn_for_a_run_stay_when_the_run_before_is_moved_aside(tiny, command, tmp_path):
    words = [word for word in tiny if not word.startswith("data.root=")]
    for seed in (0, 1):
        done = command("train", *words, "data=glyphs", "steps=1", "resume=never", f"seed={seed}")
        assert done.code == 0, done.err
    (moved,) = tmp_path.glob("run.before-*")
    assert (tmp_path / "run" / "glyphs" / "train").is_dir()
    assert sorted(path.name for path in moved.iterdir() if path.is_dir()) == ["best", "model", "samples", "state"]


def test_two_runs_with_the_same_seed_are_equal_and_another_seed_differs(tiny, command, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert command("train", *tiny, "steps=3", f"seed={seed}", f"output={tmp_path / name}").code == 0
    a, b, c = (load_file(tmp_path / name / "model" / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_run_is_not_continued_on_other_images(tiny, pairs, command, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    (pairs / "image 0.png").rename(pairs / "image 99.png")
    ran = command("train", *tiny, "steps=4")
    assert ran.code == 2
    assert "holds a run on other images" in ran.err
    assert read_state(tmp_path / "run")["step"] == 2


def test_a_model_without_its_state_is_moved_aside_not_overwritten(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    model = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    (tmp_path / "run" / STATE).unlink()
    assert command("train", *tiny, "steps=3").code == 0
    (moved,) = tmp_path.glob("run.before-*")
    assert (moved / "model" / "model.safetensors").read_bytes() == model
    assert read_state(tmp_path / "run")["step"] == 3


def test_what_a_killed_save_left_is_swept_away(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=2").code == 0
    leftover = tmp_path / "run" / "state" / ".0123.partial-1-2"
    leftover.touch()
    assert command("train", *tiny, "steps=3").code == 0
    assert not leftover.exists()


def test_a_lengthened_run_that_was_stopped_before_it_saved_again_is_not_taken_for_finished(
    tiny, command, tmp_path, monkeypatch
):
    from translate.training import run

    assert command("train", *tiny, "steps=2").code == 0
    with monkeypatch.context() as patched:
        patched.setattr(run, "fit", lambda job, *args, **kwargs: job.step)
        command("train", *tiny, "steps=4")
    assert command("train", *tiny, "steps=4").code == 0
    assert read_state(tmp_path / "run")["step"] == 4
