"""Models to convert with: a tiny trained-looking network in a model folder, and one whose results are known by hand."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from translate.conversion.torch_engine import TorchEngine
from translate.conversion.translator import Translator
from translate.domains import Domains, LabelSet
from translate.methods.adversary import Adversary
from translate.methods.cyclegan import CycleGAN
from translate.methods.method import Method, Turn
from translate.methods.stargan import StarGAN
from translate.methods.step import Step
from translate.model import Model, assemble, read_model, write_model
from translate.objectives.adversarial import lsgan
from translate.pixels import Side

COLOR = Side(3, "uint8", 0, 255)


class Negative(Method):
    """Turns pixels into their negative; with other channels in the target, the mean of all into each of them."""

    players: ClassVar = {}
    translators = ()
    size_multiple = 8

    def __init__(self, target_channels: int) -> None:
        super().__init__()
        self.target_channels = target_channels

    def play(self, batch: Any, step: Step) -> Iterator[Turn]:
        raise NotImplementedError

    def translator(self, *, back: bool = False) -> nn.Module:
        return self

    def forward(self, source: Tensor) -> Tensor:
        assert not source.shape[2] % 8
        assert not source.shape[3] % 8
        if source.shape[1] == self.target_channels:
            return -source
        return -source.mean(1, keepdim=True).expand(-1, self.target_channels, -1, -1)

    def show(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError


@pytest.fixture
def negative() -> Callable[..., Translator]:
    """A translator to the negative, between two sides."""

    def make(source: Side = COLOR, target: Side | None = None, **settings: Any) -> Translator:
        target = source if target is None else target
        settings = {"dropout_at_test": False, "seed": 0, "data": {}} | settings
        return Translator(
            TorchEngine(Model(Negative(target.channels), source, target, None, settings, 0), torch.device("cpu"))
        )

    return make


class Selective(nn.Module):
    """Keeps the colours whose label is 1 and turns the others into their negative: the first of three is red."""

    def forward(self, source: Tensor, labels: Tensor) -> Tensor:
        return source * (2 * labels[:, :3, None, None] - 1)


class ColorSeeing(nn.Module):
    """Sees an attribute where the colour of its place is brighter than the middle."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images.mean((2, 3))


@pytest.fixture
def labeled() -> Callable[..., Translator]:
    """A StarGAN of three domains or attributes between colour images, with `Selective` and `ColorSeeing` networks."""

    def make(*names: str, kind: Any = "one_hot", exclusive: tuple[tuple[str, ...], ...] = ()) -> Translator:
        known = Domains((LabelSet(names, kind, exclusive),))
        method = StarGAN(
            generator=lambda **_: Selective(),
            discriminator=lambda **_: ColorSeeing(),
            adversary=partial(Adversary, objective=lsgan()),
            source_channels=3,
            target_channels=3,
            domains=known,
        )
        settings = {"dropout_at_test": False, "seed": 0, "data": {}}
        return Translator(TorchEngine(Model(method, COLOR, COLOR, known, settings, 0), torch.device("cpu")))

    return make


class Grey(nn.Module):
    """The mean of the channels; out of one channel its negative, in every channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.sign, self.out_channels = 1 if in_channels > 1 else -1, out_channels

    def forward(self, images: Tensor) -> Tensor:
        return self.sign * images.mean(1, keepdim=True).expand(-1, self.out_channels, -1, -1)


@pytest.fixture
def both_ways() -> Callable[..., Translator]:
    """A CycleGAN between two sides of 3 and 1 channels, with `Grey` networks."""

    def make(source: Side, target: Side, *, trained: str | None = "AtoB", direction: Any = None) -> Translator:
        method = CycleGAN(
            generator=lambda *, in_channels, out_channels, num_domains=0: Grey(in_channels, out_channels),
            discriminator=lambda **_: nn.Identity(),
            adversary=partial(Adversary, objective=lsgan()),
            source_channels=source.channels,
            target_channels=target.channels,
            identity_weight=0,
        )
        data = {} if trained is None else {"direction": trained}
        settings = {"dropout_at_test": False, "seed": 0, "data": data}
        model = Model(method, source, target, None, settings, 0)
        return Translator(TorchEngine(model, torch.device("cpu"), direction=direction))

    return make


@pytest.fixture
def settings() -> dict[str, Any]:
    """The settings of a tiny U-Net whose output varies strongly (with the usual small weights it would be all grey)."""
    return {
        "method": {"_target_": "translate.methods.pix2pix.Pix2Pix", "l1_weight": 100.0},
        "generator": {
            "_target_": "translate.networks.unet.UNet",
            "_partial_": True,
            "num_downs": 3,
            "width": 2,
            "initialization": "kaiming",
        },
        "discriminator": {"_target_": "translate.networks.patchgan.PatchGAN", "_partial_": True},
        "objective": {"_target_": "translate.objectives.adversarial.nonsaturating"},
        "norm_at_test": "running",
        "dropout_at_test": False,
        "seed": 0,
        "image_size": 16,
        "data": {"augmentation": {"resize": "stretch"}},
    }


@pytest.fixture
def model_folder(tmp_path: Path, settings: dict[str, Any]) -> Callable[..., Path]:
    """Write a model folder with fresh weights; keyword arguments replace single settings."""

    def make(source: Side = COLOR, target: Side = COLOR, *, double: bool = False, **changed: Any) -> Path:
        changed = settings | changed
        torch.manual_seed(0)
        method = assemble(changed, source=source, target=target, domains=None)
        tensors = (method.double() if double else method).networks["generator"].state_dict()
        folder = tmp_path / "model"
        write_model(
            folder,
            {f"generator.{name}": tensor for name, tensor in tensors.items()},
            settings=changed,
            source=source,
            target=target,
            domains=None,
            steps=7,
            version="0.1.0",
        )
        return folder

    return make


@pytest.fixture
def translator(model_folder: Callable[..., Path]) -> Callable[..., Translator]:
    """A translator with the tiny network; arguments as of `model_folder`."""

    def make(*sides: Side, resize: Any = "native", **options: Any) -> Translator:
        return Translator(TorchEngine(read_model(model_folder(*sides, **options)), torch.device("cpu")), resize=resize)

    return make


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder to convert, empty."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where converted images go; not there yet."""
    return tmp_path / "out"
