"""What a run tells: progress on the terminal, metrics.jsonl, log.txt, and wandb when on."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from translate.errors import UserError
from translate.evaluation.bootstrap import SURE
from translate.files import write_text
from translate.training.settings import Wandb
from translate.training.verdict import Diagnosis, Ending

METRICS = "metrics.jsonl"
VALIDATION = "validation.jsonl"
WARNINGS = "warnings.jsonl"


class Meter:
    """Sums losses on the device without waiting for it, and times the run between two readings.

    `average` takes the mean of a tensor over all processes.
    """

    def __init__(self, average: Callable[[Tensor], Tensor] = lambda losses: losses) -> None:
        self.average = average
        self._reset()

    def _reset(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.images = 0
        self.waited = 0.0
        self.started = time.perf_counter()

    def add_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of one turn."""
        for name, loss in losses.items():
            self.sums[name] = self.sums[name] + loss.detach() if name in self.sums else loss.detach().clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def add_images(self, count: int, waited: float) -> None:
        """Take in a batch of `count` images that training waited for, in seconds."""
        self.images += count
        self.waited += waited

    def losses(self) -> dict[str, float]:
        """Mean losses of all processes since the last reading; this waits for the device."""
        if not self.sums:
            return {}
        values = self.average(torch.stack([value.float() for value in self.sums.values()])).tolist()
        return {name: value / self.counts[name] for name, value in zip(self.sums, values, strict=True)}

    def read(self) -> dict[str, Any]:
        """Mean losses, images per second and the share of time spent waiting for data; starts afresh."""
        losses = self.losses()
        seconds = time.perf_counter() - self.started
        row = {
            "losses": losses,
            "images_per_second": round(self.images / seconds, 3),
            "data_wait": round(self.waited / seconds, 4),
        }
        self._reset()
        return row


class Log(Protocol):
    """What training tells of its steps."""

    def advance(self, step: int) -> None:
        """A step is done."""

    def metrics(self, row: Mapping[str, Any]) -> None:
        """What a log interval has come to."""

    def validation(self, step: int, values: Mapping[str, float], errors: Mapping[str, float], *, is_best: bool) -> None:
        """How good the model is on held-out images, and the standard errors of metrics that have one."""


class RunLog:
    """The voice of a run. A context manager; on processes other than the first it is silent and writes nothing."""

    def __init__(
        self,
        folder: Path,
        *,
        step: int,
        total_steps: int,
        wandb: Wandb,
        settings: Mapping[str, Any],
        is_first: bool,
        gives_verdict: bool,
        metric: str | None = None,
    ) -> None:
        self.folder = folder
        self.diagnosis = Diagnosis(total_steps, metric) if is_first and gives_verdict else None
        self.verdict: str | None = None
        self.is_first = is_first
        self.total_steps = total_steps
        self.console = Console(quiet=not is_first, soft_wrap=not sys.stdout.isatty(), highlight=False)
        self.started, self.first_step = time.perf_counter(), step
        self.progress: Progress | None = None
        self.tracker: Any = None
        if is_first:
            for name in (METRICS, VALIDATION, WARNINGS):
                _truncate(folder / name, step)
            if self.diagnosis is not None:
                self.diagnosis.go_on(*(read_metrics(folder / name) for name in (METRICS, VALIDATION, WARNINGS)))
            self.tracker = _start_wandb(folder, wandb, settings)
        if is_first and self.console.is_terminal:
            self.progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[losses]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.task = self.progress.add_task("", total=total_steps, completed=step, losses="")

    def __enter__(self) -> "RunLog":
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress is not None:
            self.progress.stop()
        if self.tracker is not None:
            self._track(lambda: self.tracker.finish(exit_code=0 if kind is None else 1))

    def say(self, message: str) -> None:
        """One line on the terminal and in log.txt."""
        if not self.is_first:
            return
        self.console.print(message, markup=False)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def start_clock(self) -> None:
        """Steps begin now: the time left is told by theirs, not by that of what came before."""
        self.started = time.perf_counter()

    def advance(self, step: int) -> None:
        """Move the progress bar."""
        if self.progress is not None:
            self.progress.update(self.task, completed=step)

    def metrics(self, row: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, one line or bar update on the terminal, and wandb."""
        if not self.is_first:
            return
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        losses = "  ".join(f"{name} {value:.4g}" for name, value in row["losses"].items())
        speed = f"{row['images_per_second']:.1f} images/s  data {row['data_wait']:.0%}"
        if self.progress is not None:
            self.progress.update(self.task, losses=f"epoch {row['epoch']:.1f}  {losses}  {speed}")
        else:
            left = (self.total_steps - row["step"]) * (time.perf_counter() - self.started)
            left /= max(row["step"] - self.first_step, 1)
            where = f"step {row['step']}/{self.total_steps}  epoch {row['epoch']:.1f}"
            self.console.print(f"{where}  {losses}  {speed}  {_duration(left)} left", markup=False)
        if self.tracker is not None:
            scalars = {f"losses/{name}": value for name, value in row["losses"].items()}
            scalars |= {f"signs/{name}": value for name, value in row.get("signs", {}).items()}
            scalars |= {name: value for name, value in row.items() if name not in ("losses", "signs")}
            self._track(lambda: self.tracker.log(scalars, step=row["step"]))
        for warning in self.diagnosis.take(row) if self.diagnosis is not None else ():
            self.say(warning.text)
            with (self.folder / WARNINGS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(warning.line) + "\n")
            if self.tracker is not None:
                self._track(partial(self.tracker.alert, title=warning.symptom.name, text=warning.text))

    def conclude(self, step: int, ending: Ending) -> None:
        """How the run went, in a sentence, unless that is off."""
        if self.diagnosis is None:
            return
        self.verdict = self.diagnosis.conclude(step, ending)
        self.say(self.verdict)
        if self.tracker is not None:
            self._track(lambda: self.tracker.summary.update({"verdict": self.verdict}))

    def validation(self, step: int, values: Mapping[str, float], errors: Mapping[str, float], *, is_best: bool) -> None:
        """One line of validation.jsonl, one on the terminal, and wandb; errors as 95 % intervals on the terminal."""
        if not self.is_first:
            return
        row = {"step": step, "is_best": is_best, "metrics": values, "errors": errors}
        with (self.folder / VALIDATION).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.diagnosis is not None:
            self.diagnosis.measured.append(row)
        spread = {name: f" ± {SURE * error:.2g}" for name, error in errors.items()}
        shown = "  ".join(f"{name} {value:.4g}{spread.get(name, '')}" for name, value in values.items())
        self.say(f"validation at step {step}: {shown}{'  (best so far)' * is_best}")
        if self.tracker is not None:
            self._track(lambda: self.tracker.log({f"validation/{name}": values[name] for name in values}, step=step))
            if is_best:
                best = {f"best/{name}": value for name, value in values.items()} | {"best/step": step}
                self._track(lambda: self.tracker.summary.update(best))

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture (8-bit RGB) for wandb."""
        if self.tracker is not None:
            import wandb

            self._track(lambda: self.tracker.log({name: wandb.Image(picture)}, step=step))

    def _track(self, send: Any) -> None:
        if self.tracker is None:  # it failed a moment ago
            return
        try:
            send()
        except Exception as error:  # tracking is a guest: whatever goes wrong in it, training goes on
            self.tracker = None
            self.say(f"wandb failed and is off for the rest of this run: {error}")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl or validation.jsonl; a last line that was cut off by a crash is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def best_measurement(folder: Path) -> dict[str, Any] | None:
    """The line of a run's validation.jsonl that tells of its best model; None without one."""
    return next((row for row in reversed(read_metrics(folder / VALIDATION)) if row["is_best"]), None)


def _truncate(path: Path, step: int) -> None:
    """Drop the lines after `step`: an interrupted run goes back to its last save and writes them again."""
    if path.is_file():
        rows = [row for row in read_metrics(path) if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def check_wandb(settings: Wandb) -> None:
    """Raise UserError when what wandb needs is not there."""
    mode = _wandb_mode(settings)
    if mode == "disabled":
        return
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"wandb.mode={mode} needs the wandb extra: pip install 'translate-images[wandb]', or wandb.mode=disabled"
        ) from error
    if mode == "online" and not wandb.api.api_key:
        raise UserError("wandb.mode=online needs an API key: run `wandb login` once, or use wandb.mode=offline")


def _wandb_mode(settings: Wandb) -> Literal["offline", "online", "disabled"]:
    return settings.mode or ("offline" if settings.project else "disabled")


def _start_wandb(folder: Path, wandb_settings: Wandb, settings: Mapping[str, Any]) -> Any:
    mode = _wandb_mode(wandb_settings)
    if mode == "disabled":
        return None
    import wandb

    try:
        return wandb.init(
            dir=folder,
            mode=mode,
            project=wandb_settings.project or "translate",
            name=wandb_settings.name or folder.name,
            config=dict(settings),
            settings=wandb.Settings(silent=True),
        )
    except Exception as error:  # tracking is a guest: whatever goes wrong in it, training goes on
        print(f"wandb could not start, training goes on without it: {error}", file=sys.stderr)
        return None


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
