"""Writing a generator as the reference implementations save theirs: a plain dictionary of tensors by name."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from translate.errors import UserError
from translate.files import write_atomically
from translate.interop.architecture import configuration
from translate.model import Model
from translate.model_folder import REFERENCE_FILES
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANGenerator
from translate.networks.unet import UNet

BLOCKS = {6: "resnet_6blocks", 9: "resnet_9blocks"}
DOWNS = {7: "unet_128", 8: "unet_256"}
SHALLOWEST = 5
"""Times that the reference's U-Net halves an image at least: more are put inside."""


def export_reference(model: Model, file: Path, *, back: bool = False) -> str:
    """Write the generator that translates (`back` the one that translates back) under the reference's names.

    Args:
        model: a model as `read_model` gives it.
        file: ends in .pth, .pt or .ckpt (torch.save), or .safetensors; replaced if it exists. Its folder is made.
        back: of a model that translates both ways, the generator that translates the target side.

    Returns:
        What loads the file, and with which options.

    Raises:
        UserError: the reference cannot express the network; what is in its way is named.
        OSError: the file cannot be written.
    """
    if file.suffix.lower() not in REFERENCE_FILES or file.is_dir():
        raise UserError(f"--output {file} must be a file that ends in {', '.join(REFERENCE_FILES)}")
    network = model.method.translator(back=back)
    source, target = (model.target, model.source) if back else (model.source, model.target)
    settings = configuration(type(network), model.settings["generator"])
    if type(network) is StarGANGenerator:
        options = _stargan_options(model, settings)
    elif type(network) in (ResNet, UNet):
        options = _options(network, settings, source.channels, target.channels)
    else:
        raise _inexpressible(f"generator={type(network).__name__}, a network of another kind")
    tensors = OrderedDict(
        (name, tensor.detach().to("cpu", copy=True).contiguous()) for name, tensor in network.state_dict().items()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".safetensors":
        write_atomically(file, lambda partial: save_file(tensors, partial))
    else:
        write_atomically(file, lambda partial: torch.save(tensors, partial))
    return options


def _stargan_options(model: Model, settings: dict[str, Any]) -> str:
    if model.domains is None:
        raise _inexpressible("generator=stargan without domains")
    if len(model.domains.sets) > 1:
        raise _inexpressible(f"{len(model.domains.sets)} label sets in one model (data=domains_joint)")
    if (model.source.channels, model.target.channels) != (3, 3):
        raise _inexpressible(f"StarGAN of images of {model.source.channels} channels instead of 3")
    words = [f"--c_dim {len(model.domains.names)}", f"--g_conv_dim {settings['width']}"]
    return " ".join(["StarGAN loads it with", *words, f"--g_repeat_num {settings['num_blocks']}"])


def _options(network: nn.Module, settings: dict[str, Any], in_channels: int, out_channels: int) -> str:
    """Those of pix2pix and CycleGAN, or of CUT."""
    is_resnet = isinstance(network, ResNet)
    kind, padding = ("ResNet", "reflect") if is_resnet else ("U-Net", "zero")
    if network.num_domains:
        raise _inexpressible(f"{kind} that is told {network.num_domains} domains")
    if latent := getattr(network, "latent", 0):
        raise _inexpressible(f"{kind} that takes a code of {latent} numbers (generator.latent)")
    if settings["padding"] != padding:
        raise _inexpressible(f"generator.padding={settings['padding']} instead of {padding}")
    if settings["norm"] == "pixel":
        raise _inexpressible("generator.norm=pixel instead of batch or instance")
    if settings["attention"]:
        raise _inexpressible("generator.attention=true")
    if settings["upsample"] == "resize":
        raise _inexpressible("generator.upsample=resize instead of deconv")
    count = settings["num_blocks"] if is_resnet else settings["num_downs"]
    if not is_resnet and count < SHALLOWEST:
        raise _inexpressible(f"generator.num_downs={count}; a U-Net has at least {SHALLOWEST}")
    name = BLOCKS.get(count, f"ResnetGenerator(n_blocks={count})") if is_resnet else DOWNS.get(count)
    is_blurred = is_resnet and "blur" in (settings["downsample"], settings["upsample"])
    project = "CUT loads" if is_blurred else "pix2pix and CycleGAN load"
    words = [f"{project} it with --netG {name or f'UnetGenerator(num_downs={count})'}", f"--ngf {settings['width']}"]
    words += [f"--norm {settings['norm']}", f"--input_nc {in_channels}", f"--output_nc {out_channels}"]
    words += [] if settings["dropout"] else ["--no_dropout"]
    if is_blurred:
        words += ["--no_antialias"] if settings["downsample"] != "blur" else []
        words += ["--no_antialias_up"] if settings["upsample"] != "blur" else []
    return " ".join(words)


def _inexpressible(what: str) -> UserError:
    return UserError(
        f"--format reference: the reference implementation has no {what}; --format onnx writes any network"
    )
