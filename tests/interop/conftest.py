"""The recorded files of the reference implementations, and one of CUT's kind."""

import json
import os
from pathlib import Path

import pytest
import torch

from translate.networks.resnet import ResNet

FOLDER = Path(os.environ.get("TRANSLATE_PARITY", Path(__file__).parent.parent / "parity"))
CASES = {case["name"]: case for case in json.loads((FOLDER / "manifest.json").read_text())["networks"]}


@pytest.fixture
def recorded():
    """The file of a recorded network by its name."""
    return lambda name: FOLDER / CASES[name]["checkpoint"]


@pytest.fixture
def cut(tmp_path):
    """A file of CUT's generator, one block and width 2."""
    torch.manual_seed(0)
    network = ResNet(in_channels=3, out_channels=3, num_blocks=1, width=2, downsample="blur", upsample="blur")
    torch.save(network.state_dict(), tmp_path / "cut_net_G.pth")
    return tmp_path / "cut_net_G.pth"
