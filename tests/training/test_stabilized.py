"""Networks of scaled weights and attention: they train, continue exactly, are folded to translate, and learn on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import translate
from translate.model import assemble, read_model, write_model
from translate.pixels import Side, denormalize, normalize
from translate.training.begin import begin, read_origin
from translate.training.checkpoint import read_state

SIDE = Side(3, "uint8", 0, 255)
GREY = Side(1, "uint8", 0, 255)
WORDS = ["schedule=constant", "average_decay=0.5", "generator.attention=true"]


def state_of(run: Path):
    state = read_state(run)
    found = {f"{name}.{key}": value for name, part in state["networks"].items() for key, value in part.items()}
    return found | {f"average.{key}": value for part in state["average"].values() for key, value in part.items()}


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_normalised_generator_continues_exactly_is_folded_and_learns_on(command, tiny, trained, finetune, tmp_path):
    words = [*WORDS, "generator.spectral_norm=true", "discriminator_rate=4"]
    run = trained("pix2pix", "steps=1", *words)
    goes_on = [word for word in tiny if not word.startswith("output=")]
    assert command("train", *goes_on, "steps=2", *words, f"output={run}").code == 0
    assert command("train", *goes_on, "steps=2", *words, f"output={tmp_path / 'straight'}").code == 0
    state = state_of(run)
    assert equal(state, state_of(tmp_path / "straight"))
    assert any(name.endswith("._u") for name in state)
    groups = [
        group
        for part in ("generator", "discriminator")
        for group in read_state(run)["optimizers"][part]["param_groups"]
    ]
    assert [group["initial_lr"] for group in groups] == pytest.approx([2e-4, 8e-4])

    # Folded or not, the model gives the same image.
    folder = run / "model"
    saved = load_file(folder / "model.safetensors")
    assert any("parametrizations" in name for name in saved)
    assert not any("parametrizations" in name for name, _ in read_model(folder).method.named_parameters())
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    as_trained = read_model(folder, folded=False).method
    with torch.inference_mode():
        output = as_trained.translate(normalize(torch.from_numpy(image).permute(2, 0, 1)[None], 0, 255))
    expected = denormalize(output[0].permute(1, 2, 0), "uint8", 0, 255)
    found = translate.load(folder, accelerator="cpu")(image)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1

    done = finetune("steps=1", "discriminator_rate=4")
    assert done.code == 0, done.err
    assert state_of(tmp_path / "new").keys() >= {name for name in state if not name.startswith("average")}
    assert "discriminator.layer_1: learns at 4 of the rate" in (tmp_path / "new" / "log.txt").read_text()


def settings_of(**generator):
    return {
        "method": {"_target_": "translate.methods.pix2pix.Pix2Pix"},
        "generator": {
            "_target_": "translate.networks.resnet.ResNet",
            "_partial_": True,
            "num_blocks": 1,
            "width": 2,
            "gain": 0.5,
        }
        | generator,
        "discriminator": {"_target_": "translate.networks.patchgan.PatchGAN", "_partial_": True, "width": 2},
        "objective": {"_target_": "translate.objectives.adversarial.lsgan"},
        "norm_at_test": "running",
        "dropout_at_test": False,
        "seed": 0,
        "image_size": 8,
        "data": {},
    }


@pytest.mark.parametrize("scaled", ["spectral_norm", "equalized"])
def test_scaled_weights_are_made_to_fit_other_channels(scaled, tmp_path):
    settings = settings_of(**{scaled: True})
    torch.manual_seed(0)
    old = assemble(settings, source=GREY, target=SIDE, domains=None)
    tensors = {f"generator.{name}": tensor for name, tensor in old.generator.state_dict().items()}
    write_model(tmp_path, tensors, settings=settings, source=GREY, target=SIDE, domains=None, steps=1, version="1")

    def build(source, target, domains):
        return assemble(settings, source=source, target=target, domains=domains)

    new = build(SIDE, SIDE, None)
    beginning = begin(new, read_origin(tmp_path), build, source=SIDE, target=SIDE, domains=None, channels="average")
    assert any("parametrizations.weight.original: (2, 1, 7, 7) made (2, 3, 7, 7)" in line for line in beginning.lines)
    image = torch.rand(1, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        found, expected = (net.generator.eval()(x) for net, x in ((new, image.expand(-1, 3, -1, -1)), (old, image)))
    # Instance norm takes the scale away that a spectral norm of other weights has.
    assert (found - expected).abs().max() < 1e-3
    assert expected.std() > 0.1
