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


def split_of(metric: str) -> str:
    """The split that a metric is of: `test` for `test l1`; empty for those of the validation."""
    return metric.rpartition(" ")[0]


def plain(metric: str) -> str:
    """The metric without the split that it is of."""
    return metric.rpartition(" ")[2]


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

    def value(self, metric: str) -> float | None:
        """A metric of the best model on the validation images, of the last if none is best; `test l1` is that on the
        test split."""
        split, name = split_of(metric), plain(metric)
        names = [f"{split}_{name}"] if split else [f"best_{name}", f"final_{name}"]
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
    """

    values: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def finished(self) -> list[Row]:
        """Those that have run to their end."""
        return [row for row in self.rows if row.outcome == FINISHED]

    def numbers(self, metric: str) -> list[float]:
        """A metric of all that have it."""
        found = (row.value(metric) for row in self.finished)
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
        metrics: what is known of them, the one that they are sorted by first: of the validation, where that has one
            which tells; `test l1` is one of the test split.
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

    def is_choosing(self, metric: str) -> bool:
        """Whether it is of the images that the best is chosen by; others are shown beside it."""
        return split_of(metric) == split_of(self.metrics[0])

    def is_higher_better(self, metric: str) -> bool | None:
        """Whether more of it is better; None for what tells nothing."""
        return None if plain(metric) in TELL_NOTHING else plain(metric) in BETTER_WHEN_HIGHER


def find_best(summaries: Sequence[Summary], metric: str) -> Summary | None:
    """The summary with the best mean; None where fewer than two have one, or the metric tells nothing."""
    found = ((summary.mean(metric), place) for place, summary in enumerate(summaries))
    means = [(mean, place) for mean, place in found if mean is not None and math.isfinite(mean)]
    if plain(metric) in TELL_NOTHING or len(means) < 2:
        return None
    return summaries[(max if plain(metric) in BETTER_WHEN_HIGHER else min)(means, key=lambda pair: pair[0])[1]]


def varied_keys(rows: Iterable[Row]) -> list[str]:
    """The keys that not all rows have the same value of, in the order in which they are typed first."""
    rows = list(rows)
    keys = dict.fromkeys(key for row in rows for key in row.values)
    return [key for key in keys if len({row.values.get(key) for row in rows}) > 1]


def summarize(rows: Sequence[Row], split: str | None = None) -> list[Task]:
    """Rows by task, within it by everything but the seed; the best first, those without a value last.

    What is best, the validation tells; the metrics of `split` stand beside it. Where the validation has none that tells
    which model is better, the split does.
    """
    keys = [key for key in varied_keys(rows) if key != SEED]
    apart = [key for key in keys if key in APART or key.startswith("data.")]
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault(tuple(row.values.get(key, "") for key in keys), []).append(row)
    summaries = [
        Summary({key: value for key, value in zip(keys, values, strict=True) if value}, tuple(members))
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
    """The metrics of the validation that some row has, then those of a split, as `test l1`; beside true answers first.

    If nothing of the validation tells which model is better, but something of the split does, that is first.
    """
    prefixes = {"best_": "", "final_": ""} | ({f"{split}_": f"{split} "} if split else {})
    found: dict[str, None] = {}
    for row in rows:
        for column in row.numbers:
            prefix = next((prefix for prefix in prefixes if column.startswith(prefix)), None)
            name = column.removeprefix(prefix or "")
            is_metric = not name.startswith("input ") and not name.endswith("_error") and name not in NOT_OF_THE_MODEL
            if prefix and name != "step" and is_metric:
                found[prefixes[prefix] + name] = None

    def place(metric: str) -> tuple[bool, bool, int]:
        name = plain(metric)
        return bool(split_of(metric)), name in TELL_NOTHING, PAIRED.index(name) if name in PAIRED else len(PAIRED)

    metrics = sorted(found, key=place)
    telling = {split_of(metric) for metric in metrics if plain(metric) not in TELL_NOTHING}
    return sorted(metrics, key=split_of, reverse=True) if split and telling == {split} else metrics


def _place(summary: Summary, metric: str) -> tuple[bool, float]:
    mean = summary.mean(metric)
    if mean is None or not math.isfinite(mean) or plain(metric) in TELL_NOTHING:
        return mean is None, 0.0
    return False, -mean if plain(metric) in BETTER_WHEN_HIGHER else mean


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
