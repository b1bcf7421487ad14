"""What a run does and shows: files, averages, clipping, precision, and stopping on a NaN."""

import json
import math

import cv2
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from translate.config import choices
from translate.training import loop
from translate.training.average import WeightAverage
from translate.training.checkpoint import read_state
from translate.training.log import Meter, read_metrics
from translate.training.schedule import constant, cosine, linear, stargan_reference


def test_the_stargan_references_schedule_ends_at_a_thousandth_less():
    steps = (0, 100_000, 100_999, 101_000, 199_999)
    assert [stargan_reference(step, 200_000) for step in steps] == pytest.approx([1, 1, 1, 1 - 1e-5, 1 - 99e-5])


def test_linear_schedule_by_hand():
    assert [linear(step, 10) for step in (0, 4, 5, 6, 9)] == [1, 1, 1, pytest.approx(0.8), pytest.approx(0.2)]
    assert [linear(step, 4, constant=0) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert linear(9, 10, constant=1) == 1


def test_cosine_and_constant_schedules_by_hand():
    assert [cosine(step, 4) for step in (0, 2)] == [1, pytest.approx(0.5)]
    assert cosine(3, 4) == pytest.approx(0.1464466)
    assert constant(7, 9) == 1


def test_average_moves_by_its_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage({"generator": network}, 0.75)
    for value in (1.0, 2.0, 4.0):
        network.weight.data.fill_(value)
        average.update({"generator": network})
    # The first update copies: 1, then 0.75 * 1 + 0.25 * 2, then 0.75 * 1.25 + 0.25 * 4.
    assert average.networks["generator"].weight.item() == pytest.approx(1.9375)


def test_meter_averages_over_the_steps_that_had_a_loss():
    meter = Meter()
    meter.add_losses({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    meter.add_losses({"a": torch.tensor(2.0)})
    assert meter.read()["losses"] == {"a": 1.5, "b": 5.0}
    assert meter.losses() == {}


def test_a_run_folder_holds_what_it_should(tiny, command, curves, pages, tmp_path):
    done = command("train", *tiny, "steps=4", "log_every=2", "sample_every=3", "save_every=4", "sample_images=1")
    assert done.code == 0
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "best",
        "config.yaml",
        "history.jsonl",
        "log.txt",
        "losses.png",
        "metrics.jsonl",
        "model",
        "report.html",
        "samples",
        "state",
        "validation.jsonl",
    }
    rows = read_metrics(run / "metrics.jsonl")
    assert [(row["step"], row["images"]) for row in rows] == [(2, 4), (4, 8)]
    assert set(rows[0]["losses"]) == {
        "discriminator_real",
        "discriminator_fake",
        "generator_adversarial",
        "generator_l1",
    }
    assert rows[0]["images_per_second"] > 0
    assert 0 <= rows[0]["data_wait"] <= 1
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["step_0000003.png", "step_0000004.png"]
    grid = cv2.imread(str(run / "samples" / "step_0000004.png"))
    assert grid.shape == (22 + 16 + 4, 3 * (16 + 2) + 2, 3)  # a title row, one row of three 16-pixel images
    # Two players above, three metrics below, of 6 by 4 inches each at 120 dots.
    assert cv2.imread(str(run / "losses.png")).shape == (2 * 4 * 120, 3 * 6 * 120, 3)
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["source"] == {"channels": 3, "dtype": "uint8", "low": 0, "high": 255, "labels": False}
    with safe_open(run / "model" / "model.safetensors", framework="pt") as file:
        assert file.metadata()["steps"] == "4"
        assert all(name.startswith("generator.") for name in file.keys())  # noqa: SIM118


def test_progress_is_line_based_without_a_terminal(tiny, command):
    lines = command("train", *tiny, "steps=4", "log_every=2").out.splitlines()
    assert lines[1].startswith("step 2/4  epoch ")
    assert lines[1].endswith(" left")
    assert not any("\x1b" in line for line in lines)


def test_the_saved_model_is_the_average(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=5", "average_decay=0.9").code == 0
    model = load_file(tmp_path / "run" / "model" / "model.safetensors")
    state = read_state(tmp_path / "run")
    name = "model.model.0.weight"
    assert torch.equal(model[f"generator.{name}"], state["average"]["generator"][f"module.{name}"])
    assert not torch.equal(model[f"generator.{name}"], state["networks"]["generator"][name])


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_players_see_the_others_last_move_only_when_they_alternate(updates, tiny, command, tmp_path):
    words = ["objective=wasserstein_clipped", f"updates={updates}", "optimizer.lr=0.01", "steps=1"]
    assert command("train", *tiny, *words).code == 0
    losses = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]["losses"]
    # Half the mean logit of the fakes, which the discriminator lowers, and then what the generator raises.
    same_weights = losses["generator_adversarial"] == pytest.approx(-2 * losses["discriminator_fake"], rel=1e-4)
    assert same_weights == (updates == "simultaneous")


def test_gradient_clipping_bounds_every_step(tiny, command, monkeypatch):
    norms = []
    fit = loop.fit

    def watch(job, *args, **kwargs):
        for optimizer in job.optimizers.values():
            step = optimizer.step

            def measured(*inner, _step=step, _groups=optimizer.param_groups, **named):
                gradients = [parameter.grad for group in _groups for parameter in group["params"]]
                norms.append(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])).item())
                return _step(*inner, **named)

            optimizer.step = measured
        return fit(job, *args, **kwargs)

    monkeypatch.setattr("translate.training.run.fit", watch)
    assert command("train", *tiny, "steps=3", "gradient_clip=0.01").code == 0
    assert len(norms) == 6
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("method", choices("method"))
@pytest.mark.parametrize(
    "words", [["precision=bf16-mixed"], ["precision=64", "average_decay=0.9"], ["channels_last=true"]]
)
def test_precision_and_layout_train_and_save_float_weights(method, words, tiny_for, command, tmp_path):
    more = ["method.n_critic=1"] if method == "stargan" else []
    done = command("train", *tiny_for(method), *more, "steps=2", "log_every=1", *words)
    assert done.code == 0, done.err
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors").values()
    assert {weight.dtype for weight in weights if weight.is_floating_point()} == {
        torch.float64 if words[0] == "precision=64" else torch.float32
    }
    losses = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["losses"]
    assert all(map(math.isfinite, losses.values()))
    assert any(name.startswith("generator") for name in losses)


def test_a_nan_stops_the_run_names_the_loss_and_keeps_the_last_good_model(tiny, command, tmp_path, monkeypatch):
    assert command("train", *tiny, "steps=3", "save_every=3").code == 0
    model = tmp_path / "run" / "model" / "model.safetensors"
    good, state = model.read_bytes(), read_state(tmp_path / "run")["step"]

    def poisoned(source, target):
        return (source - target).abs().mean() * float("nan")

    monkeypatch.setattr("translate.methods.pix2pix.l1_loss", poisoned)
    sick = command("train", *tiny, "steps=30", "save_every=3")
    assert sick.code == 1
    assert "generator_l1 became NaN or infinite by step 6" in sick.err
    assert "Traceback" not in sick.err
    assert model.read_bytes() == good
    assert read_state(tmp_path / "run")["step"] == state
    assert "generator_l1 became NaN" in (tmp_path / "run" / "log.txt").read_text()


def test_wandb_offline_writes_locally_and_asks_nothing(tiny, command, tmp_path):
    done = command("train", *tiny, "steps=2", "log_every=1", "wandb.project=test")
    assert done.code == 0
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_wandb_that_breaks_does_not_break_the_run(tiny, command, monkeypatch, tmp_path):
    import wandb

    def broken(*args, **kwargs):
        raise OSError("no room for tracking")

    monkeypatch.setattr(wandb, "init", broken)
    done = command("train", *tiny, "steps=2", "wandb.mode=offline")
    assert done.code == 0
    assert "no room for tracking" in done.err
    assert read_state(tmp_path / "run")["step"] == 2
