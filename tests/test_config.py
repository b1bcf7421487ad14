"""Every yaml composes, builds and trains; every setting is explained; names and types are checked."""

import functools
import inspect
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from translate.batch import Labeled
from translate.build import LOCAL, build, resolve
from translate.config import (
    Composed,
    choices,
    components,
    compose_settings,
    conf_directory,
    describe_group,
    explain_settings,
    groups,
    to_settings,
)
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.model import assemble
from translate.pixels import Side

DATA = ["data.root=somewhere"]
EVERY = [(group, name) for group in groups() for name in choices(group)]
DERIVED = {"in_channels", "out_channels", "num_domains", "step", "total_steps"}
METHOD_PARTS = {"generator", "discriminator", "adversary", "source_channels", "target_channels", "domains"}


def words_for(group: str, name: str) -> list[str]:
    words = [f"{group}={name}"]
    if (group, name) == ("objective", "wasserstein"):
        words.append("discriminator.norm=instance")
    if group == "data" or name in ("demo", "celeba_rafd"):
        two_roots = ["data.first.root=one", "data.second.root=two"]
        roots = {"glyphs": [], "domains_joint": two_roots, "celeba_rafd": two_roots}
        return words + roots.get(name, [] if name == "demo" else DATA)
    if (group, name) == ("discriminator", "autoencoder"):
        words.append("objective=ebgan")
    if group == "gradient_penalty" and name != "none":
        words.append("discriminator.norm=none")
    return words + DATA


@functools.cache
def compose_tiny(group: str, name: str) -> Composed:
    return compose_settings([*words_for(group, name), "generator.width=1", "discriminator.width=1"])


@pytest.mark.parametrize(("group", "name"), EVERY, ids="=".join)
def test_every_yaml_composes_and_builds(group, name):
    tiny = compose_tiny(group, name)
    assert tiny.settings.output.startswith("runs/")
    side = Side(3, "uint8", 0, 255)
    is_labelled = resolve(tiny.tree["method"]["_target_"], LOCAL).batch_type is Labeled
    domains = Domains((LabelSet(("a", "b"), "one_hot"),)) if is_labelled else None
    assert assemble(tiny.tree, source=side, target=side, domains=domains).size_multiple >= 1
    build(tiny.settings.data, LOCAL)
    assert build(tiny.settings.schedule, LOCAL)(0, 10) == 1
    assert (
        (conf_directory() / group / f"{name}.yaml")
        .read_text()
        .splitlines()[0]
        .startswith(("# translate", "# @package"))
    )
    assert dict(describe_group(group))[name]


@pytest.mark.parametrize(("group", "name"), EVERY, ids="=".join)
def test_every_setting_of_a_component_stands_in_its_yaml(group, name):
    for path, node in components(compose_tiny(group, name).tree):
        component = resolve(node["_target_"], LOCAL)
        if not node["_target_"].startswith("translate."):
            continue
        wanted = {
            parameter.name
            for parameter in inspect.signature(component).parameters.values()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        }
        wanted -= DERIVED | (METHOD_PARTS if path == "method" else set())
        if path in ("data.first", "data.second"):
            wanted -= {"workers", "cache_gib"}  # of the joint data set alone
        assert {key for key in node if not key.startswith("_")} == wanted, path


@pytest.mark.parametrize("words", [[], ["data=glyphs"], ["generator=resnet_9blocks", "objective=wasserstein"]])
def test_every_setting_has_a_line_of_meaning(words):
    lines = explain_settings(words)
    assert [key for key, _, meaning in lines if not meaning] == []
    assert {"image_size", "data.root", "generator.width", "wandb.mode", "optimizer.lr"} <= {key for key, _, _ in lines}


@pytest.mark.parametrize("name", choices("method"))
def test_every_method_trains_continues_and_converts(name, tiny_for, command, tmp_path):
    run, words = tmp_path / "run", tiny_for(name)
    for steps in (1, 2):
        done = command("train", *words, f"steps={steps}", "schedule=constant")
        assert done.code == 0, done.err
    straight = command("train", *words, "steps=2", f"output={tmp_path / 'straight'}", "schedule=constant")
    assert straight.code == 0
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (run, tmp_path / "straight"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    (image,) = list(tmp_path.rglob("image 0*.png"))[:1]
    to = ["--to", "all"] if name == "stargan" else []
    assert command("convert", run, image.parent, tmp_path / "out", *to).code == 0
    assert len(list((tmp_path / "out").rglob("image*.png"))) == len(list(image.parent.glob("*.png"))) * (2 if to else 1)


def test_what_a_method_sets_for_its_own_component_is_left_out_for_another():
    discriminator = compose_settings(["method=stargan", *DATA]).settings.discriminator
    assert "norm" not in discriminator
    discriminator = compose_settings(["method=stargan", "discriminator=patchgan", *DATA]).settings.discriminator
    assert discriminator["norm"] == "instance"
    assert "num_layers" not in compose_settings(["recipe=demo", "discriminator=pixel"]).settings.discriminator
    with pytest.raises(UserError, match=r"discriminator\.num_layers is not a setting"):
        compose_settings(["recipe=demo", "discriminator=pixel", "discriminator.num_layers=2"])


def test_a_method_brings_its_own_defaults_and_words_win_over_them():
    settings = compose_settings(DATA).settings
    assert settings.generator["dropout"] == 0.5
    assert settings.generator["norm"] == "batch"
    settings = compose_settings([*DATA, "generator=resnet_6blocks", "objective=hinge", "generator.norm=none"]).settings
    assert settings.generator["num_blocks"] == 6
    assert settings.generator["norm"] == "none"
    assert settings.objective["_target_"].endswith("hinge")


def test_steps_and_epochs_replace_each_other():
    settings = compose_settings([*DATA, "steps=7"]).settings
    assert (settings.steps, settings.epochs) == (7, None)
    settings = compose_settings(["recipe=demo", "epochs=3"]).settings
    assert (settings.steps, settings.epochs) == (None, 3)


def test_the_output_folder_is_named_after_method_and_data():
    assert compose_settings(["data.root=/photos/facades"]).settings.output == "runs/pix2pix_facades"
    assert compose_settings(["data=glyphs"]).settings.output == "runs/pix2pix_glyphs"
    assert compose_settings(["data=glyphs"]).settings.data["root"].endswith("/runs/pix2pix_glyphs/glyphs")


@pytest.mark.parametrize("root", ["/my photos/set (1)", "/back\\slash\\it's", "/a,b/[c]", "/end\\"])
def test_paths_are_taken_as_they_are(root):
    assert compose_settings([f"data.root={root}"]).settings.data["root"] == root


def test_a_relative_data_folder_is_remembered_as_an_absolute_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert compose_settings(["data.root=photos"]).settings.data["root"] == str(tmp_path / "photos")


def test_an_own_folder_adds_choices_and_may_name_own_code(tmp_path):
    own = tmp_path / "mine"
    (own / "generator").mkdir(parents=True)
    text = (conf_directory() / "generator" / "unet_64.yaml").read_text().replace("num_downs: 6", "num_downs: 4")
    (own / "generator" / "unet_16.yaml").write_text(text)
    (own / "schedule").mkdir()
    (own / "schedule" / "mine.yaml").write_text("_target_: fractions.Fraction\n_partial_: true\n")
    assert "unet_16" in choices("generator", own)
    assert compose_settings([*DATA, "generator=unet_16"], own).settings.generator["num_downs"] == 4
    assert "fractions.Fraction" in compose_settings([*DATA, "schedule=mine"], own).allowed


def test_only_own_names_may_be_built():
    with pytest.raises(UserError, match="may not be built"):
        build({"_target_": "os.system", "command": "true"}, LOCAL)
    with pytest.raises(UserError, match="may not be built"):
        build({"_target_": "torch.optim.Adam", "params": []})
    for target in ("translate.config.Path", "translate.files.os", "translate.build._hidden", "translate.nowhere.x"):
        with pytest.raises(UserError):
            build({"_target_": target})


def test_conf_is_found_beside_the_package_or_inside_it():
    assert (conf_directory() / "train.yaml").is_file()
    assert {path.name for path in conf_directory().iterdir() if path.is_dir()} == set(groups())


def test_saved_configuration_is_plain_yaml(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=1").code == 0
    tree = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert tree["generator"]["num_downs"] == 3
    assert tree["data"]["root"] == str(Path(tmp_path / "pairs"))


def test_defaults_are_shown_as_they_are_typed():
    shown = {key: default for key, default, _ in explain_settings([])}
    assert (shown["batch_size"], shown["seed"], shown["compile"], shown["steps"]) == ("1", "0", "false", "null")
    assert shown["optimizer.betas"] == "[0.5, 0.999]"


def test_rates_are_typed_part_by_part() -> None:
    words = ["finetune.rates.encoder=0.5", "finetune.rates.generator.decoder_1=0.1", "data.root=somewhere"]
    assert compose_settings(words).settings.finetune.rates == {"encoder": 0.5, "generator.decoder_1": 0.1}


def test_a_run_of_an_earlier_version_has_no_fresh_parts() -> None:
    tree = compose_settings(["data.root=somewhere"]).tree
    del tree["finetune"]["fresh"]
    assert to_settings(tree).finetune.fresh == []
