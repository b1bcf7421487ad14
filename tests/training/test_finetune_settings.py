"""What a fine-tuning is composed of: the checkpoint's own method, its settings, and images of one's own alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from translate.cli import compose_finetuning
from translate.config import compose_settings
from translate.errors import UserError
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


# --- images of one's own ---


@pytest.mark.parametrize("folder", ["/old/zebras", "~/zebras", "/old/zebras.txt"])
def test_absolute_folders_of_the_old_images_are_left_behind(checkpoint, folder: str) -> None:
    words = ["method=cyclegan", "data.folder_a=horses", f"data.folder_b={folder}", "data.direction=BtoA"]
    data = composed(checkpoint(*words))["data"]
    assert (data["folder_a"], data["folder_b"], data["direction"]) == ("horses", "B", "BtoA")


def test_what_was_said_of_the_old_labels_is_left_behind(checkpoint) -> None:
    words = ["method=stargan", "data.domains=[a,b,c]", "data.exclusive=[[a,b]]", "data.replay=older", "data.kind=auto"]
    data = composed(checkpoint(*words, "data.label_file=labels.csv"))["data"]
    assert [data[name] for name in ("domains", "exclusive", "replay", "label_file")] == [None] * 4


@pytest.mark.parametrize("name", ["a,b", "run [old]", "it's", "a=b", "what\\"])
def test_a_checkpoint_may_be_called_anything(checkpoint, tmp_path: Path, name: str) -> None:
    renamed = checkpoint().rename(tmp_path / name)
    assert composed(renamed)["finetune"]["checkpoint"] == str(renamed)


# --- strangers and mistakes ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda settings: settings["data"].update(folder_a="${oc.env:HOME}"), r"a setting holds \$\{"),
        (lambda settings: settings.update(wandb=[{"name": "${oc.env:HOME}"}]), r"a setting holds \$\{"),
        (
            lambda settings: settings["generator"].update(_target_="translate.data.image.write_image"),
            "_target_='translate.data.image.write_image' may not be built",
        ),
        (
            lambda settings: settings["data"].update(_target_="translate.networks.unet.UNet"),
            "_target_='translate.networks.unet.UNet' may not be built",
        ),
        (lambda settings: settings.update(generator={}), r"config\.json is damaged: its settings name no generator"),
        (lambda settings: settings["method"].pop("_target_"), r"is damaged: its settings name no method"),
        (lambda settings: settings.update(objective="lsgan"), r"is damaged: its settings name no objective"),
        (lambda settings: settings.pop("data"), r"is damaged: its settings name no data"),
    ],
)
def test_settings_that_no_training_wrote_are_refused(checkpoint, change: Callable[..., object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(checkpoint(change=lambda config: change(config["settings"])))


def test_settings_that_are_none_are_refused(checkpoint) -> None:
    with pytest.raises(UserError, match=r"config\.json is damaged: its settings are a list"):
        composed(checkpoint(change=lambda config: config.update(settings=[])))


@pytest.mark.parametrize("word", ["data.root=x,y", "method=pix2pix,cyclegan", "steps=range(1,3)"])
def test_several_values_are_refused(checkpoint, word: str) -> None:
    with pytest.raises(UserError, match="gives several values where one is meant") as refused:
        composed(checkpoint(), word)
    assert str(refused.value).endswith(": \"{}='{}'\"".format(*word.split("=")))


def test_a_comma_may_be_quoted(checkpoint) -> None:
    assert composed(checkpoint(), "data.root='x,y'")["data"]["root"] == str(Path("x,y").absolute())


def test_a_configuration_folder_that_is_not_there_is_named(checkpoint) -> None:
    with pytest.raises(UserError, match="--config-dir nowhere is not a folder"):
        compose_finetuning([f"from={checkpoint()}", "data.root=new"], Path("nowhere"))


def test_one_word_is_a_list_of_one(checkpoint) -> None:
    tree = composed(checkpoint(), "finetune.freeze=encoder", "finetune.fresh=decoder_1")
    assert (tree["finetune"]["freeze"], tree["finetune"]["fresh"]) == (["encoder"], ["decoder_1"])
    data = compose_settings(["method=stargan", "data.root=new", "data.domains=dark"]).tree["data"]
    assert data["domains"] == ["dark"]


@pytest.mark.parametrize("words", [["finetune.freeze=[encoder,", "decoder_6]"], ["finetune.rates={a:", "0.1}"]])
def test_a_value_with_spaces_is_to_be_quoted(checkpoint, words: list[str]) -> None:
    with pytest.raises(UserError, match=r"A value with spaces in it is quoted: 'finetune.freeze="):
        composed(checkpoint(), *words)


@pytest.mark.parametrize(
    "words", [["form=runs/base"], ["."], ["--from", "runs/base"], ["--from=runs/base"], ["checkpoint=runs/base"]]
)
def test_a_misspelt_from_is_guessed(words: list[str]) -> None:
    meant = "." if words == ["."] else "runs/base"
    with pytest.raises(UserError, match=rf"from= is missing: .*\(did you mean from={meant}\?\)"):
        compose_finetuning([*words, "data.root=new"], None)


def test_an_address_is_to_be_downloaded() -> None:
    with pytest.raises(UserError, match=r"from=https://a/b\.pth is an address: download it first"):
        compose_finetuning(["from=https://a/b.pth", "data.root=new"], None)


def test_train_with_from_is_finetune(command) -> None:
    done = command("train", "from=runs/base", "data.root=new")
    assert done.code == 2
    assert "translate finetune from=runs/base" in done.err


def test_the_help_shows_brackets_and_from(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = command("finetune", "--help").out
    assert "parts that do not learn: [encoder], [generator.block_1, discriminator.layer_1]" in out
    assert "finetune.rates" in out
    assert "file of another project's weights to go on from" in out
