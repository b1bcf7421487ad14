"""What a run is made of, and all that can be refused before it begins."""

import math
from pathlib import Path
from typing import Any

import torch

from translate.build import build, resolve
from translate.data.check import Inspection
from translate.data.source import DataSource, Progress
from translate.errors import UserError
from translate.methods.method import Method
from translate.methods.step import Step
from translate.model import NoDraws, assemble
from translate.training.devices import count_processes
from translate.training.parts import Learning, choose_learning
from translate.training.plateau import Plateau
from translate.training.settings import Settings


def check_settings(settings: Settings) -> None:
    """Raise UserError for numbers that no run can have."""
    for name in ("image_size", "batch_size", "num_nodes", "log_every", "sample_every", "sample_images", "save_every"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)} must be at least 1")
    if (settings.steps is None) == (settings.epochs is None):
        raise UserError(
            f"steps={settings.steps} and epochs={settings.epochs}: give one of them and set the other to null"
        )
    for name in ("steps", "epochs"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise UserError(f"{name}={value} must be more than 0")
    if settings.devices != "auto" and settings.devices < 1:
        raise UserError(f"devices={settings.devices} must be at least 1, or auto")
    if settings.seed < 0:
        raise UserError(f"seed={settings.seed} must be 0 or more")
    if not 0 <= settings.average_decay < 1:
        raise UserError(f"average_decay={settings.average_decay} is outside 0 to 1; 0 is off, 0.999 is usual")
    if not 0 < settings.discriminator_rate < math.inf:
        raise UserError(
            f"discriminator_rate={settings.discriminator_rate} must be more than 0; 1 is the generator's rate"
        )
    checkpoint = settings.finetune.checkpoint
    if checkpoint is not None and Path(checkpoint).resolve().is_relative_to(Path(settings.output).resolve()):
        raise UserError(f"output={settings.output} is where from={checkpoint} lies: give another output=FOLDER")


def look_at_data(
    settings: Settings, allowed: tuple[str, ...], progress: Progress | None, *, advise: bool = False
) -> tuple[DataSource, Inspection]:
    """The data set, arranged for the method, and what was found in it, with warnings if it should `advise`.

    Raises:
        UserError: it cannot give what the method trains on, or there is nothing to look at.
    """
    data: DataSource = build(settings.data, allowed)
    data.arrange(method_type(settings, allowed).batch_type)
    return data, data.inspect(settings.image_size, progress, advise=advise)


def method_type(settings: Settings, allowed: tuple[str, ...]) -> type[Method]:
    """The class of the method."""
    method = resolve(settings.method["_target_"], allowed)
    assert isinstance(method, type)
    assert issubclass(method, Method)
    return method


def make_method(settings: Settings, data: DataSource, allowed: tuple[str, ...]) -> Method:
    """The method for the images of a data set, with fresh weights. Errors as `assemble`."""
    return assemble(
        settings_tree(settings), source=data.source, target=data.target, domains=data.domains, allowed=allowed
    )


def settings_tree(settings: Settings) -> dict[str, Any]:
    """The components of `settings` that make a method."""
    names = ("method", "generator", "discriminator", "objective", "gradient_penalty", "discriminator_augmentation")
    return {name: getattr(settings, name) for name in names} | {"stabilizers": vars(settings.stabilizers)}


def what_learns(method: Method, settings: Settings) -> Learning:
    """Which parts of the networks learn. Errors as `choose_learning`."""
    return choose_learning(
        method.networks,
        method.generators,
        method.players,
        fresh=settings.finetune.fresh,
        freeze=settings.finetune.freeze,
        freeze_norm=settings.finetune.freeze_norm,
        rates=settings.finetune.rates,
        discriminator_rate=settings.discriminator_rate,
    )


def check_networks(settings: Settings, data: DataSource, allowed: tuple[str, ...]) -> None:
    """Raise UserError when the method cannot be built for this data or cannot take its images, or nothing could learn;
    costs no memory."""
    check_warmup(settings, data)
    with torch.device("meta"), NoDraws():
        method = make_method(settings, data, allowed)
        check_size(settings, method)
        play_once(settings, data, method)
        schedule = build(settings.schedule, allowed)
        if isinstance(schedule, Plateau):
            schedule.check(method.signals())
        what_learns(method, settings)


def check_warmup(settings: Settings, data: DataSource) -> None:
    """Raise UserError when a fine-tuning would end before its generators move."""
    warmup = settings.finetune.warmup
    if warmup is not None and settings.finetune.checkpoint is not None:
        total_steps = planned_steps(settings, data)
        if warmup >= total_steps:
            raise UserError(
                f"finetune.warmup={warmup}: for so many steps no generator moves, and the run has {total_steps}: use "
                "fewer, or more steps="
            )


def play_once(settings: Settings, data: DataSource, method: Method) -> None:
    """Raise UserError when the networks refuse images of `image_size`; the method must be on the meta device."""
    count, size = settings.batch_size, settings.image_size
    width = data.domains.width if data.domains else 0
    batch = [
        torch.zeros(count, width) if side is None else torch.zeros(count, side.channels, size, size)
        for side in data.field_sides
    ]
    try:
        for _ in method.play(data.batch_type(*batch), Step()):
            pass
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"image_size={settings.image_size} does not suit the networks: {error}") from error
    except RuntimeError:  # a method of the user's own may need values, which are not there
        return


def check_size(settings: Settings, method: Method) -> None:
    """Raise UserError when the networks cannot take images of `image_size`."""
    size, multiple = settings.image_size, method.size_multiple
    if size % multiple:
        nearest = max(multiple, round(size / multiple) * multiple)
        raise UserError(
            f"image_size={size} does not suit the generator, which takes multiples of {multiple}: use "
            f"image_size={nearest} or a generator with fewer downsamplings (translate list generators)"
        )
    smallest = max(int(getattr(network, "min_size", 1)) for network in method.networks.values())
    if size < smallest:
        raise UserError(
            f"image_size={size} is too small for the networks, which need {smallest}: use a larger image_size, "
            "fewer discriminator.num_layers (or discriminator.num_scales), or discriminator=pixel"
        )


def count_steps(settings: Settings, images: int, world_size: int) -> int:
    """Steps of the whole run: as given, or enough for the epochs given."""
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None
    return math.ceil(settings.epochs * images / (settings.batch_size * world_size))


def planned_steps(settings: Settings, data: DataSource) -> int:
    """Steps of the whole run, before its processes are launched; `data` has been inspected."""
    items = data.items("train", settings.image_size, seed=settings.seed, augment=True)
    return count_steps(settings, len(items), count_processes(settings))
