"""`translate import`, and files of weights in the place of a checkpoint, as a person uses them."""

import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import translate
from translate.config import compose_settings
from translate.conversion.load import load_engine
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.interop.checkpoint import import_reference
from translate.model import read_model
from translate.networks.patchgan import PatchGAN
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet


@pytest.fixture
def save(tmp_path):
    """Save a fresh network's weights whose output varies strongly."""

    def make(network, name="latest_net_G.pth"):
        torch.save(network.state_dict(), tmp_path / name)
        return tmp_path / name

    return make


def resnet(**options):
    defaults = {"in_channels": 3, "out_channels": 3, "num_blocks": 1, "width": 2, "initialization": "kaiming"}
    return ResNet(**defaults | options)


def stargan(**options):
    return StarGANGenerator(
        **{"in_channels": 3, "out_channels": 3, "num_domains": 3, "num_blocks": 1, "width": 2} | options
    )


def judge(**options):
    return StarGANDiscriminator(**{"in_channels": 3, "num_domains": 3, "image_size": 64, "width": 1} | options)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def by_the_network(network, pixels, *labels):
    """What a network makes of (H, W, C) pixels, rounded to 8 bits."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        output = network(image, *labels)[0].permute(1, 2, 0)
    return ((output + 1) * 127.5).clamp(0, 255).round().byte().numpy()


# --- model folders ---


@pytest.mark.parametrize("name", ["G_resnet_9blocks_instance", "G_resnet_6blocks_batch"])
def test_converting_with_an_imported_model_is_what_the_network_gives(name, recorded, command, noise, tmp_path):
    pixels = noise((64, 64, 3))
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    done = command("import", recorded(name), "--output", tmp_path / "model")
    assert done.code == 0, done.err
    assert f"translate convert {tmp_path / 'model'} INPUT OUTPUT" in done.out
    assert command("convert", tmp_path / "model", tmp_path / "a.png", tmp_path / "b.png").code == 0
    # The reference translates in training mode, with each image's own statistics.
    network = translate.interop.load_reference(recorded(name)).train()
    found = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    found = found[..., None] if found.ndim == 2 else found[..., ::-1]
    expected = by_the_network(network, pixels)
    assert expected.std() > 5
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    # The file itself is a checkpoint too.
    assert command("convert", recorded(name), tmp_path / "a.png", tmp_path / "c.png").code == 0
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_weights_are_stored_byte_for_byte_with_where_they_came_from(recorded, command, tmp_path):
    file = recorded("G_resnet_6blocks_batch")
    assert command("import", file, "--output", tmp_path / "model").code == 0
    stored = load_file(tmp_path / "model" / "model.safetensors")
    original = torch.load(file, weights_only=True)
    assert stored.keys() == {f"generator.{name}" for name in original}
    assert all(stored[f"generator.{name}"].equal(tensor) for name, tensor in original.items())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    lineage = [{"source": "latest_net_G.pth", "sha256": digest, "kind": "import", "steps": None}]
    assert config_of(tmp_path / "model")["lineage"] == lineage
    model = read_model(tmp_path / "model")
    assert list(model.lineage) == lineage
    assert model.steps == 0


def test_the_configuration_is_a_complete_one(recorded, command, tmp_path):
    assert command("import", recorded("G_resnet_6blocks_batch"), "--output", tmp_path / "model").code == 0
    config = config_of(tmp_path / "model")
    settings = config["settings"]
    whole = compose_settings(["generator=resnet_6blocks", "data.root=somewhere"]).tree
    assert settings.keys() == whole.keys()
    for group in ("method", "generator", "discriminator", "objective", "optimizer", "schedule", "data", "wandb"):
        assert settings[group].keys() == whole[group].keys(), group
    assert settings["generator"] == whole["generator"] | {"width": 4, "norm": "batch", "dropout": 0.0}
    assert (settings["norm_at_test"], settings["dropout_at_test"]) == ("image", False)
    assert settings["data"]["root"] == "unknown"
    assert config["source"] == {"channels": 3, "dtype": "uint8", "low": 0, "high": 255, "labels": False}
    assert config["target"]["channels"] == 1


def test_instance_norm_needs_no_word_about_the_test(save, command, tmp_path):
    assert command("import", save(resnet()), "--output", tmp_path / "model", "--image-size", "128").code == 0
    settings = config_of(tmp_path / "model")["settings"]
    assert settings["norm_at_test"] == "running"
    assert settings["image_size"] == 128


def test_a_unet_translates_with_dropout_where_that_is_said(save, command, noise, tmp_path):
    unet = UNet(in_channels=3, out_channels=3, num_downs=6, width=2, initialization="kaiming")
    file, image = save(unet), noise((64, 64, 3))
    said = command("import", file, "--output", tmp_path / "with", "--dropout")
    silent = command("import", file, "--output", tmp_path / "without")
    assert said.code == silent.code == 0
    assert "does not tell whether it was trained with dropout" in silent.out
    assert "trained with dropout" not in said.out
    settings = config_of(tmp_path / "with")["settings"]
    assert (settings["generator"]["dropout"], settings["dropout_at_test"]) == (0.5, True)
    assert settings["image_size"] == 64
    found = [translate.load(tmp_path / name, accelerator="cpu")(image) for name in ("with", "without")]
    assert np.abs(found[0].astype(int) - found[1].astype(int)).max() > 1
    expected = by_the_network(translate.interop.load_reference(file).train(), image)
    assert np.abs(found[1].astype(int) - expected.astype(int)).max() <= 1


def test_two_generators_make_a_cyclegan(save, command, noise, tmp_path):
    torch.manual_seed(0)
    there, home = save(resnet(out_channels=1), "net_G_A.pth"), save(resnet(in_channels=1), "net_G_B.pth")
    assert command("import", there, "--back", home, "--output", tmp_path / "model").code == 0
    config = config_of(tmp_path / "model")
    assert config["settings"]["method"]["_target_"] == "translate.methods.cyclegan.CycleGAN"
    assert config["settings"]["method"]["identity_weight"] == 0.0  # it compares images of equal channels
    assert config["settings"]["discriminator"]["norm"] == "instance"
    assert [entry["source"] for entry in config["lineage"]] == ["net_G_A.pth", "net_G_B.pth"]
    for direction, file, channels in (("AtoB", there, 3), ("BtoA", home, 1)):
        image = noise((24, 32, channels))
        found = translate.load(tmp_path / "model", accelerator="cpu", direction=direction)(image)
        expected = by_the_network(translate.interop.load_reference(file), image)
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_stargan_translates_into_named_domains(save, command, noise, tmp_path):
    file, image = save(stargan(), "200000-G.ckpt"), noise((24, 32, 3))
    done = command("import", file, "--output", tmp_path / "model", "--domains", "red, green,blue")
    assert done.code == 0, done.err
    assert "--to all" in done.out
    translator = translate.load(tmp_path / "model", accelerator="cpu")
    found = translator(image, "green")
    network = translate.interop.load_reference(file)
    expected = by_the_network(network, image, torch.tensor([[0.0, 1.0, 0.0]]))
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    unnamed = translate.load(file, accelerator="cpu")
    assert unnamed.requests("all") == ["domain_1", "domain_2", "domain_3"]
    assert (unnamed(image, "domain_2") == found).all()
    assert config_of(tmp_path / "model")["settings"]["image_size"] == 128


def test_attributes_are_recognised_by_the_discriminator_beside(save, command, noise, tmp_path):
    file = save(stargan(), "200000-G.ckpt")
    alone = command("import", file, "--output", tmp_path / "model", "--attributes")
    assert alone.code == 2
    assert f"--attributes needs --discriminator FILE, such as {tmp_path / '200000-D.ckpt'}" in alone.err
    save(judge(), "200000-D.ckpt")
    done = command("import", file, "--output", tmp_path / "model", "--attributes", "--domains", "old,tall,glad")
    assert done.code == 0, done.err
    model = read_model(tmp_path / "model")
    assert model.domains == Domains((LabelSet(("old", "tall", "glad"), "attributes"),))
    assert model.settings["image_size"] == 64
    assert [entry["source"] for entry in model.lineage] == ["200000-G.ckpt", "200000-D.ckpt"]
    image = noise((64, 64, 3))
    found = translate.load(tmp_path / "model", accelerator="cpu")(image, "+tall -old +glad")
    expected = by_the_network(translate.interop.load_reference(file), image, torch.tensor([[0.0, 1.0, 1.0]]))
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_one_of_several_networks_is_imported(save, command, tmp_path):
    first, second = resnet().state_dict(), resnet().state_dict()
    torch.save({"G_A": first, "G_B": second}, tmp_path / "all.pth")
    refused = command("import", tmp_path / "all.pth", "--output", tmp_path / "model")
    assert refused.code == 2
    assert "holds several networks: G_A (16 tensors), G_B (16 tensors). Choose one" in refused.err
    assert command("import", tmp_path / "all.pth", "--output", tmp_path / "model", "--part", "G_B").code == 0
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert stored["generator.model.1.weight"].equal(second["model.1.weight"])
    both = (tmp_path / "all.pth", "--back", tmp_path / "all.pth", "--part", "G_A", "--part", "G_B")
    assert command("import", *both, "--output", tmp_path / "cyclegan").code == 0
    stored = load_file(tmp_path / "cyclegan" / "model.safetensors")
    for name, state in (("generator_forward", first), ("generator_backward", second)):
        assert stored[f"{name}.model.1.weight"].equal(state["model.1.weight"])
    refused = command("import", *both, "--part", "G_C", "--output", tmp_path / "other")
    assert refused.code == 2
    assert "--part G_C: there is no file left for it" in refused.err


def test_the_generator_of_cut_translates(cut, noise):
    generator = import_reference(cut).model.settings["generator"]
    assert (generator["downsample"], generator["upsample"]) == ("blur", "blur")
    image = noise((24, 32, 3))
    found = translate.load(cut, accelerator="cpu")(image)
    expected = by_the_network(translate.interop.load_reference(cut), image)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_a_model_is_replaced_only_when_that_is_said(save, command, tmp_path):
    model = tmp_path / "model"
    assert command("import", save(resnet()), "--output", model).code == 0
    again = ("import", save(resnet(width=3)), "--output", model)
    refused = command(*again)
    assert refused.code == 2
    assert (
        f"--output {model} holds a model already ({model / 'config.json'}): give another folder, or --over"
        in refused.err
    )
    assert config_of(model)["settings"]["generator"]["width"] == 2
    assert command(*again, "--overwrite").code == 0
    assert read_model(model).settings["generator"]["width"] == 3


def test_a_run_folder_is_never_written_into(save, command, tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").touch()
    refused = command("import", save(resnet()), "--output", tmp_path / "run", "--overwrite")
    assert refused.code == 2
    assert "holds a model already" in refused.err
    assert "give another folder" in refused.err
    assert not (tmp_path / "run" / "model.safetensors").exists()


# --- mistakes ---


@pytest.mark.parametrize(
    ("network", "example"),
    [(judge, "200000-G.ckpt"), (lambda: PatchGAN(in_channels=6, width=1), "latest_net_G.pth")],
)
def test_a_discriminator_is_named_as_one(network, example, save, command, tmp_path):
    file = save(network(), "200000-D.ckpt")
    for words in (("import", file, "--output", tmp_path / "m"), ("convert", file, tmp_path, "out")):
        refused = command(*words)
        assert refused.code == 2
        assert f"{file} is a discriminator, which judges images and translates none: " in refused.err
        assert f"Give the file of the generator, such as {example}" in refused.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (resnet, {"domains": ["a"]}, r"--domains a: .* is a ResNet, which translates into no domains"),
        (resnet, {"attributes": True}, r"--attributes: .* is a ResNet, which translates into no domains"),
        (resnet, {"dropout": True}, r"dropout: this generator \(ResNet\) has none"),
        (resnet, {"image_channels": 1}, r"the file itself tells that of this generator \(ResNet\)"),
        (resnet, {"image_size": 30}, "--image-size 30: this network takes sizes that are multiples of 4, at least 8"),
        (stargan, {"domains": ["a", "b"]}, "a,b: these are 2 names, but .* was trained with 3 domains: it takes 6"),
        (stargan, {"domains": ["a", "a", "b"]}, "a,a,b: every domain needs a name of its own"),
        (stargan, {"domains": ["a", " ", "b"]}, "every domain needs a name of its own"),
        (stargan, {"image_channels": 6}, "image_channels=6 leaves 0 for the domains"),
    ],
)
def test_what_does_not_suit_the_network_is_refused(save, network, options, message):
    with pytest.raises(UserError, match=message):
        import_reference(save(network()), **options)


def test_generators_that_do_not_lead_back_are_refused(save):
    there = save(resnet(out_channels=1), "a.pth")
    with pytest.raises(UserError, match=r"translates 3 channels into 3, but .* 3 into 1: it does not lead back"):
        import_reference(there, back=save(resnet(), "b.pth"))
    with pytest.raises(
        UserError, match=r"both generators of a CycleGAN are alike, but .* num_blocks=1, .* num_blocks=2"
    ):
        import_reference(there, back=save(resnet(num_blocks=2), "b.pth"))
    with pytest.raises(UserError, match="is a StarGAN, whose one generator translates between all domains"):
        import_reference(save(stargan(), "1-G.ckpt"), back=there)


def test_discriminators_that_know_other_domains_are_refused(save):
    generator = save(stargan(), "generator.ckpt")
    with pytest.raises(UserError, match="it must be a StarGANDiscriminator of 3 domains and images of 3 channels"):
        import_reference(generator, attributes=True, discriminator=save(judge(num_domains=2), "judge.ckpt"))
    with pytest.raises(UserError, match="is read together with --attributes alone: leave it out"):
        import_reference(generator, discriminator=save(judge(), "judge.ckpt"))


def test_an_output_that_is_a_file_is_refused(save, command, tmp_path):
    (tmp_path / "model").write_text("a letter")
    refused = command("import", save(resnet()), "--output", tmp_path / "model")
    assert refused.code == 2
    assert "is a file: give the folder to write the model into" in refused.err


# --- files in the place of a checkpoint ---


def test_a_file_is_evaluated_on_pairs_that_are_named(save, command, pairs, tmp_path):
    file = save(resnet())
    ran = command("evaluate", file, "data=paired", f"data.root={pairs}", "image_size=16", "data.workers=0")
    assert ran.code == 0, ran.err
    assert "1 pairs of the test split" in ran.out
    assert len(list((tmp_path / "latest_net_G_evaluation").glob(f"evaluation_test_{pairs.name}-*.csv"))) == 1
    nowhere = command("evaluate", file)
    assert nowhere.code == 2
    assert "unknown does not exist: give the folder of your images" in nowhere.err


def test_other_backends_want_a_model_folder(save):
    file = save(resnet())
    with pytest.raises(UserError, match=f"translate import {file} --output MODEL makes one"):
        load_engine(file, backend="onnxruntime")


def test_what_is_neither_folder_nor_weights_is_refused(command, tmp_path, pairs):
    (tmp_path / "photo.png").write_bytes(b"")
    refused = command("convert", tmp_path / "photo.png", pairs, tmp_path / "out")
    assert refused.code == 2
    assert "photo.png is a file, and none of weights (.pth, .pt, .ckpt, .safetensors)" in refused.err
    missing = command("convert", tmp_path / "nowhere.pth", pairs, tmp_path / "out")
    assert missing.code == 2
    assert "nowhere.pth does not exist" in missing.err


def test_converting_with_a_model_imports_nothing_of_this(save, command, tmp_path):
    assert command("import", save(resnet()), "--output", tmp_path / "model").code == 0
    code = (
        f"import sys, translate; translate.load({str(tmp_path / 'model')!r}); "
        "print([name for name in sys.modules if name.startswith(('translate.interop', 'hydra', 'omegaconf'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_has_no_other_names():
    assert translate.interop.load_reference is translate.interop.architecture.load_reference
    with pytest.raises(AttributeError, match="module 'translate' has no attribute 'interrop'"):
        _ = translate.interrop
