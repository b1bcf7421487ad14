"""A run folder: whether a command starts, continues or has finished the run that lies there."""

import datetime
from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import yaml

from translate.build import resolve
from translate.errors import UserError
from translate.files import write_text
from translate.model_folder import LATEST, WEIGHTS
from translate.training.checkpoint import STATE
from translate.training.settings import defaults

CONFIG = "config.yaml"
MAY_CHANGE = frozenset(
    {
        "steps",
        "epochs",
        "output",
        "resume",
        "accelerator",
        "precision",
        "compile",
        "channels_last",
        "norm_at_test",
        "dropout_at_test",
        "log_every",
        "sample_every",
        "sample_images",
        "save_every",
        "validation.every",
        "validation.patience",
        "validation.weights",
        "validation.classifier_steps",
        "wandb.mode",
        "wandb.project",
        "wandb.name",
        "data.workers",
        "data.cache_gib",
        "method.perceptual_weights",
    }
)
"""Settings that a run may continue with other values of; any other makes it another run."""


GLYPHS = "glyphs"
"""The folder of letters that are drawn for a run, before it begins."""


def open_run(folder: Path, tree: Mapping[str, Any], *, resume: str) -> dict[str, Any] | None:
    """The configuration of the run that lies in `folder` and may be continued with `tree`; None to start a new one,
    for which `make_room` has to be called before anything is written.

    Raises:
        UserError: `folder` is a file or holds something else, or the run there has other settings.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file: give a folder")
    if not (folder / CONFIG).is_file():
        # The drawn glyphs and the preview of `translate check` may be there before the run is.
        foreign = (
            [path.name for path in folder.iterdir() if path.name not in (GLYPHS, "check.png")]
            if folder.is_dir()
            else []
        )
        if foreign and not (folder / "log.txt").is_file():
            raise UserError(
                f"output={folder} holds files that are no run ({', '.join(foreign[:3])}): give an empty folder"
            )
        return None
    if resume == "never" or not (folder / STATE).is_file():
        return None
    try:
        earlier = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read ({error}): use another output=") from error
    changed = differences(earlier, tree)
    if changed:
        raise UserError(
            f"output={folder} holds a run with other settings:\n"
            + "\n".join(f"  {key} was {old!r}, now {new!r}" for key, old, new in changed)
            + "\nTo continue it, give its settings; to keep it and train anew, use another output=FOLDER; "
            "to move it aside, resume=never"
        )
    return dict(earlier)


def began_with(folder: Path, checkpoint: Path) -> bool:
    """Whether a fine-tuning of `checkpoint` lies in `folder` that can be continued."""
    try:
        tree = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        return bool(tree["finetune"]["checkpoint"] == str(checkpoint)) and (folder / STATE).is_file()
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return False


def make_room(folder: Path, *, resume: str) -> Path | None:
    """Rename the run in `folder`, which is not continued, to FOLDER.before-DATE-TIME; return that, None if none moved.

    A run is moved with `resume` never, or where its model lies without the state to continue from. One that stopped
    before its first save has nothing to lose. Letters that were drawn for the new run stay.
    """
    has_state, has_model = (folder / STATE).is_file(), (folder / LATEST / WEIGHTS).is_file()
    if not (folder / CONFIG).is_file() or not (resume == "never" or (has_model and not has_state)):
        return None
    moved = folder.with_name(f"{folder.name}.before-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    folder.rename(moved)
    if (moved / GLYPHS).is_dir():
        folder.mkdir()
        (moved / GLYPHS).rename(folder / GLYPHS)
    return moved


def write_config(folder: Path, tree: Mapping[str, Any]) -> None:
    """Write config.yaml: every setting of the run, resolved."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True))


def differences(earlier: Mapping[str, Any], tree: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The settings that make another run: (key, value there, value asked), by dotted key.

    A setting that the earlier run does not have, because there was none, counts as what it is by default.
    """
    old, new = dict(_flat(defaults())) | dict(_flat(earlier)), dict(_flat(tree))
    for key in new.keys() - old.keys():
        component, _, name = key.rpartition(".")
        target = new.get(f"{component}._target_")
        if target is not None and target == old.get(f"{component}._target_"):
            parameter = signature(resolve(target, (f"{target.partition('.')[0]}.",))).parameters.get(name)
            if parameter is not None and parameter.default is not Parameter.empty:
                old[key] = parameter.default
    return [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if key not in MAY_CHANGE and old.get(key) != new.get(key)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
