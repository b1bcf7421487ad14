"""Which runs a sweep is made of, and what can be refused before the first one begins."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.build import build
from translate.config import Combination, Composed, quoted
from translate.data.source import DataSource, Progress
from translate.errors import UserError
from translate.training.devices import count_processes
from translate.training.finetune import find_origin, preview_learning
from translate.training.prepare import check_networks, check_settings, look_at_data, method_type
from translate.training.run_folder import open_run
from translate.training.validation import open_validation

LONGEST = 150
"""Characters of a run folder's name at most; file systems take 255."""

Compose = Callable[[list[str]], Composed]


@dataclass(frozen=True)
class Planned:
    """A run of a sweep.

    Attributes:
        name: of its folder in that of the sweep: what varies, `objective=lsgan,seed=1`.
        words: what was typed for it, with one value each, as a shell takes it; neither output= nor resume= among it.
        composed: its configuration.
    """

    name: str
    words: str
    composed: Composed


def plan(combinations: Sequence[Combination], compose: Compose) -> tuple[Path, list[Planned]]:
    """The folder of the sweep and its runs, each once; `compose` makes a configuration of words.

    The folder is what `output=` names, else runs/sweep_RUN, where runs/RUN is what the first run would have. Letters
    that runs would draw for themselves are drawn once, into that folder, unless settings vary that they depend on.

    Raises:
        UserError: the first combination that does not make a configuration, and why.
    """
    first = combinations[0]
    if "output" in first.varied:
        raise UserError("output= has several values: give one folder, in which each run of the sweep gets its own")
    alone = _compose(first, [], compose)
    usual = Path(alone.settings.output)
    folder = usual if "output" in first.values else usual.with_name(f"sweep_{usual.name}")
    shared: list[str] = []
    root = alone.tree["data"].get("root")
    depends = [key for key in first.varied if key in ("image_size", "recipe") or key.partition(".")[0] == "data"]
    if root is not None and Path(root).is_relative_to(usual.absolute()) and not depends:
        shared.append(f"data.root={quoted(str(folder.absolute() / Path(root).relative_to(usual.absolute())))}")
    found: dict[str, Planned] = {}
    for combination in combinations:
        name = name_run({key: combination.values[key] for key in combination.varied})
        if name not in found:
            typed = [word for word in combination.words if not word.startswith(("output=", "resume="))]
            own = [*shared, f"output={quoted(str(folder / name))}"]
            found[name] = Planned(name, shlex.join(typed), _compose(combination, own, compose))
    return folder, list(found.values())


def name_run(values: dict[str, str]) -> str:
    """What varies, as the name of a folder; what a folder's name should not hold is replaced, and a hash told then."""
    plain = ",".join(f"{key}={value}" for key, value in values.items())
    safe = re.sub(r"[^A-Za-z0-9._+=,-]", "_", plain)
    if safe == plain and len(plain) <= LONGEST and all("," not in value for value in values.values()):
        return plain
    return f"{safe[:LONGEST]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _compose(combination: Combination, more: list[str], compose: Compose) -> Composed:
    try:
        return compose([*combination.words, *more])
    except UserError as error:
        varied = " ".join(f"{key}={combination.values[key]}" for key in combination.varied)
        raise UserError(f"{varied}: {error}") from error


def refusals(planned: Sequence[Planned], progress: Progress | None = None) -> dict[str, str]:
    """Why what a method, its networks or their measuring refuse is refused, by the names of such runs.

    Raises:
        UserError: what is wrong with a run whatever its method: numbers, its data, its folder, several devices.
    """
    refused: dict[str, str] = {}
    seen: dict[str, DataSource] = {}
    for run in planned:
        try:
            if not _has_begun(run):
                data = _look(run.composed, seen, progress)
                reason = _refusal(run.composed, data)
                if reason is not None:
                    refused[run.name] = reason
        except UserError as error:
            raise UserError(f"{run.name}: {error}") from error
    return refused


def _has_begun(run: Planned) -> bool:
    """Whether the run lies in its folder already and can be continued; UserError for one that nobody can make."""
    settings = run.composed.settings
    check_settings(settings)
    if count_processes(settings) > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("the runs of a sweep are made one after the other on one device: devices=1 num_nodes=1")
    return open_run(Path(settings.output), run.composed.tree, resume=settings.resume) is not None


def _look(composed: Composed, seen: dict[str, DataSource], progress: Progress | None) -> DataSource:
    """The inspected data of a run, which other runs with the same settings of data share."""
    settings = composed.settings
    batch_type = method_type(settings, composed.allowed).batch_type.__name__
    described: list[Any] = [settings.data, settings.image_size, settings.finetune.checkpoint, batch_type]
    key = json.dumps(described, sort_keys=True)
    if key not in seen:
        data, inspection = look_at_data(settings, composed.allowed, progress)
        inspection.raise_problems()
        seen[key] = data
    return seen[key]


def _refusal(composed: Composed, data: DataSource) -> str | None:
    """What the run would be refused for, as `translate.training.run.train` would."""
    settings, allowed = composed.settings, composed.allowed
    try:
        build(settings.schedule, allowed)(0, 1)
        origin = find_origin(settings, allowed)
        if origin is not None:
            data.know(origin.model.domains)
        check_networks(settings, data, allowed)
        if origin is not None:
            preview_learning(settings, data, origin, allowed)
        open_validation(data, settings, is_reversible=method_type(settings, allowed).is_reversible)
    except UserError as error:
        return str(error)
    return None
