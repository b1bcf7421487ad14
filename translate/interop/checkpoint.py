"""From a file of another project's weights to a model that translates, and to the configuration of its training.

The reference implementations save weights alone. What else a model needs is what they assume: 8-bit images, in
[-1, 1] for the networks, and each image's own statistics of batch norm, since they never leave training mode.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from translate.domains import Domains, LabelSet, numbered
from translate.errors import UserError
from translate.interop.architecture import Architecture, configuration, read_architecture
from translate.methods.cyclegan import CycleGAN
from translate.methods.method import Method
from translate.methods.pix2pix import Pix2Pix
from translate.methods.stargan import StarGAN
from translate.model import Lineage, Model, assemble_translators
from translate.networks.patchgan import PatchGAN
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator
from translate.networks.unet import UNet
from translate.pixels import Side

OBJECTIVES = {Pix2Pix: "nonsaturating", CycleGAN: "lsgan", StarGAN: "wasserstein"}


@dataclass(frozen=True)
class Imported:
    """A model made of files of weights.

    Attributes:
        model: it, ready to translate. Its settings are those that translating reads, and components to build it with.
        tensors: its weights, as `write_model` takes them.
    """

    model: Model
    tensors: dict[str, Tensor]

    @property
    def report(self) -> Sequence[str]:
        """Lines on what each file is and what was dropped or filled in."""
        return self.model.report


def read_reference(path: Path) -> Model:
    """The model that a single file of weights makes, where it can be inferred: without dropout, its domains numbered.

    Raises:
        UserError: the file cannot be read, is no generator that is known, or holds several networks.
    """
    return import_reference(path).model


def import_reference(
    path: Path,
    *,
    back: Path | None = None,
    discriminator: Path | None = None,
    domains: Sequence[str] | None = None,
    attributes: bool = False,
    image_size: int | None = None,
    dropout: bool = False,
    image_channels: int | None = None,
    part: str | None = None,
    other_part: str | None = None,
) -> Imported:
    """Make a model of a generator's weights: a StarGAN, a CycleGAN if there is one `back` too, else a Pix2Pix.

    Args:
        path: the generator from A to B; or StarGAN's.
        back: the generator from B to A.
        discriminator: StarGAN's, with which a model of attributes recognises them; None is the file 200000-D.ckpt
            beside 200000-G.ckpt.
        domains: names of StarGAN's domains; None calls them domain_1, domain_2, ...
        attributes: whether its domains are attributes, of which an image has any number, instead of exactly one.
        image_size: pixels per side that it was trained on; None is the usual for the network.
        dropout: whether dropout is drawn when translating, as the reference implementation of pix2pix does; a U-Net's
            file does not tell whether it was trained with it.
        image_channels: channels of StarGAN's images; None is as many as it gives.
        part: which of several networks in the file is meant.
        other_part: the same for the file of `back` or of the discriminator.

    Raises:
        UserError: a file cannot be read or is no network that is known, or what is given does not go together.
    """
    generator = _generator(path, part=part, dropout=dropout or None, image_channels=image_channels)
    files = {"generator": (path, generator)}
    method: type[Method] = Pix2Pix
    known: Domains | None = None
    if generator.component is StarGANGenerator:
        method = StarGAN
        known = _domains(path, generator, domains, attributes=attributes)
        if back is not None:
            raise UserError(f"--back {back}: {path} is a StarGAN, whose one generator translates between all domains")
    elif domains is not None or attributes:
        given = "--attributes" if attributes else f"--domains {','.join(domains or ())}"
        raise UserError(f"{given}: {path} is a {generator.component.__name__}, which translates into no domains")
    if back is not None:
        method = CycleGAN
        other = _generator(back, part=other_part, dropout=dropout or None)
        _check_back(path, generator, back, other)
        files = {"generator_forward": (path, generator), "generator_backward": (back, other)}
    if attributes and discriminator is None:
        discriminator = _beside(path)
    judge: Architecture | None = None
    if attributes != (discriminator is not None):
        raise UserError(
            f"--attributes needs --discriminator FILE, such as {path.with_name(path.name.replace('-G.', '-D.'))}: to "
            "change one attribute of a photo is to know the others, which the discriminator tells"
            if attributes
            else f"--discriminator {discriminator} is read together with --attributes alone: leave it out"
        )
    if discriminator is not None:
        judge = read_architecture(discriminator, part=other_part)
        _check_judge(discriminator, judge, generator)
        files["discriminator"] = (discriminator, judge)
    settings = _settings(method, generator, judge, image_size=image_size, dropout=dropout)
    size = settings["image_size"]
    source, target = (Side(generator.channels[name], "uint8", 0, 255) for name in ("in_channels", "out_channels"))
    built = assemble_translators(settings, source=source, target=target, domains=known)
    if size < built.min_size or size % built.size_multiple:
        raise UserError(
            f"--image-size {size}: this network takes sizes that are multiples of {built.size_multiple}, at least "
            f"{built.min_size}"
        )
    tensors = {f"{name}.{key}": tensor for name, (_, found) in files.items() for key, tensor in found.tensors.items()}
    built.load_state_dict(tensors, assign=True)
    built.requires_grad_(False)
    lineage: Lineage = [_ancestor(file) for file, _ in files.values()]
    fingerprint = "-".join(str(entry["sha256"]) for entry in lineage)
    report = [f"{file}: {line}" for file, found in files.values() for line in (found.describe(), *found.notes)]
    model = Model(built, source, target, known, settings, 0, fingerprint, lineage, report)
    model.apply_test_behaviour()
    return Imported(model, tensors)


def _generator(
    path: Path, *, part: str | None, dropout: bool | None, image_channels: int | None = None
) -> Architecture:
    found = read_architecture(path, part=part, dropout=dropout, image_channels=image_channels)
    if found.kind == "discriminator":
        example = "200000-G.ckpt" if found.component is StarGANDiscriminator else "latest_net_G.pth"
        raise UserError(
            f"{path} is a discriminator, which judges images and translates none: {found.describe()}. Give the file of "
            f"the generator, such as {example}"
        )
    return found


def _domains(path: Path, generator: Architecture, names: Sequence[str] | None, *, attributes: bool) -> Domains:
    count, images = generator.num_domains, generator.channels["in_channels"]
    names = numbered(count) if names is None else [name.strip() for name in names]
    if len(names) != count:
        raise UserError(
            f"--domains {','.join(names)}: these are {len(names)} names, but {path} was trained with {count} domains: "
            f"it takes {count + images} channels, {images} of them the image's (if not, give --image-channels)"
        )
    if not all(names) or len(set(names)) < count:
        raise UserError(f"--domains {','.join(names)}: every domain needs a name of its own")
    return Domains((LabelSet(tuple(names), "attributes" if attributes else "one_hot"),))


def _check_back(path: Path, generator: Architecture, back: Path, other: Architecture) -> None:
    """Raise UserError unless the two generators are of one kind and one translates what the other gives."""
    if generator.settings != other.settings:
        raise UserError(
            f"--back {back}: both generators of a CycleGAN are alike, but {path} is {generator.describe()}, and {back} "
            f"{other.describe()}"
        )
    there, home = ((found.channels["in_channels"], found.channels["out_channels"]) for found in (generator, other))
    if there != home[::-1]:
        raise UserError(
            f"--back {back} translates {home[0]} channels into {home[1]}, but {path} {there[0]} into {there[1]}: it "
            "does not lead back"
        )


def _beside(path: Path) -> Path | None:
    """The discriminator's file that StarGAN saves beside the generator's, if it is there."""
    other = path.with_name(path.name.replace("-G.", "-D."))
    return other if other != path and other.is_file() else None


def _check_judge(path: Path, judge: Architecture, generator: Architecture) -> None:
    """Raise UserError unless the discriminator tells what the generator is told."""
    wanted = (StarGANDiscriminator, generator.num_domains, generator.channels["in_channels"])
    if (judge.component, judge.num_domains, judge.channels["in_channels"]) != wanted:
        raise UserError(
            f"--discriminator {path} is {judge.describe()}; it must be a StarGANDiscriminator of {wanted[1]} domains "
            f"and images of {wanted[2]} channels, as the generator"
        )


def _settings(
    method: type[Method], generator: Architecture, judge: Architecture | None, *, image_size: int | None, dropout: bool
) -> dict[str, Any]:
    """What translating reads, and components that a method is built with."""
    if judge is not None:
        size, judging = image_size or judge.settings["image_size"], judge.settings
    elif method is StarGAN:
        size = image_size or 128
        judging = configuration(StarGANDiscriminator, {"image_size": size})
    else:
        size = image_size or (2 ** generator.settings["num_downs"] if generator.component is UNet else 256)
        judging = configuration(PatchGAN, {"norm": "instance" if method is CycleGAN else "batch"})
    settings: dict[str, Any] = {
        "method": {"_target_": f"{method.__module__}.{method.__qualname__}"},
        "generator": generator.settings,
        "discriminator": judging,
        "objective": {"_target_": f"translate.objectives.adversarial.{OBJECTIVES[method]}"},
        "gradient_penalty": {"_target_": "translate.objectives.penalties.two_sided"} if method is StarGAN else None,
        "image_size": size,
        "seed": 0,
        "norm_at_test": "image" if generator.settings.get("norm") == "batch" else "running",
        "dropout_at_test": dropout,
        "data": {"augmentation": {"resize": "stretch"}},
    }
    if method is not StarGAN:
        settings["data"]["direction"] = "AtoB"
    if method is CycleGAN and generator.channels["in_channels"] != generator.channels["out_channels"]:
        settings["method"]["identity_weight"] = 0.0  # it compares images of unequal channels
    return settings


def _ancestor(path: Path) -> dict[str, str | None]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"source": path.name, "sha256": digest, "kind": "import", "steps": None}
