"""A trained run, and what goes on from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from translate.model_folder import CONFIG, find_model

Words = list[str]


@pytest.fixture
def trained(command: Callable[..., Any], tiny_for: Callable[[str], Words], tmp_path: Path) -> Callable[..., Path]:
    """A run of two steps; `words` may name another generator or discriminator."""

    def make(method: str = "pix2pix", *words: str) -> Path:
        others = tuple(word.partition("=")[0] for word in words if word.startswith(("generator=", "discriminator=")))
        usual = [word for word in tiny_for(method) if not (others and word.startswith(others)) or ".width" in word]
        done = command("train", *usual, "steps=2", *words, f"output={tmp_path / 'old'}")
        assert done.code == 0, done.err
        return tmp_path / "old"

    return make


@pytest.fixture
def finetune(command: Callable[..., Any], tiny_for: Callable[[str], Words], tmp_path: Path) -> Callable[..., Any]:
    """`translate finetune` from that run on the same images, into tmp_path/new; `verb` may be another command."""

    def run(*words: str, method: str = "pix2pix", name: str = "new", verb: str = "finetune") -> Any:
        root = next(word for word in tiny_for(method) if word.startswith("data.root="))
        usual = [f"from={tmp_path / 'old'}", root, "batch_size=2", "data.workers=0", "accelerator=cpu"]
        return command(verb, *usual, f"output={tmp_path / name}", "log_every=1", *words)

    return run


@pytest.fixture
def edited() -> Callable[..., Path]:
    """A run whose model was described otherwise since."""

    def make(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
        path = find_model(run) / CONFIG
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
        return run

    return make
