"""A sweep on the terminal: which of the combinations to take."""

import math
import shlex
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from translate.config import quoted
from translate.sweeps.plot import FILE as PLOT
from translate.sweeps.plot import short, without
from translate.sweeps.table import (
    FAILED,
    FILE,
    FINISHED,
    SEED,
    STOPPED,
    WAITING,
    Row,
    Summary,
    Task,
    plain,
    split_of,
    summarize,
)


def print_sweep(console: Console, folder: Path, rows: Sequence[Row], split: str | None = None) -> None:
    """A table per task with mean and spread over the seeds, why runs failed, and how to use the best."""
    tasks = summarize(rows, split)
    for task in tasks:
        where = describe_metrics(task)
        console.print(Text(f"{task.label}{': ' * bool(task.label)}{where}", style="italic"), soft_wrap=True)
        for table in make_tables(task, console.width):
            console.print(table)
        unequal = tell_unequal(task)
        if unequal:
            console.print(Text(unequal), soft_wrap=True)
    reasons: dict[str, list[str]] = {}
    for row in rows:
        kind, _, why = row.outcome.partition(": ")
        if why:
            reasons.setdefault(f"{kind.partition(' ')[0]}: {why}", []).append(row.name)
    for reason, names in reasons.items():
        console.print(Text(f"{reason}\n  {' '.join(names)}"), soft_wrap=True)
    for task in tasks:
        line = advise(task, folder)
        if line:
            console.print(Text(line), soft_wrap=True)
    plot = f", as a picture: {folder / PLOT}" if (folder / PLOT).is_file() else ""
    console.print(Text(f"Every run: {folder / FILE}{plot}"), soft_wrap=True)


def describe_metrics(task: Task) -> str:
    """What the numbers of a table are measured on, what a spread is, and what chooses the best."""
    validated = "on the validation images, of the best model where one is kept"
    others = [split for split in dict.fromkeys(map(split_of, task.metrics)) if split]
    spread = ""
    if any(summary.spread(metric) is not None for summary in task.summaries for metric in task.metrics):
        spread = "; ± is the standard deviation over seeds"
    if not others:
        return validated + spread
    (split,) = others
    if task.metrics[0].startswith(f"{split} "):
        return (
            f"chosen by the {split} split, for nothing on validation images tells which is better: the best looks "
            f"better there than it is{spread}"
        )
    return f"{validated}; beside it, but not to choose by, on the {split} split{spread}"


def make_tables(task: Task, width: int) -> list[Table]:
    """A row per combination of everything but the seed; the best of a column that chooses is marked with a star.

    Columns that `width` characters have no room for are in further tables with the same rows. Numbers are never cut;
    names that are too long are folded.
    """
    keys = dict.fromkeys(key for summary in task.summaries for key in summary.values if key not in task.values)
    names = Text("\n".join(keys)), [Text(short(summary, task)) for summary in task.summaries]
    columns = [(Text("runs"), [Text(_wrap(count_runs(summary))) for summary in task.summaries])]
    columns += [(Text(metric), _cells(task, metric)) for metric in task.metrics]
    minutes = ["" if summary.minutes is None else f"{summary.minutes:.1f}" for summary in task.summaries]
    columns.append((Text("minutes"), [Text(cell) for cell in minutes]))
    widths = [max(_measure(cell)[1] for cell in (head, *cells)) for head, cells in columns]
    word, whole = (max(_measure(cell)[i] for cell in (names[0], *names[1])) for i in (0, 1))
    first = whole
    if _total(first, *widths) > width:
        first = max(1, min(whole, max(word, width // 3), width - _total(0, max(widths))))
    groups: list[list[int]] = [[]]
    for place in range(len(columns)):
        if groups[-1] and _total(first, *(widths[other] for other in (*groups[-1], place))) > width:
            groups.append([])
        groups[-1].append(place)
    tables = []
    for group in groups:
        table = Table()
        table.add_column(names[0], overflow="fold", width=first)
        for place in group:
            is_number = place > 0
            table.add_column(columns[place][0], justify="right" if is_number else "left", width=widths[place])
        for row, name in enumerate(names[1]):
            table.add_row(name, *(columns[place][1][row] for place in group))
        tables.append(table)
    return tables


def _cells(task: Task, metric: str) -> list[Text]:
    best = task.best(metric) if task.is_choosing(metric) else None
    return [
        Text(f"{number_with_spread(summary, metric)} *", style="bold green")
        if summary is best
        else Text(number_with_spread(summary, metric))
        for summary in task.summaries
    ]


def _wrap(text: str) -> str:
    return textwrap.fill(text, 12, break_long_words=False)


def _measure(text: Text) -> tuple[int, int]:
    """Characters of its longest word and of its longest line."""
    return max(map(cell_len, text.plain.split()), default=0), max(map(cell_len, text.plain.split("\n")))


def _total(*widths: int) -> int:
    """Characters of a table with columns of these: each has a space on both sides, and a line between and around."""
    return sum(widths) + 3 * len(widths) + 1


def tell_unequal(task: Task) -> str | None:
    """Which means are of fewer seeds than others; None when all are of the same number."""
    if not task.metrics:
        return None
    counts = {short(summary, task): len(summary.numbers(task.metrics[0])) for summary in task.summaries}
    most = max(counts.values(), default=0)
    fewer = [f"{name} has {count} of {most} seeds" for name, count in counts.items() if 0 < count < most]
    return f"{', '.join(fewer)}: the means and spreads are of unequal numbers." if fewer else None


def count_runs(summary: Summary) -> str:
    """How many runs have finished, and how the others ended: `2 of 3, diverged at step 40`."""
    done, total = len(summary.finished), len(summary.rows)
    if done == total:
        return str(done)
    ends = ", ".join(dict.fromkeys(summary.failures))
    return f"{done} of {total}, {ends}" if total > 1 or done else ends


def number_with_spread(summary: Summary, metric: str) -> str:
    """`0.03310 ± 0.00040`, of four digits; without a spread for one run, and nothing for none."""
    mean, spread = summary.mean(metric), summary.spread(metric)
    if mean is None:
        return ""
    largest = max(abs(mean), spread or 0.0)
    places = 3 - math.floor(math.log10(largest)) if 0 < largest < math.inf else 4
    return " ± ".join(f"{round(number, places):.{max(places, 0)}f}" for number in (mean, spread) if number is not None)


def advise(task: Task, folder: Path) -> str | None:
    """The best by the first metric, those as near to it as seeds are to one another, and how to use its best run."""
    metric = task.metrics[0] if task.metrics else ""
    best = task.best(metric) if metric else None
    if best is None:
        return None
    higher = task.is_higher_better(metric)
    finished = [(row.value(metric), row) for row in best.finished]
    known = [(value, row) for value, row in finished if value is not None]
    _, run = (max if higher else min)(known, key=lambda found: found[0])
    of = f" of {task.label}" if task.label else ""
    beside = [
        f"; {other}: {number_with_spread(best, other)}"
        for other in task.metrics[1:]
        if plain(other) == plain(metric) and number_with_spread(best, other)
    ]
    told = metric if split_of(metric) else f"validation {metric}"
    line = f"Best {told}{of}: {without(best, task)} ({number_with_spread(best, metric)}{''.join(beside)})"
    near = [without(other, task) for other in task.summaries if other is not best and is_near(other, best, metric)]
    if near:
        line += f"; no further from it than seeds are from one another: {', '.join(near)}"
    return f"{line}\n  translate convert {shlex.quote(str(folder / run.name))} INPUT OUTPUT"


def is_near(other: Summary, best: Summary, metric: str) -> bool:
    """Whether two means differ by no more than the larger spread; never where a spread is not known."""
    mean, least = other.mean(metric), best.mean(metric)
    spreads = [spread for summary in (other, best) if (spread := summary.spread(metric)) is not None]
    return mean is not None and least is not None and len(spreads) == 2 and abs(mean - least) <= max(spreads)


def how_many(rows: Sequence[Row]) -> str:
    """What is there and what is not: `4 runs: 3 finished, 1 refused`."""
    counts: dict[str, int] = {}
    for row in rows:
        kind = row.outcome.partition(":")[0].partition(" ")[0]
        counts[kind] = counts.get(kind, 0) + 1
    order = sorted(counts, key=lambda kind: (kind != FINISHED, kind == WAITING))
    return f"{len(rows)} run{'s' * (len(rows) != 1)}: {', '.join(f'{counts[kind]} {kind}' for kind in order)}"


def tell_others(rows: Sequence[Row], planned: Collection[str], folder: Path, options: Sequence[str] = ()) -> list[str]:
    """What is there without an end that a command which plans the runs of these names does not make; lines that name it
    and, with its `options`, the words that make it."""
    output = f"output={quoted(str(folder)) if ',' in str(folder) else folder}"
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.name not in planned and row.outcome.startswith((WAITING, STOPPED, FAILED)):
            words = [word for word in shlex.split(row.words) if not word.startswith(f"{SEED}=")]
            found.setdefault(shlex.join(words), []).append(row)
    lines = []
    for alike in found.values():
        seeds = ",".join(dict.fromkeys(row.values[SEED] for row in alike if SEED in row.values))
        words = []
        for key, value in (alike[0].values | ({SEED: seeds} if seeds else {})).items():
            is_named = any(part.startswith(f"{key}=") for part in alike[0].name.split(","))
            words.append(f"{key}=choice({value})" if is_named else f"{key}={value}")
        command = "finetune" if "from" in alike[0].values else "train"
        lines += [f"  {row.name} ({row.outcome.partition(':')[0]})" for row in alike]
        lines.append(f"    {shlex.join(['translate', command, '-m', *options, *words, output])}")
    return ["Not finished, and not made by this command:", *lines] if lines else []
