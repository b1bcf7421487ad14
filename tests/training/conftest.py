"""A trained run, and what goes on from it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from translate.model_folder import CONFIG, find_model

Words = list[str]
Kept = dict[tuple[str, ...], tuple[Path, Path]]


@pytest.fixture(scope="session")
def kept() -> Kept:
    """Copies of the runs of `trained` by their words, each with the folder that it was made in."""
    return {}


@pytest.fixture
def trained(
    command: Callable[..., Any],
    tiny_for: Callable[[str], Words],
    kept: Kept,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """A run of two steps; `words` may name another generator or discriminator."""

    def make(method: str = "pix2pix", *words: str) -> Path:
        run = tmp_path / "old"
        others = tuple(word.partition("=")[0] for word in words if word.startswith(("generator=", "discriminator=")))
        usual = [word for word in tiny_for(method) if not (others and word.startswith(others)) or ".width" in word]
        key = (method, *words)
        if key not in kept:
            done = command("train", *usual, "steps=2", *words, f"output={run}")
            assert done.code == 0, done.err
            kept[key] = tmp_path, shutil.copytree(run, tmp_path_factory.mktemp("kept") / "run")
        elif not run.exists():
            first, copy = kept[key]
            for path in shutil.copytree(copy, run).rglob("*"):
                if path.suffix in (".yaml", ".json", ".txt", ".jsonl"):
                    path.write_text(path.read_text().replace(str(first), str(tmp_path)))
        return run

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
