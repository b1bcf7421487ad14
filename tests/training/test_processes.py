"""Two processes that share a batch train as one that has it all, and one of them writes."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from translate.config import choices
from translate.training.checkpoint import STATE
from translate.training.log import read_metrics

STEPS = 6
# Statistics over the batch and dropout would differ between processes by their nature.
SAME = [
    "precision=64",
    "schedule=constant",
    "log_every=1",
    "data.validation_fraction=0.4",
    "generator.norm=instance",
    "generator.num_downs=2",
    "discriminator.norm=instance",
]
OWN = {
    "pix2pix": ["generator.dropout=0"],
    "cyclegan": ["method.history_size=5"],  # full, and images swapped, before the end
    "stargan": ["method.n_critic=2"],
}


def train(words):
    """In processes of its own; another program may take the port that they were to meet at, once."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "translate", "train", *words], capture_output=True, text=True, timeout=120
        )
        if "EADDRINUSE" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def losses(run):
    return [row["losses"] for row in read_metrics(run / "metrics.jsonl")]


@pytest.fixture
def words(tiny_for):
    def make(method, run, *more):
        return [*tiny_for(method), *SAME, *OWN[method], f"output={run}", *more]

    return make


@pytest.mark.parametrize("method", choices("method"))
def test_two_processes_give_the_losses_of_one_with_the_joint_batch_also_after_a_resume(
    method, words, command, tmp_path
):
    alone, two = tmp_path / "alone", tmp_path / "two"
    done = command("train", *words(method, alone, "batch_size=4", f"steps={STEPS}"))
    assert done.code == 0, done.err
    for steps in (STEPS // 2, STEPS):
        done = train(words(method, two, "batch_size=2", "devices=2", f"steps={steps}"))
        assert done.stdout.count(f"Finished: {steps} steps") == 1
        assert "Initializing distributed" not in done.stdout + done.stderr
    expected = losses(alone)
    assert len(expected) == STEPS
    for ours, one in zip(losses(two), expected, strict=True):
        assert ours == pytest.approx(one, rel=1e-6)  # logged in float32
    first, second = (load_file(run / "model" / "model.safetensors") for run in (alone, two))
    for name, tensor in first.items():
        assert (tensor - second[name]).abs().max() < 1e-9, name
    ours, one = (read_metrics(run / "validation.jsonl")[-1] for run in (two, alone))
    assert ours["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
    images = [row["images"] for row in read_metrics(two / "metrics.jsonl")]
    assert images == [4 * (step + 1) for step in range(STEPS)]


def test_another_number_of_processes_is_refused(words, command, tmp_path):
    run = tmp_path / "run"
    assert command("train", *words("pix2pix", run, "steps=1")).code == 0
    state = torch.load(run / STATE, weights_only=True)
    torch.save(state | {"world_size": 2}, run / STATE)
    ran = command("train", *words("pix2pix", run, "steps=2"))
    assert ran.code == 2
    assert "holds a run of 2 processes (devices), this one has 1" in ran.err
