"""A fine-tuning: its origin, what is taken over from it, and what holds it back."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from translate.build import LOCAL
from translate.data.source import DataSource
from translate.domains import Domains
from translate.errors import UserError
from translate.methods.method import Method
from translate.model import assemble
from translate.pixels import Side
from translate.training.begin import Beginning, Origin, begin, describe_domains, describe_origin, read_origin
from translate.training.parts import Learning, learning_table
from translate.training.prepare import make_method, planned_steps, settings_tree, what_learns
from translate.training.restraint import Restraint
from translate.training.settings import Finetune, Settings

WARMUP = 200
"""Steps at most in which a new discriminator learns alone, unless told otherwise."""


def find_origin(settings: Settings, allowed: tuple[str, ...]) -> Origin | None:
    """The trained model to begin with, if `finetune.checkpoint` names one.

    Raises:
        UserError: there is none, or settings of `finetune` that go with one alone.
    """
    finetune = settings.finetune
    if finetune.checkpoint is None:
        given = [f"finetune.{key}" for key, value in vars(finetune).items() if value != getattr(Finetune(), key)]
        if given:
            raise UserError(
                f"{', '.join(given)}: there is no trained model to go on from. Give it, with the same settings: "
                "translate finetune from=CHECKPOINT"
            )
        return None
    if finetune.warmup is not None and finetune.warmup < 0:
        raise UserError(f"finetune.warmup={finetune.warmup} must be at least 0")
    if finetune.distance_weight < 0:
        raise UserError(f"finetune.distance_weight={finetune.distance_weight} must be at least 0")
    trusted = tuple(name for name in allowed if name not in LOCAL)  # a stranger's checkpoint may name less than we
    origin = read_origin(Path(finetune.checkpoint), trusted=trusted, discriminator=finetune.keep_discriminator)
    trained, wanted = (data.get("direction") for data in (origin.model.settings["data"], settings.data))
    if origin.model.method.is_reversible and None not in (trained, wanted) and trained != wanted:
        raise UserError(
            f"data.direction={wanted}, but from={finetune.checkpoint} was trained {trained}, and its networks of the "
            f"two ways would be swapped: use data.direction={trained}; it translates both ways (convert --direction)"
        )
    return origin


def take_over(
    method: Method,
    origin: Origin,
    settings: Settings,
    data: DataSource,
    learning: Learning,
    total_steps: int,
    allowed: tuple[str, ...],
) -> Beginning:
    """Put the weights of a trained model into a method.

    A new discriminator learns alone for 200 steps at first, a tenth of the run at most; a generator that is new as well
    learns beside it.

    Raises:
        UserError: they do not fit.
    """

    def build_for(source: Side, target: Side, domains: Domains | None) -> Method:
        return assemble(settings_tree(settings), source=source, target=target, domains=domains, allowed=allowed)

    beginning = begin(
        method,
        origin,
        build_for,
        source=data.source,
        target=data.target,
        domains=data.domains,
        channels=settings.finetune.channels,
        fresh=learning.fresh,
    )
    beginning.lines[:0] = describe_origin(origin, settings)
    beginning.lines += describe_domains(origin.model.domains, data.shown("train"))
    is_new = bool(beginning.fresh) and not any(name in method.generators for name in beginning.fresh)
    usual = min(WARMUP, total_steps // 10) if is_new else 0
    beginning.warmup = usual if settings.finetune.warmup is None else settings.finetune.warmup
    if beginning.warmup:
        some = "s" * (len(method.generators) > 1)
        waiting, new = f"generator{some} wait{'' if some else 's'}", "new " * bool(beginning.fresh)
        beginning.lines.append(f"the {waiting} {beginning.warmup} steps for the {new}discriminator{some}")
    return beginning


def preview_learning(
    settings: Settings, data: DataSource, origin: Origin, allowed: tuple[str, ...]
) -> tuple[list[str], list[tuple[str, int, str]]]:
    """What a fine-tuning would take over from a model, a line each, and what would learn, as `learning_table`.

    Raises:
        UserError: the model does not fit.
    """
    method = make_method(settings, data, allowed)
    learning = what_learns(method, settings)
    beginning = take_over(method, origin, settings, data, learning, planned_steps(settings, data), allowed)
    return beginning.lines, learning_table(method.networks, learning)


def hold_back(
    method: Method, networks: Mapping[str, nn.Module], settings: Settings, learning: Learning, beginning: Beginning
) -> Restraint:
    """What holds a fine-tuned model near to what it began as."""
    fresh = {f"{name}.{key}" for name in beginning.fresh for key, _ in networks[name].named_parameters()}
    return Restraint(
        networks,
        method.generators,
        method.players,
        fresh=fresh | learning.fresh,
        warmup=beginning.warmup,
        distance_weight=settings.finetune.distance_weight,
        fixed=learning.fixed,
    )
