"""What a fine-tuning is composed of: the checkpoint's own method, its settings, and images of one's own alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from translate.cli import compose_finetuning
from translate.config import compose_settings
from translate.model_folder import CONFIG, WEIGHTS


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A model folder as far as its settings go, made with KEY=VALUE words and then changed."""

    def make(*words: str, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
        settings = compose_settings([*words, "data.root=old"]).tree
        config = {"format": "translate-model", "format_version": 1, "source": {}, "target": {}, "settings": settings}
        change(config)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / CONFIG).write_text(json.dumps(config))
        (tmp_path / "model" / WEIGHTS).touch()
        return tmp_path / "model"

    return make


def composed(checkpoint: Path, *words: str) -> dict[str, Any]:
    return compose_finetuning([f"from={checkpoint}", "data.root=new", *words], None).tree


# --- the method ---


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "stargan"])
def test_the_defaults_are_those_of_the_checkpoints_method(checkpoint, method: str) -> None:
    tree = composed(checkpoint(f"method={method}"))
    usual = compose_settings([f"method={method}", "data.root=new"]).tree
    assert tree | {"finetune": None} == usual | {"finetune": None}
    assert tree["output"] == f"runs/{method}_new"


def test_a_component_chosen_instead_is_that_of_the_method(checkpoint) -> None:
    discriminator = composed(checkpoint("method=stargan"), "discriminator=patchgan")["discriminator"]
    assert discriminator["norm"] == "instance"  # StarGAN's gradient penalty does not go with batch norm


def test_another_method_keeps_the_generator_and_brings_the_rest(checkpoint) -> None:
    tree = composed(checkpoint("generator.width=5", "discriminator.width=6"), "method=cyclegan")
    assert tree["method"]["_target_"].endswith("CycleGAN")
    assert (tree["generator"]["_target_"], tree["generator"]["width"]) == ("translate.networks.unet.UNet", 5)
    assert (tree["discriminator"]["norm"], tree["discriminator"]["width"]) == ("instance", 64)
    assert tree["data"]["_target_"].endswith("UnpairedData")


def test_the_checkpoints_own_method_may_be_named(checkpoint) -> None:
    tree = composed(checkpoint("method=stargan", "method.n_critic=2", "discriminator.width=6"), "method=stargan")
    assert (tree["method"]["n_critic"], tree["discriminator"]["width"]) == (2, 6)


def test_a_method_of_ones_own_is_found_in_ones_own_folder(checkpoint, tmp_path: Path) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    target = "translate.methods.method.Method"
    (tmp_path / "mine" / "method" / "own.yaml").write_text(
        f"# @package _global_\n# translate train method=own\nmethod:\n  _target_: {target}\nbatch_size: 7\n"
    )
    model = checkpoint(change=lambda config: config["settings"].update(method={"_target_": target}))
    tree = compose_finetuning([f"from={model}", "data.root=new"], tmp_path / "mine").tree
    assert (tree["batch_size"], tree["output"]) == (7, "runs/own_new")
