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
from translate.networks.unet import UNet

FOLDER = Path(os.environ.get("TRANSLATE_PARITY", Path(__file__).parent.parent / "parity"))
CASES = [
    case
    for case in json.loads((FOLDER / "manifest.json").read_text())["networks"]
    if case["source"] == "pytorch-CycleGAN-and-pix2pix"
]


def build(case):
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
    recorded = load_file(FOLDER / case["io"])
    network.train(mode == "train")
    with torch.no_grad():
        output = network(recorded["input_0"].double())
    stride = case.get("stride", 1)
    expected = recorded[f"output_{mode}"].double()
    error = (output[..., ::stride, ::stride] - expected).abs().max() / expected.abs().max()
    assert error < 1e-5
