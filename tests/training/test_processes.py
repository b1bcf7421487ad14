"""Two processes that share a batch train as one that has it all, and one of them writes."""

import socket
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


@pytest.fixture
def launched(start_translate):
    """Two processes as a launcher starts them; another program may take the port that they were to meet at, once."""

    def train(words, log):
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
            log.unlink(missing_ok=True)
            ranks = [
                start_translate("train", *words, log=log, WORLD_SIZE="2", NODE_RANK="0", LOCAL_RANK=rank, **meeting)
                for rank in "01"
            ]
            codes = [rank.wait() for rank in ranks]
            if "EADDRINUSE" not in log.read_text():
                break
        assert codes == [0, 0], log.read_text()
        return log.read_text()

    return train


def train(words, log):
    """By the command alone, which starts the second process itself."""
    for _ in range(2):
        with log.open("w") as file:
            done = subprocess.run([sys.executable, "-m", "translate", "train", *words], stdout=file, stderr=file)
        if "EADDRINUSE" not in log.read_text():
            break
    assert done.returncode == 0, log.read_text()
    return log.read_text()


def losses(run):
    return [row["losses"] for row in read_metrics(run / "metrics.jsonl")]


@pytest.fixture
def words(tiny_for):
    def make(method, run, *more):
        return [*tiny_for(method), *SAME, *OWN[method], f"output={run}", *more]

    return make


@pytest.mark.parametrize("method", choices("method"))
def test_two_processes_give_the_losses_of_one_with_the_joint_batch_also_after_a_resume(
    method, words, command, launched, tmp_path
):
    alone, two = tmp_path / "alone", tmp_path / "two"
    done = command("train", *words(method, alone, "batch_size=4", f"steps={STEPS}"))
    assert done.code == 0, done.err
    for steps in (STEPS // 2, STEPS):
        start = train if (method, steps) == ("pix2pix", STEPS) else launched
        said = start(words(method, two, "batch_size=2", "devices=2", f"steps={steps}"), tmp_path / "log")
        assert said.count(f"Finished: {steps} steps") == 1
        assert "Initializing distributed" not in said
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
