"""What the files of a run folder say, as far as they are there."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from translate.build import resolve
from translate.errors import UserError
from translate.methods.method import Method
from translate.model_folder import BEST, LATEST
from translate.model_folder import CONFIG as MODEL_CONFIG
from translate.training.history import HISTORY
from translate.training.log import METRICS, VALIDATION, WARNINGS, best_measurement, read_metrics
from translate.training.run_folder import CONFIG
from translate.training.validation import DEFAULTS, more_steps
from translate.training.verdict import telling

Line = Mapping[str, Any]
SAMPLE = re.compile(r"step_(\d+)\.png")
LENGTH = re.compile(r"(steps|epochs)=")
LAYOUTS = {"Pair": "paired", "Unpaired": "unpaired", "Labeled": "domains"}
"""What reads folders of each kind of batch."""


@dataclass(frozen=True)
class Run:
    """A run folder as it is now.

    Attributes:
        folder: where it is, as an absolute path.
        tree: config.yaml.
        rows: metrics.jsonl.
        measured: validation.jsonl.
        best: the line of it that tells of the best model.
        warnings: warnings.jsonl.
        history: history.jsonl; empty for runs of earlier versions.
        model: config.json of the model; empty before the first save.
        samples: the sample grids with their steps.
        evaluations: evaluation_*.json by path.
    """

    folder: Path
    tree: Mapping[str, Any]
    rows: Sequence[Line]
    measured: Sequence[Line]
    best: Line | None
    warnings: Sequence[Line]
    history: Sequence[Line]
    model: Mapping[str, Any]
    samples: Sequence[tuple[int, Path]]
    evaluations: Mapping[Path, Line]

    @cached_property
    def begun(self) -> Line:
        """What is known of its latest start."""
        return next((line for line in reversed(self.history) if line["event"] in ("began", "continued")), {})

    @cached_property
    def ended(self) -> Line | None:
        """How it ended; None while it goes on, or if it was killed."""
        last = self.history[-1] if self.history else None
        return last if last is not None and last["event"] not in ("began", "continued") else None

    @property
    def state(self) -> str:
        """`finished`, `stopped`, `broke down`, `failed`, or empty where no end is known."""
        return str(self.ended["event"]) if self.ended else ""

    @property
    def step(self) -> int:
        """Steps done, as far as is known."""
        ends = (self.ended["step"] if self.ended else 0, self.begun.get("step", 0))
        return int(max(*ends, self.rows[-1]["step"] if self.rows else 0))

    @property
    def total_steps(self) -> int | None:
        """Steps that it is to do."""
        total: int | None = self.begun.get("total_steps", self.tree.get("steps"))
        return total

    @cached_property
    def seconds(self) -> float:
        """How long it trained, with measuring and saving between two lines of the log."""
        before, seconds = 0, 0.0
        for row in self.rows:
            seconds += (row["images"] - before) / row["images_per_second"] if row["images_per_second"] else 0
            before = row["images"]
        return seconds

    @property
    def speed(self) -> float | None:
        """Images per second, the median of the log."""
        return median(row["images_per_second"] for row in self.rows) if self.rows else None

    @property
    def metric(self) -> str | None:
        """The metric that chooses the best model, else the one that tells most, else the first one measured."""
        chosen: str | None = self.tree.get("validation", {}).get("metric")
        known = list(self.measured[0]["metrics"]) if self.measured else []
        first = next((name for name in (*DEFAULTS, *known) if name in known), None)
        return chosen or telling(self.measured, None)[0] or first

    @property
    def has_model(self) -> bool:
        """Whether it can be converted with."""
        return bool(self.model)

    @cached_property
    def method(self) -> type[Method] | None:
        """The method; None if it is the user's own, whose code is not run for a page."""
        try:
            method = resolve(self.tree["method"]["_target_"], ("translate.methods.",))
        except (UserError, KeyError, TypeError):
            return None
        return method if isinstance(method, type) and issubclass(method, Method) else None

    @property
    def other_data(self) -> str:
        """The words that put other images in the place of those it learned from."""
        kind = str(self.tree.get("data", {}).get("_target_", "")).rpartition(".")[2]
        if kind == "JointData":
            return "data.first.root=FOLDER data.second.root=FOLDER"
        if kind == "GlyphData" and self.method is not None:
            return f"data={LAYOUTS[self.method.batch_type.__name__]} data.root=FOLDER"
        return "data.root=FOLDER"

    def commands(self) -> list[tuple[str, str]]:
        """(what it is for, command) to go on from here."""
        found = []
        words = list(self.begun.get("words", ()))
        rate = (self.tree.get("optimizer") or {}).get("lr")
        if words:
            where = f"cd {shlex.quote(str(self.begun['folder']))} && translate "
            is_alone = not {"-m", "--multirun"} & set(words)  # a sweep has other words for each of its runs
            if self.state == "finished" and is_alone:
                patience = (self.tree.get("validation") or {}).get("patience")
                further = more_steps(self.step, self.tree.get("steps"), patience)
                longer = [word for word in words if not LENGTH.match(word)] + further
                found.append(("train on, twice as long", where + shlex.join(longer)))
            elif self.state == "broke down" and is_alone and isinstance(rate, int | float):  # again it would end so
                others = [word for word in words if not word.startswith(("optimizer.lr=", "resume="))]
                anew = [*others, f"optimizer.lr={rate / 10:g}", "resume=never"]
                found.append(("begin anew with a tenth of the learning rate", where + shlex.join(anew)))
            else:
                found.append(("continue: the same command again", where + shlex.join(words)))
        if self.has_model:
            run = shlex.quote(str(self.folder))
            to = " --to all" if self.model.get("domains") else ""
            found.append(("convert a folder", f"translate convert {run} INPUT OUTPUT{to}"))
            if (self.tree.get("generator") or {}).get("latent"):
                found.append(
                    (
                        "convert a folder, five random answers for each image",
                        f"translate convert {run} INPUT OUTPUT --samples 5",
                    )
                )
            measure = f"translate evaluate {run}"
            is_reversible = self.method is not None and self.method.is_reversible
            back = "AtoB" if self.tree.get("data", {}).get("direction") == "BtoA" else "BtoA"
            if is_reversible:
                found.append(
                    ("convert the other way", f"translate convert {run} INPUT OTHER_OUTPUT --direction {back}")
                )
            found.append(("measure on the test images", measure))
            if is_reversible:
                found.append(("measure the other way", f"{measure} --direction {back}"))
            begin = shlex.quote(f"from={self.folder}")
            found.append(("fine-tune on other images", f"translate finetune {begin} {self.other_data}"))
            found.append(("one file for other programs", f"translate export {run} --output model.onnx"))
        found.append(("make this page again", f"translate report {shlex.quote(str(self.folder))}"))
        return found


def read_run(folder: Path) -> Run:
    """Read a run folder; whatever is missing in it, or cut off, is left out.

    Raises:
        UserError: it is no run folder.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"there is no run in {folder} (no {CONFIG}): give the output= of a training")
    try:
        tree = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{folder} is no run folder ({error}): give the output= of a training") from error
    if not isinstance(tree, dict) or "method" not in tree:
        raise UserError(f"{folder / CONFIG} is no configuration of a training: give the output= of a training")
    samples = [
        (int(found[1]), path) for path in (folder / "samples").glob("*.png") if (found := SAMPLE.fullmatch(path.name))
    ]
    evaluations = {path: told for path in evaluations_in(folder) if "metrics" in (told := _read_json(path))}
    return Run(
        folder=folder.resolve(),
        tree=tree,
        rows=read_metrics(folder / METRICS),
        measured=read_metrics(folder / VALIDATION),
        best=best_measurement(folder),
        warnings=read_metrics(folder / WARNINGS),
        history=read_metrics(folder / HISTORY),
        model=_read_json(folder / LATEST / MODEL_CONFIG),
        samples=sorted(samples),
        evaluations=evaluations,
    )


def evaluations_in(folder: Path) -> list[Path]:
    """The files that `translate evaluate` wrote of a run, and of its model folders where those were named."""
    return [
        path for place in (folder, folder / BEST, folder / LATEST) for path in sorted(place.glob("evaluation_*.json"))
    ]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
