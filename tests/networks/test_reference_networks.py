"""The networks give the recorded outputs of the reference implementation with its weights, loaded by name.

A part of the recordings lies in tests/parity; TRANSLATE_PARITY=FOLDER runs all of them.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet

FOLDER = Path(os.environ.get("TRANSLATE_PARITY", Path(__file__).parent.parent / "parity"))
CASES = json.loads((FOLDER / "manifest.json").read_text())["networks"]


def build(case):
    if case["source"] == "stargan":
        settings = {"in_channels": 3, "num_domains": case["c_dim"], "width": case["conv_dim"]}
        if case["kind"] == "discriminator":
            return StarGANDiscriminator(image_size=case["image_size"], num_layers=case["repeat_num"], **settings)
        return StarGANGenerator(out_channels=3, num_blocks=case["repeat_num"], **settings)
    settings = {"in_channels": case["input_nc"], "norm": case["norm"]}
    match case:
        case {"arch": "unet_128" | "unet_256" as name}:
            depth = {"unet_128": 7, "unet_256": 8}[name]
            return UNet(out_channels=case["output_nc"], num_downs=depth, width=case["ngf"], **settings)
        case {"arch": "resnet_6blocks" | "resnet_9blocks" as name}:
            blocks = {"resnet_6blocks": 6, "resnet_9blocks": 9}[name]
            return ResNet(out_channels=case["output_nc"], num_blocks=blocks, width=case["ngf"], **settings)
        case {"arch": "basic"}:
            return PatchGAN(num_layers=case["n_layers"], width=case["ndf"], **settings)
    return PixelDiscriminator(width=case["ndf"], **settings)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_output_is_the_recorded_one(case, mode):
    network = build(case).double()
    network.load_state_dict(torch.load(FOLDER / case["checkpoint"], weights_only=True))
    recorded = {name: tensor.double() for name, tensor in load_file(FOLDER / case["io"]).items()}
    network.train(mode == "train")
    # StarGAN's code never leaves training mode, in which its instance norms use the image's own statistics.
    recorded_mode = "train" if isinstance(network, StarGANGenerator) else mode
    with torch.no_grad():
        output = network(*(recorded[name] for name in ("input_0", "input_1") if name in recorded))
    outputs = output if isinstance(output, tuple) else (output,)
    stride = case.get("stride", 1)
    recorded_outputs = [recorded[name] for name in sorted(recorded) if name.startswith(f"output_{recorded_mode}")]
    for output, expected in zip(outputs, recorded_outputs, strict=True):
        thinned = output[..., ::stride, ::stride] if output.ndim == 4 else output
        assert (thinned - expected).abs().max() / expected.abs().max() < 1e-5


def test_stargan_files_are_given_back_as_they_were():
    for case in CASES:
        if case["source"] == "stargan":
            file = torch.load(FOLDER / case["checkpoint"], weights_only=True)
            network = build(case)
            network.load_state_dict(file)
            assert list(network.state_dict()) == list(file)
            for name, tensor in network.state_dict().items():
                assert tensor.dtype == file[name].dtype
                assert tensor.equal(file[name])
