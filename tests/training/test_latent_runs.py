"""Runs with a latent code: exact resume, a light model without its encoder, and fine-tuning from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from translate.training.checkpoint import STATE, read_state

LATENT = ("generator.latent=2", "method.encoder_width=1")


def test_a_run_with_a_code_resumes_exactly_and_its_light_model_begins_another(
    trained: Callable[..., Path],
    finetune: Callable[..., Any],
    command: Callable[..., Any],
    tiny: list[str],
    tmp_path: Path,
) -> None:
    straight = trained("pix2pix", *LATENT, "schedule=constant")
    for steps in (1, 2):
        done = command("train", *tiny, *LATENT, f"steps={steps}", "schedule=constant")
        assert done.code == 0, done.err
    first, second = (read_state(run)["networks"] for run in (straight, tmp_path / "run"))
    assert list(first) == ["generator", "discriminator", "code_encoder"]
    for name, tensors in first.items():
        assert all(torch.equal(tensor, second[name][key]) for key, tensor in tensors.items())
    light = load_file(straight / "model" / "model.safetensors")
    assert {name.partition(".")[0] for name in light} == {"generator"}
    done = finetune("steps=1")
    assert f"code_encoder: {len(first['code_encoder'])} tensors taken over" in done.out
    (straight / STATE).unlink()
    done = finetune("steps=1", name="newer")
    assert done.code == 0, done.err
    assert "code_encoder: new; there is none in the checkpoint" in done.out
