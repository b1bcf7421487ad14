"""Networks are told by names and shapes alone, and give the recorded outputs of the reference implementations.

A part of the recordings lies in tests/parity; TRANSLATE_PARITY=FOLDER runs all of them.
"""

import inspect
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import translate
from translate.build import build
from translate.errors import UserError
from translate.interop.architecture import infer, read_architecture
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet

FOLDER = Path(os.environ.get("TRANSLATE_PARITY", Path(__file__).parent.parent / "parity"))
CASES = json.loads((FOLDER / "manifest.json").read_text())["networks"]


def recordings():
    """(case, mode) of what is recorded: the part in tests/parity has only the mode that StarGAN's own code runs in."""
    for case in CASES:
        with safe_open(FOLDER / case["io"], "pt") as file:
            names = set(file.keys())
        for mode in ("train", "eval"):
            if any(name.startswith(f"output_{mode}") for name in names):
                yield pytest.param(case, mode, id=f"{case['name']}-{mode}")


@pytest.mark.parametrize(("case", "mode"), list(recordings()))
def test_a_loaded_network_gives_the_recorded_output(case, mode):
    network = translate.interop.load_reference(FOLDER / case["checkpoint"]).double()
    # StarGAN's generator alone comes in training mode, in which its own code always runs it.
    assert network.training == (case["name"] == "G_stargan_4_5")
    recorded = {name: tensor.double() for name, tensor in load_file(FOLDER / case["io"]).items()}
    network.train(mode == "train")
    with torch.no_grad():
        output = network(*(recorded[name] for name in ("input_0", "input_1") if name in recorded))
    outputs = output if isinstance(output, tuple) else (output,)
    stride = case.get("stride", 1)
    expected = [recorded[name] for name in sorted(recorded) if name.startswith(f"output_{mode}")]
    for found, wanted in zip(outputs, expected, strict=True):
        thinned = found[..., ::stride, ::stride] if found.ndim == 4 else found
        assert (thinned - wanted).abs().max() / wanted.abs().max() < 1e-5


def test_stargans_evaluation_mode_is_that_of_its_own_code_by_hand(tmp_path):
    network = StarGANGenerator(in_channels=1, out_channels=1, num_domains=1, num_blocks=1, width=1)
    torch.save(network.state_dict(), tmp_path / "1-G.ckpt")
    norm = translate.interop.load_reference(tmp_path / "1-G.ckpt").main[1]
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0 - 1e-5)
    image = torch.tensor([[[[0.0, 8.0], [8.0, 0.0]]]])
    assert norm.eval()(image).detach().tolist() == [[[[-1.0, 3.0], [3.0, -1.0]]]]
    torch.testing.assert_close(norm.train()(image).detach(), torch.tensor([[[[-1.0, 1.0], [1.0, -1.0]]]]))
    # Models that this package translates with have no such mode.
    torch.testing.assert_close(network.main[1].eval()(image).detach(), norm(image).detach())


def networks():
    sides = {"in_channels": 2, "out_channels": 3}
    return {
        "unet_256": UNet(**sides, num_downs=8, width=1),
        "unet of 2": UNet(**sides, num_downs=2, width=3, norm="instance"),
        "unet without norm": UNet(**sides, num_downs=3, width=3, norm="none"),
        "resnet": ResNet(**sides, num_blocks=6, width=2),
        "resnet with dropout": ResNet(**sides, num_blocks=2, width=2, norm="batch", dropout=0.5),
        "resnet without norm": ResNet(**sides, num_blocks=1, width=2, norm="none"),
        "cut": ResNet(**sides, num_blocks=9, width=2, downsample="blur", upsample="blur"),
        "cut with plain upsampling": ResNet(**sides, num_blocks=2, width=2, downsample="blur", norm="batch"),
        "cut with plain downsampling": ResNet(**sides, num_blocks=2, width=2, upsample="blur", dropout=0.5),
        "stargan": StarGANGenerator(in_channels=3, out_channels=3, num_domains=5, num_blocks=6, width=2),
        "patchgan": PatchGAN(in_channels=6, num_layers=3, width=2),
        "patchgan of 1": PatchGAN(in_channels=3, num_layers=1, width=2, norm="none"),
        "patchgan of 5": PatchGAN(in_channels=3, num_layers=5, width=2, norm="instance"),
        "pixel": PixelDiscriminator(in_channels=4, width=2),
        "pixel without norm": PixelDiscriminator(in_channels=4, width=2, norm="none"),
        "pixel with instance norm": PixelDiscriminator(in_channels=4, width=2, norm="instance"),
        "stargan judge": StarGANDiscriminator(in_channels=3, num_domains=5, image_size=96, width=2, num_layers=4),
    }


@pytest.mark.parametrize("name", networks())
def test_every_setting_is_told_by_names_and_shapes(name):
    network = networks()[name].eval()
    found = infer(network.state_dict())
    assert found.notes == (() if found.component is not UNet else (found.notes[0],))
    # What was told builds the same network: the same modules with the same numbers in the same places.
    assert str(found.build()) == str(network)
    assert found.kind == ("generator" if hasattr(network, "num_domains") else "discriminator")
    again = build(found.settings)(**found.channels)
    assert again.state_dict().keys() == network.state_dict().keys()
    parameters = inspect.signature(found.component).parameters
    assert found.settings.keys() - {"_target_", "_partial_"} == parameters.keys() - {
        *("in_channels", "out_channels", "num_domains")
    }


def test_a_network_inside_a_module_of_its_own_is_found():
    state = ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1).state_dict()
    for prefix in ("generator.", "model.", "model.generator."):
        assert infer({prefix + name: tensor for name, tensor in state.items()}).component is ResNet


# --- hints ---


def test_dropout_of_a_unet_is_a_hint():
    state = UNet(in_channels=1, out_channels=1, num_downs=8, width=1).state_dict()
    assert infer(state).settings["dropout"] == 0.0
    assert infer(state, dropout=True).settings["dropout"] == 0.5
    assert "does not tell whether it was trained with dropout" in infer(state).notes[0]
    assert infer(state, dropout=False).notes == ()
    for network in (ResNet, lambda **sides: UNet(num_downs=5, **sides)):  # 5 levels have no widest one in the middle
        state = network(in_channels=1, out_channels=1, width=1).state_dict()
        with pytest.raises(UserError, match=r"dropout: this generator \((ResNet|UNet)\) has none: leave it out"):
            infer(state, dropout=True)


def test_channels_of_stargans_images_are_a_hint():
    state = StarGANGenerator(in_channels=1, out_channels=3, num_domains=4, num_blocks=1, width=1).state_dict()
    assert infer(state).channels == {"in_channels": 3, "out_channels": 3, "num_domains": 2}
    assert infer(state, image_channels=1).channels == {"in_channels": 1, "out_channels": 3, "num_domains": 4}
    with pytest.raises(UserError, match="takes 5 channels and gives 3: image_channels=5 leaves 0 for the domains"):
        infer(state, image_channels=5)
    resnet = ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1).state_dict()
    with pytest.raises(
        UserError, match=r"image_channels=1: the file itself tells that of this generator \(ResNet\): leave it"
    ):
        infer(resnet, image_channels=1)


# --- what old and other programs save ---


def test_running_statistics_of_instance_norm_are_dropped():
    network = ResNet(in_channels=1, out_channels=1, num_blocks=2, width=1)
    state = dict(network.state_dict())
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.InstanceNorm2d)]
    for name in norms:
        state |= {f"{name}.running_mean": torch.ones(4), f"{name}.running_var": torch.ones(4)}
        state[f"{name}.num_batches_tracked"] = torch.tensor(9)
    found = infer(state)
    assert len(norms) == 3 + 2 * 2 + 2
    assert found.notes == (
        f"dropped {3 * len(norms)} running statistics of instance norms (running_mean, running_var, "
        "num_batches_tracked): old versions of PyTorch saved them, and each image is normalised by its own",
    )
    assert list(found.tensors) == list(network.state_dict())


def test_missing_counters_of_batch_norm_are_filled_in():
    network = UNet(in_channels=1, out_channels=1, num_downs=3, width=1)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("tracked")}
    found = infer(state, dropout=False)
    counters = [tensor for name, tensor in found.tensors.items() if name.endswith("tracked")]
    assert [counter.item() for counter in counters] == [0] * 3
    assert all(counter.dtype == torch.int64 for counter in counters)
    assert "filled in 3 tensors (num_batches_tracked) with what they begin with" in found.notes[0]


def test_missing_statistics_of_stargan_are_filled_in():
    network = StarGANGenerator(in_channels=3, out_channels=3, num_domains=2, num_blocks=1, width=2)
    kept = ("weight", "bias")
    found = infer({name: tensor for name, tensor in network.state_dict().items() if name.endswith(kept)})
    assert found.tensors["main.1.running_var"].tolist() == [1, 1]
    assert found.tensors["main.1.running_mean"].tolist() == [0, 0]
    assert found.notes[0].endswith("with what they begin with: they are never used")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions_become_float32(dtype):
    state = ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1, norm="batch").to(dtype).state_dict()
    found = infer(state)
    assert found.notes == (f"{str(dtype)[6:]} weights became float32",)
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32, torch.int64}
    assert found.tensors["model.1.weight"].equal(state["model.1.weight"].float())


# --- mistakes ---


def unknown():
    return {
        "conv1.weight": torch.ones(64, 3, 7, 7),
        "layer1.0.bn1.running_mean": torch.ones(64),
        "fc.bias": torch.ones(10),
    }


def altered(**changes):
    state = dict(ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1).state_dict())
    for name, tensor in changes.items():
        state[name.replace("__", ".")] = tensor
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (unknown(), r"none of the networks that are known: conv1\.weight \(64, 3, 7, 7\), layer1.*Known are .*CUT"),
        (altered(model__20__weight=torch.ones(1)), r"is not all of a network|looks like a ResNet"),
        (altered(model__14__bias=None), r"looks like a ResNet, but lacks model\.14\.bias \(1,\)"),
        (altered(model__2__weight=torch.ones(1)), r"looks like a ResNet, but has besides model\.2\.weight \(1,\)"),
        (
            altered(model__14__weight=torch.ones(1, 2, 3, 3)),
            r"has model\.14\.weight \(1, 2, 3, 3\) where there should be model\.14\.weight \(2, 1, 3, 3\)",
        ),
        (
            altered(model__14__bias=torch.tensor([torch.nan])),
            r"model\.14\.bias and 0 other weights are NaN or infinite",
        ),
        (
            altered(model__14__bias=torch.ones(1, dtype=torch.int64)),
            r"model\.14\.bias is of type torch\.int64, not of floating point",
        ),
        ({"mlp_0.0.weight": torch.ones(4, 4), "mlp_0.0.bias": torch.ones(4)}, "feature network of CUT, no generator"),
        (
            {f"model.{place}.weight": torch.ones(4, 4, 4, 4) for place in (0, 3, 7)} | {"model.2.filt": torch.ones(1)},
            "CUT's anti-aliased discriminator, which this package does not have",
        ),
        ({"main.0.weight": torch.ones(4), "main.9.main.0.weight": torch.ones(4)}, "is not all of a network"),
    ],
)
def test_what_is_not_known_is_said_with_names_and_shapes(state, message):
    with pytest.raises(UserError, match=message):
        infer(state)


def test_a_block_with_a_zero_border_is_no_block_of_the_reference():
    state = ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1, padding="zero").state_dict()
    with pytest.raises(UserError, match=r"looks like a ResNet, but lacks model\.10\.conv_block\.1\.weight"):
        infer(state)


def test_the_file_is_named(tmp_path):
    torch.save(unknown(), tmp_path / "resnet50.pth")
    with pytest.raises(UserError, match=r"resnet50\.pth: holds none of the networks that are known"):
        read_architecture(tmp_path / "resnet50.pth")
