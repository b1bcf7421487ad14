"""What came of the runs of a sweep: a row each in sweep.csv, and their means over seeds."""

import csv
import math
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from translate.errors import UserError
from translate.evaluation.metrics import BETTER_WHEN_HIGHER, write_rows
from translate.training.examination import PAIRED
from translate.training.log import VALIDATION, best_measurement, read_metrics
from translate.training.validation import TELL_NOTHING

FILE = "sweep.csv"
SEED = "seed"
FINISHED, WAITING = "finished", "waiting"
REFUSED, DIVERGED, FAILED, STOPPED = "refused", "diverged", "failed", "stopped"
"""How what became of a run begins."""
APART = ("method", "recipe", "data")
"""Settings whose values make other tasks: what is measured there is not to be compared."""
NOT_OF_THE_MODEL = ("real",)
"""What an evaluation tells of something else, as is all that begins with `input`."""


@dataclass
class Row:
    """A run of a sweep.

    Attributes:
        name: of its folder.
        words: what was typed for it.
        outcome: `finished`, `waiting`, or begins with `refused`, `diverged`, `failed` or `stopped`.
        numbers: by column: `step`, `minutes`, `best_step`, and metrics behind `best_`, `final_` (of the validation), or
            the name of a split (of the best model).
    """

    name: str
    words: str
    outcome: str = WAITING
    numbers: dict[str, float] = field(default_factory=dict)

    @cached_property
    def values(self) -> dict[str, str]:
        """What was typed, by key."""
        pairs = (word.partition("=") for word in shlex.split(self.words))
        return {key: value for key, _, value in pairs}

    def value(self, metric: str, split: str | None) -> float | None:
        """A metric of the best model on `split`; without one on the validation images, of the last if none is best."""
        names = [f"{split}_{metric}"] if split else [f"best_{metric}", f"final_{metric}"]
        return next((self.numbers[name] for name in names if name in self.numbers), None)

    def read_validation(self, folder: Path) -> None:
        """Take in what a run folder tells of its validation."""
        measured, best = read_metrics(folder / VALIDATION), best_measurement(folder)
        for name in [name for name in self.numbers if name.startswith(("best_", "final_"))]:
            del self.numbers[name]
        if best is not None:
            self.numbers["best_step"] = best["step"]
            self.numbers |= {f"best_{name}": value for name, value in best["metrics"].items()}
        if measured:
            self.numbers |= {f"final_{name}": value for name, value in measured[-1]["metrics"].items()}


@dataclass(frozen=True)
class Summary:
    """Runs that differ in their seed alone.

    Attributes:
        values: what makes them, by key, without what all rows share.
        rows: them.
        split: the split whose metrics are told; None for those of the validation.
    """

    values: dict[str, str]
    rows: tuple[Row, ...]
    split: str | None = None

    @property
    def finished(self) -> list[Row]:
        """Those that have run to their end."""
        return [row for row in self.rows if row.outcome == FINISHED]

    def numbers(self, metric: str) -> list[float]:
        """A metric of all that have it."""
        found = (row.value(metric, self.split) for row in self.finished)
        return [value for value in found if value is not None]

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the seeds; None where none has it."""
        numbers = self.numbers(metric)
        return statistics.fmean(numbers) if numbers else None

    def spread(self, metric: str) -> float | None:
        """The standard deviation (of a sample: n - 1) over the seeds; None for fewer than two."""
        numbers = self.numbers(metric)
        return statistics.stdev(numbers) if len(numbers) > 1 else None

    @property
    def minutes(self) -> float | None:
        """The mean time of a run."""
        numbers = [row.numbers["minutes"] for row in self.finished if "minutes" in row.numbers]
        return statistics.fmean(numbers) if numbers else None

    @property
    def label(self) -> str:
        """What makes them, in words."""
        return " ".join(f"{key}={value}" for key, value in self.values.items()) or "all"

    @property
    def failures(self) -> list[str]:
        """How those that are not finished ended, in a word: `diverged at step 40` is one."""
        return [row.outcome.partition(":")[0] for row in self.rows if row.outcome != FINISHED]


@dataclass(frozen=True)
class Task:
    """Summaries that may be compared with one another, the best first.

    Attributes:
        values: what makes the task, by key; empty if all rows are of one.
        summaries: of its runs.
        metrics: what is known of them, the one that they are sorted by first.
    """

    values: dict[str, str]
    summaries: tuple[Summary, ...]
    metrics: tuple[str, ...]

    @property
    def label(self) -> str:
        """What makes it, in words."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    def best(self, metric: str) -> Summary | None:
        """The best by a metric; None where there is nothing to choose from, or the metric tells nothing."""
        return find_best(self.summaries, metric)

    def is_higher_better(self, metric: str) -> bool | None:
        """Whether more of it is better; None for what tells nothing."""
        return None if metric in TELL_NOTHING else metric in BETTER_WHEN_HIGHER


def find_best(summaries: Sequence[Summary], metric: str) -> Summary | None:
    """The summary with the best mean; None where fewer than two have one, or the metric tells nothing."""
    found = ((summary.mean(metric), place) for place, summary in enumerate(summaries))
    means = [(mean, place) for mean, place in found if mean is not None and math.isfinite(mean)]
    if metric in TELL_NOTHING or len(means) < 2:
        return None
    return summaries[(max if metric in BETTER_WHEN_HIGHER else min)(means, key=lambda pair: pair[0])[1]]


def varied_keys(rows: Iterable[Row]) -> list[str]:
    """The keys that not all rows have the same value of, in the order in which they are typed first."""
    rows = list(rows)
    keys = dict.fromkeys(key for row in rows for key in row.values)
    return [key for key in keys if len({row.values.get(key) for row in rows}) > 1]


def summarize(rows: Sequence[Row], split: str | None = None) -> list[Task]:
    """Rows by task, within it by everything but the seed; the best first, those without a value last."""
    keys = [key for key in varied_keys(rows) if key != SEED]
    apart = [key for key in keys if key in APART or key.startswith("data.")]
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(row.values.get(key, "") for key in keys), []).append(row)
    summaries = [
        Summary({key: value for key, value in zip(keys, values, strict=True) if value}, tuple(members), split)
        for values, members in grouped.items()
    ]
    tasks: dict[tuple[str, ...], list[Summary]] = {}
    for summary in summaries:
        tasks.setdefault(tuple(summary.values.get(key, "") for key in apart), []).append(summary)
    found = []
    for values, members in tasks.items():
        metrics = known_metrics((row for summary in members for row in summary.finished), split)
        if metrics:
            members = sorted(members, key=lambda summary: _place(summary, metrics[0]))
        made = {key: value for key, value in zip(apart, values, strict=True) if value}
        found.append(Task(made, tuple(members), tuple(metrics)))
    return found


def known_metrics(rows: Iterable[Row], split: str | None) -> list[str]:
    """The metrics of a split (None: of the validation) that some row has, those beside true answers first."""
    prefixes = (f"{split}_",) if split else ("best_", "final_")
    found: dict[str, None] = {}
    for row in rows:
        for column in row.numbers:
            prefix = next((prefix for prefix in prefixes if column.startswith(prefix)), None)
            name = column.removeprefix(prefix or "")
            if prefix and name != "step" and name not in NOT_OF_THE_MODEL and not name.startswith("input "):
                found[name] = None
    return sorted(found, key=lambda name: PAIRED.index(name) if name in PAIRED else len(PAIRED))


def _place(summary: Summary, metric: str) -> tuple[bool, float]:
    mean = summary.mean(metric)
    if mean is None or not math.isfinite(mean) or metric in TELL_NOTHING:
        return mean is None, 0.0
    return False, -mean if metric in BETTER_WHEN_HIGHER else mean


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write sweep.csv: a line per run, with what varies, what became of it, and all numbers."""
    keys = varied_keys(rows)
    numbers = list(dict.fromkeys(name for row in rows for name in row.numbers))
    first = [name for name in ("step", "minutes", "best_step") if name in numbers]
    numbers = [*first, *(name for name in numbers if name not in first)]
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(
        folder / FILE,
        [
            {"run": row.name}
            | {key: row.values.get(key, "") for key in keys}
            | {"outcome": row.outcome}
            | {name: row.numbers.get(name, "") for name in numbers}
            | {"words": row.words}
            for row in rows
        ],
    )


def read_table(folder: Path) -> list[Row]:
    """The rows of sweep.csv but those whose run folder was there and is gone; none without it.

    Raises:
        UserError: the file was changed into something else.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_read_row(cells) for cells in csv.DictReader(file)]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no table of a sweep any more ({error!r}): delete it, the runs keep theirs"
        ) from error
    return [row for row in rows if (folder / row.name).is_dir() or row.outcome.startswith((REFUSED, WAITING))]


def _read_row(cells: dict[str, str]) -> Row:
    row = Row(cells.pop("run"), cells.pop("words"), cells.pop("outcome"))
    numbers = {name: text for name, text in cells.items() if text and name not in row.values}
    row.numbers = {name: int(text) if text.isdigit() else float(text) for name, text in numbers.items()}
    return row
