"""A model folder: `model.safetensors` and `config.json`, which together rebuild a method that translates.

The weights are safetensors and the configuration is JSON that may only name `translate.*` components, so loading a
stranger's model runs no code of theirs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode

from translate.build import TRUSTED, build
from translate.domains import Domains
from translate.errors import UserError
from translate.files import write_atomically, write_text
from translate.methods.adversary import Adversary
from translate.methods.method import Method
from translate.model_folder import CONFIG, WEIGHTS, fingerprint_of
from translate.networks.layers import BatchNorm
from translate.networks.parametrized import fold
from translate.pixels import FULL_RANGE, Side

FORMAT = "translate-model"
FORMAT_VERSION = 1
NormAtTest = Literal["running", "image"]
Lineage = Sequence[Mapping[str, str | float | None]]
"""What a model was made from, the first thing first: of each its `source`, its `sha256`, what was done (`kind`), ..."""


@dataclass(frozen=True)
class Model:
    """A method rebuilt for translation, in evaluation mode on the CPU, and what it was made from.

    `fingerprint` is a digest of the files it was read from; `lineage` what it was made from, empty for a model that
    was trained from the start; `report` a line each on what was found, dropped or filled in where the files are another
    project's.
    """

    method: Method
    source: Side
    target: Side
    domains: Domains | None
    settings: dict[str, Any]
    steps: int
    fingerprint: str = ""
    lineage: Lineage = ()
    report: Sequence[str] = ()

    def apply_test_behaviour(self) -> None:
        """Put the networks that translate into evaluation mode as `settings` say."""
        for name in self.method.translators:
            set_test_behaviour(
                getattr(self.method, name),
                norm=self.settings["norm_at_test"],
                dropout=self.settings["dropout_at_test"],
            )


def assemble(
    settings: Mapping[str, Any],
    *,
    source: Side,
    target: Side,
    domains: Domains | None,
    allowed: tuple[str, ...] = TRUSTED,
) -> Method:
    """Build the method that `settings` describe for images like `source` and `target`, with fresh weights.

    `domains` are what the images are labelled with, for a method that plays on labels. `settings` may lack
    `gradient_penalty`, `discriminator_augmentation` and `stabilizers`.

    Raises:
        UserError: a component or setting that does not exist or may not be named, or what does not go together.
    """
    penalty, augmentation = (
        build(settings[name], allowed) if settings.get(name) else None
        for name in ("gradient_penalty", "discriminator_augmentation")
    )
    adversary = partial(
        Adversary,
        objective=build(settings["objective"], allowed),
        gradient_penalty=penalty,
        augmentation=augmentation,
        **settings.get("stabilizers", {}),
    )
    return _assemble(settings, adversary, source, target, domains, allowed)


def assemble_translators(
    settings: Mapping[str, Any],
    *,
    source: Side,
    target: Side,
    domains: Domains | None,
    allowed: tuple[str, ...] = TRUSTED,
) -> Method:
    """As `assemble`, but the networks that translate alone, whose weights are still to come: they take no memory."""
    with torch.device("meta"), NoDraws():
        method = _assemble(settings, lambda discriminators: None, source, target, domains, allowed)
    for name, _ in list(method.named_children()):
        if name not in method.translators:
            delattr(method, name)
    return method


def _assemble(
    settings: Mapping[str, Any],
    adversary: Callable[[Mapping[str, nn.Module]], Adversary | None],
    source: Side,
    target: Side,
    domains: Domains | None,
    allowed: tuple[str, ...],
) -> Method:
    method = build(
        settings["method"],
        allowed,
        generator=build(settings["generator"], allowed),
        discriminator=build(settings["discriminator"], allowed),
        adversary=adversary,
        source_channels=source.channels,
        target_channels=target.channels,
        **({} if domains is None else {"domains": domains}),
    )
    assert isinstance(method, Method)
    return method


def set_test_behaviour(network: nn.Module, *, norm: NormAtTest, dropout: bool) -> None:
    """Put `network` into evaluation mode with the chosen statistics of batch norm and dropout on or off.

    `running` uses the averages of training; `image` each image's own statistics, as the pix2pix paper does at test
    time (with batches of 1; here the batch size makes no difference).
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.per_image_at_test = norm == "image"
        elif isinstance(module, nn.Dropout):
            module.train(dropout)


def write_model(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    settings: Mapping[str, Any],
    source: Side,
    target: Side,
    domains: Domains | None,
    steps: int,
    version: str,
    lineage: Lineage = (),
) -> None:
    """Write a model folder; each file is replaced atomically.

    `tensors` are the state of the networks that translate, as `{network}.{name}`; `lineage` what it was made from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "translate_version": version,
        "source": source.as_dict(),
        "target": target.as_dict(),
        "domains": domains.as_dict() if domains else None,
        "lineage": list(lineage),
        "settings": settings,
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    plain = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"steps": str(steps)}  # alone: safetensors writes several in another order each time
    write_atomically(folder / WEIGHTS, lambda partial: save_file(plain, partial, metadata=metadata))


def read_model(folder: Path, *, trusted: tuple[str, ...] = (), folded: bool = True) -> Model:
    """Rebuild the model in `folder`, of the toolkit's own components and those that `trusted` names besides.

    For translating, weights are `folded` into plain ones; for learning on they stay as they are computed in training.

    Raises:
        UserError: no model there, one that is damaged, of a newer format, or naming foreign code.
    """
    config = _read_config(folder / CONFIG)
    tensors, steps = _read_weights(folder / WEIGHTS)
    try:
        source, target, settings = Side(**config["source"]), Side(**config["target"]), config["settings"]
        settings["image_size"], settings["seed"], settings["data"].get("direction")  # what translating reads later
        if not {source.dtype, target.dtype} <= FULL_RANGE.keys():
            raise ValueError("unknown pixel type")
        domains = Domains.from_dict(config["domains"]) if config.get("domains") else None
        method = assemble_translators(
            settings, source=source, target=target, domains=domains, allowed=(*TRUSTED, *trusted)
        )
        model = Model(
            method, source, target, domains, settings, steps, fingerprint_of(folder), _lineage(config, folder)
        )
        model.apply_test_behaviour()
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
        raise UserError(f"{folder / CONFIG} is damaged: {type(error).__name__}: {error}") from error
    try:
        method.load_state_dict(tensors, assign=True)
        method.float()
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {error}") from error
    if folded:
        fold(method)
    method.requires_grad_(False)
    return model


class NoDraws(TorchFunctionMode):
    """Inside, nothing is initialised: on tensors without memory that takes seconds, most of them for imports."""

    def __torch_function__(
        self, function: Callable[..., Any], _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return options["tensor"] if "tensor" in options else arguments[0]
        if function is normalize and options.get("out") is not None:  # spectral norm looks for its vectors
            return options["out"]
        return function(*arguments, **options)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of the model in `folder`, with the components it was trained with. Errors as `read_model`."""
    settings: dict[str, Any] = _read_config(folder / CONFIG)["settings"]
    for name in ("method", "generator", "discriminator", "objective", "data"):
        if not isinstance(settings.get(name), dict) or "_target_" not in settings[name]:
            raise UserError(f"{folder / CONFIG} is damaged: its settings name no {name}")
    return settings


def read_lineage(folder: Path) -> Lineage:
    """What the model in `folder` was made from. Errors as `read_model`."""
    return _lineage(_read_config(folder / CONFIG), folder)


def _lineage(config: Mapping[str, Any], folder: Path) -> Lineage:
    lineage: Lineage = config.get("lineage", [])
    if not isinstance(lineage, list) or not all(map(_is_ancestor, lineage)):
        raise UserError(f"{folder / CONFIG} is damaged: its lineage is no list of what the model was made from")
    return lineage


def _is_ancestor(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        value is None or isinstance(value, (int | float) if key == "steps" else (str | int | float))
        for key, value in entry.items()
    )


def read_domains(folder: Path) -> Domains | None:
    """The domains of the model in `folder`; None if it has none. Errors as `read_model`."""
    saved = _read_config(folder / CONFIG).get("domains")
    return Domains.from_dict(saved) if saved else None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{path} is no configuration of a {FORMAT}: it was written by another program")
    if config.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format_version={config.get('format_version')}, this version reads {FORMAT_VERSION}: "
            f"use translate {config.get('translate_version')} or later"
        )
    missing = {"source", "target", "settings"} - config.keys()
    if missing:
        raise UserError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}")
    if not isinstance(config["settings"], dict):
        raise UserError(f"{path} is damaged: its settings are a {type(config['settings']).__name__}")
    if "${" in json.dumps(config["settings"]):
        raise UserError(
            f"{path}: a setting holds ${{...}}, which no training wrote: it would be filled in with what is on this "
            "computer"
        )
    return config


def _read_weights(path: Path) -> tuple[dict[str, Tensor], int]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, int(metadata.get("steps", 0))  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {error}") from error
