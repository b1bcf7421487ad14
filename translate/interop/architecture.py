"""Which network weights belong to, told by their names and shapes alone.

Every setting follows from a few shapes; then the network is built, without memory, and its names and shapes must be
those of the file. What the reference implementations saved and never use is dropped, what old versions of PyTorch did
not save is filled in, and both are said.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from translate.errors import UserError
from translate.interop.reference_file import read_tensors
from translate.model import NoDraws
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.stargan import ImageNorm, StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet

Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal["generator", "discriminator"]
DROPOUT = 0.5
"""The reference implementation's only probability."""
STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
"""What norms keep of the images they have seen, and what it is before the first."""
KNOWN = (
    "the generators and discriminators of pix2pix and CycleGAN (U-Net, ResNet, PatchGAN, pixel), those of StarGAN, and "
    "the generator of CUT"
)


@dataclass(frozen=True)
class Architecture:
    """A network of this package and weights that fit it.

    Attributes:
        kind: generator or discriminator.
        component: its class.
        settings: its configuration, complete, as in conf/generator/*.yaml.
        channels: what follows from the data: `in_channels`, `out_channels` of a generator, `num_domains` where it has
            some.
        tensors: its state by name, float32.
        notes: what was dropped, filled in or changed, and why.
    """

    kind: Kind
    component: type[nn.Module]
    settings: dict[str, Any]
    channels: dict[str, int]
    tensors: dict[str, Tensor]
    notes: tuple[str, ...]

    @property
    def num_domains(self) -> int:
        """Domains that it is told or tells; 0 without."""
        return self.channels.get("num_domains", 0)

    def describe(self) -> str:
        """One line for people."""
        said = ("num_blocks", "num_downs", "num_layers", "width", "norm", "dropout", "downsample", "upsample")
        usual = {"dropout": 0.0, "downsample": "stride", "upsample": "deconv"}
        settings = {name: value for name, value in self.settings.items() if name in said and value != usual.get(name)}
        words = [f"{name}={value}" for name, value in {**settings, **self.channels}.items()]
        return f"{self.component.__name__} ({self.kind}): {', '.join(words)}"

    def build(self) -> nn.Module:
        """The network with its weights, in evaluation mode on the CPU."""
        network = _sketch(self.component, self.settings, self.channels)
        network.load_state_dict(self.tensors, assign=True)
        return network.eval()


@dataclass(frozen=True)
class Draft:
    """What a few shapes say of a network."""

    kind: Kind
    component: type[nn.Module]
    channels: dict[str, int]
    settings: dict[str, Any] = field(default_factory=dict)


def load_reference(
    path: str | Path, *, part: str | None = None, dropout: bool | None = None, image_channels: int | None = None
) -> nn.Module:
    """A network with the weights of a file of another project, which computes what it computes there.

    Known are the generators and discriminators of pix2pix and CycleGAN, those of StarGAN, and the generator of CUT.
    Generators map images in [-1, 1] to such images; StarGAN's is called with images and label vectors. Discriminators
    give logits; StarGAN's a pair, the logits and the domain logits.

    It is in evaluation mode, except StarGAN's generator, which is in training mode as its own code always runs it:
    in evaluation mode it normalises, as there, by running statistics that it was never meant to be used with.

    Args:
        path: .pth, .pt, .ckpt or .safetensors; only tensors are read, nothing in it is run.
        part: which of several networks in the file is meant.
        dropout: whether a U-Net was trained with dropout, which matters in training mode; its file cannot tell. None
            is no.
        image_channels: channels of a StarGAN generator's images; None is as many as it gives. What it takes beside
            them are domains.

    Raises:
        UserError: there is no such file, it is damaged or holds more than tensors, or no network that is known; or a
            hint contradicts it.
    """
    network = read_architecture(Path(path), part=part, dropout=dropout, image_channels=image_channels).build()
    for module in network.modules():
        if isinstance(module, ImageNorm):
            module.running_at_test = True
    return network.train(isinstance(network, StarGANGenerator))


def read_architecture(
    path: Path, *, part: str | None = None, dropout: bool | None = None, image_channels: int | None = None
) -> Architecture:
    """The network that a file holds; arguments and errors as of `load_reference`."""
    tensors = read_tensors(path, part=part)
    try:
        return infer(tensors, dropout=dropout, image_channels=image_channels)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def infer(
    tensors: Mapping[str, Tensor], *, dropout: bool | None = None, image_channels: int | None = None
) -> Architecture:
    """The network that named tensors belong to; hints and errors as of `load_reference`."""
    stripped = dict(tensors)
    while (draft := _recognize(stripped, image_channels)) is None:
        # What wraps a network in a module of its own (`generator.model.1.weight`) is no part of it.
        if len({name.partition(".")[0] for name in stripped}) > 1 or not all("." in name for name in stripped):
            raise UserError(f"holds none of the networks that are known: {_listed(tensors)}. Known are {KNOWN}")
        stripped = {name.partition(".")[2]: tensor for name, tensor in stripped.items()}
    if draft.component is UNet:
        draft.settings["dropout"] = DROPOUT if dropout else 0.0
    if image_channels is not None and draft.component is not StarGANGenerator:
        raise UserError(
            f"image_channels={image_channels}: the file itself tells that of this {draft.kind} "
            f"({draft.component.__name__}): leave it out"
        )
    network = _sketch(draft.component, draft.settings, draft.channels)
    if dropout and not any(isinstance(module, nn.Dropout) for module in network.modules()):
        raise UserError(f"dropout: this {draft.kind} ({draft.component.__name__}) has none: leave it out")
    fitted, notes = _fit(stripped, network, draft.component.__name__)
    if draft.component is UNet and dropout is None:
        notes.append("a U-Net's file does not tell whether it was trained with dropout: taken for none (--dropout)")
    settings = configuration(draft.component, draft.settings)
    return Architecture(draft.kind, draft.component, settings, draft.channels, fitted, tuple(notes))


def configuration(component: type[nn.Module], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The complete configuration of a network: `settings`, and defaults for the others that are not derived."""
    derived = ("in_channels", "out_channels", "num_domains")
    parameters = inspect.signature(component).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name not in derived}
    target = f"{component.__module__}.{component.__qualname__}"
    return {"_target_": target, "_partial_": True, **defaults, **settings}


def _sketch(component: type[nn.Module], settings: Mapping[str, Any], channels: Mapping[str, int]) -> nn.Module:
    """The network without memory for its weights."""
    arguments = {name: value for name, value in settings.items() if not name.startswith("_")}
    with torch.device("meta"), NoDraws():
        return component(**arguments, **channels)


def _recognize(tensors: Mapping[str, Tensor], image_channels: int | None) -> Draft | None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    recognizers: tuple[Callable[[Shapes], Draft | None], ...] = (
        _unet,
        _resnet,
        lambda shapes: _stargan_generator(shapes, image_channels),
        _stargan_discriminator,
        _pixel,
        _patchgan,
    )
    for recognize in recognizers:
        try:
            draft = recognize(shapes)
        except UserError:
            raise
        except (KeyError, ValueError, IndexError) as error:  # a name, or dimensions of a shape, that are not there
            raise UserError(f"is not all of a network ({error}). It holds {_listed(tensors)}") from error
        if draft is not None:
            return draft
    if any(re.fullmatch(r"mlp_\d+\.0\.weight", name) for name in shapes):
        raise UserError("holds the feature network of CUT, no generator: give latest_net_G.pth")
    return None


def _unet(shapes: Shapes) -> Draft | None:
    if "model.model.0.weight" not in shapes or "model.model.1.model.1.weight" not in shapes:
        return None
    prefix, num_downs = "model.model.1.model", 2
    while f"{prefix}.3.model.1.weight" in shapes:
        prefix, num_downs = f"{prefix}.3.model", num_downs + 1
    width, in_channels = shapes["model.model.0.weight"][:2]
    channels = {"in_channels": in_channels, "out_channels": shapes["model.model.3.weight"][1]}
    # The innermost level of all U-Nets normalises behind its transposed convolution.
    norm = _norm(shapes, "model.model.0", f"{prefix}.4")
    return Draft("generator", UNet, channels, {"num_downs": num_downs, "width": width, "norm": norm})


def _resnet(shapes: Shapes) -> Draft | None:
    blocks = _numbers(shapes, r"model\.(\d+)\.conv_block\..*")
    if not blocks or len(shapes.get("model.1.weight", ())) != 4:
        return None
    behind = max(blocks) + 1
    width, in_channels = shapes["model.1.weight"][:2]
    last = max(_numbers(shapes, r"model\.(\d+)\.weight"))
    settings = {
        "num_blocks": len(blocks),
        "width": width,
        "norm": _norm(shapes, "model.1", "model.2"),
        # Dropout moves the second convolution from 5 to 6, where otherwise the second norm is.
        "dropout": DROPOUT if len(shapes.get(f"model.{min(blocks)}.conv_block.6.weight", ())) == 4 else 0.0,
        "downsample": "blur" if "model.7.filt" in shapes else "stride",
        "upsample": "blur" if f"model.{behind}.filt" in shapes else "deconv",
    }
    channels = {"in_channels": in_channels, "out_channels": shapes[f"model.{last}.weight"][0]}
    return Draft("generator", ResNet, channels, settings)


def _stargan_generator(shapes: Shapes, image_channels: int | None) -> Draft | None:
    blocks = _numbers(shapes, r"main\.(\d+)\.main\..*")
    if not blocks or "main.0.weight" not in shapes:
        return None
    width, taken = shapes["main.0.weight"][:2]
    last = max(_numbers(shapes, r"main\.(\d+)\.weight"))
    given = shapes[f"main.{last}.weight"][0]
    images = given if image_channels is None else image_channels
    if not 0 < images < taken:
        raise UserError(
            f"this StarGAN generator takes {taken} channels and gives {given}: image_channels={images} leaves "
            f"{taken - images} for the domains; give the channels of its images with --image-channels, in Python "
            "image_channels="
        )
    channels = {"in_channels": images, "out_channels": given, "num_domains": taken - images}
    return Draft("generator", StarGANGenerator, channels, {"num_blocks": len(blocks), "width": width})


def _stargan_discriminator(shapes: Shapes) -> Draft | None:
    if not {"main.0.weight", "conv1.weight", "conv2.weight"} <= shapes.keys():
        return None
    num_layers = len(_numbers(shapes, r"main\.(\d+)\.weight"))
    width, in_channels = shapes["main.0.weight"][:2]
    num_domains, side = shapes["conv2.weight"][0], shapes["conv2.weight"][2]
    settings = {"image_size": side * 2**num_layers, "width": width, "num_layers": num_layers}
    return Draft(
        "discriminator", StarGANDiscriminator, {"in_channels": in_channels, "num_domains": num_domains}, settings
    )


def _pixel(shapes: Shapes) -> Draft | None:
    if not {"net.0.weight", "net.2.weight", "net.5.weight"} <= shapes.keys():
        return None
    width, in_channels = shapes["net.0.weight"][:2]
    settings = {"width": width, "norm": _norm(shapes, "net.2", "net.3")}
    return Draft("discriminator", PixelDiscriminator, {"in_channels": in_channels}, settings)


def _patchgan(shapes: Shapes) -> Draft | None:
    convolutions = [
        name for name, shape in shapes.items() if re.fullmatch(r"model\.\d+\.weight", name) and len(shape) == 4
    ]
    if shapes.get("model.0.weight", ())[2:] != (4, 4) or len(convolutions) < 3:
        return None
    if any(name.endswith(".filt") for name in shapes):
        raise UserError(
            "holds CUT's anti-aliased discriminator, which this package does not have; its generator can be read: "
            "latest_net_G.pth"
        )
    width, in_channels = shapes["model.0.weight"][:2]
    settings = {"num_layers": len(convolutions) - 2, "width": width, "norm": _norm(shapes, "model.2", "model.3")}
    return Draft("discriminator", PatchGAN, {"in_channels": in_channels}, settings)


def _norm(shapes: Shapes, convolution: str, norm: str) -> str:
    """Which norm follows a convolution, to which the reference gives a bias before instance norm alone."""
    if f"{convolution}.bias" in shapes:
        return "instance"
    return "batch" if f"{norm}.weight" in shapes else "none"


def _numbers(shapes: Shapes, pattern: str) -> set[int]:
    return {int(found[1]) for name in shapes if (found := re.fullmatch(pattern, name))}


def _fit(tensors: Mapping[str, Tensor], network: nn.Module, title: str) -> tuple[dict[str, Tensor], list[str]]:
    """All tensors of the network, in its order, and nothing else; and what was done for that."""
    wanted = network.state_dict()
    given, notes = dict(tensors), []
    old = [name for name in given if name not in wanted and _is_unused(name, network)]
    for name in old:
        del given[name]
    if old:
        notes.append(
            f"dropped {len(old)} running statistics of instance norms ({_last(old)}): old versions of PyTorch saved "
            "them, and each image is normalised by its own"
        )
    for name in [name for name in wanted if name not in given and _can_begin(name, network)]:
        value = STATISTICS[name.rpartition(".")[2]]
        given[name] = torch.full(wanted[name].shape, value, dtype=wanted[name].dtype)
    filled = [name for name in given if name not in tensors]
    if filled:
        why = "they are never used" if isinstance(network, StarGANGenerator) else "PyTorch before 0.4.1 saved none"
        notes.append(f"filled in {len(filled)} tensors ({_last(filled)}) with what they begin with: {why}")
    missing, foreign = (_listed(wanted, wanted.keys() - given), _listed(given, given.keys() - wanted))
    if missing or foreign:
        both = [f"{what} {names}" for what, names in (("lacks", missing), ("has besides", foreign)) if names]
        raise UserError(f"looks like a {title}, but {' and '.join(both)}. Known are {KNOWN}")
    other = {name for name in wanted if given[name].shape != wanted[name].shape}
    if other:
        raise UserError(
            f"looks like a {title}, but has {_listed(given, other)} where there should be {_listed(wanted, other)}"
        )
    types = {name: given[name].dtype for name in wanted if wanted[name].is_floating_point()}
    whole = [name for name, dtype in types.items() if not dtype.is_floating_point]
    if whole:
        raise UserError(f"looks like a {title}, but {whole[0]} is of type {types[whole[0]]}, not of floating point")
    broken = [name for name in wanted if given[name].is_floating_point() and not given[name].isfinite().all()]
    if broken:
        raise UserError(
            f"{broken[0]} and {len(broken) - 1} other weights are NaN or infinite: the training that wrote them had "
            "broken down, take an earlier file"
        )
    others = sorted({str(dtype).removeprefix("torch.") for dtype in types.values()} - {"float32"})
    if others:
        notes.append(f"{', '.join(others)} weights became float32")
    return {name: given[name].to(tensor.dtype) for name, tensor in wanted.items()}, notes


def _is_unused(name: str, network: nn.Module) -> bool:
    """Whether a tensor is a running statistic of an instance norm that keeps none."""
    module, _, last = name.rpartition(".")
    return last in STATISTICS and isinstance(_module(network, module), nn.InstanceNorm2d)


def _can_begin(name: str, network: nn.Module) -> bool:
    """Whether a tensor may be missing, since its first value serves: a counter, or what is never used."""
    module, _, last = name.rpartition(".")
    return last == "num_batches_tracked" or (last in STATISTICS and isinstance(_module(network, module), ImageNorm))


def _module(network: nn.Module, name: str) -> nn.Module | None:
    return dict(network.named_modules()).get(name)


def _last(names: list[str]) -> str:
    """The last words of names, each once."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in names))


def _listed(tensors: Mapping[str, Tensor], names: Any = None, most: int = 6) -> str:
    """Names with shapes, the first few of them."""
    chosen = [name for name in tensors if names is None or name in names]
    words = [f"{name} {tuple(tensors[name].shape)}" for name in chosen[:most]]
    more = [f"and {len(chosen) - most} more"] if len(chosen) > most else []
    return ", ".join([*words, *more])
