"""A sweep on the terminal: which of the combinations to take."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from translate.sweeps.plot import FILE as PLOT
from translate.sweeps.plot import short, without
from translate.sweeps.table import FILE, FINISHED, WAITING, Row, Summary, Task, summarize


def print_sweep(console: Console, folder: Path, rows: Sequence[Row], split: str | None = None) -> None:
    """A table per task with mean and spread over the seeds, why runs failed, and how to use the best."""
    tasks = summarize(rows, split)
    for task in tasks:
        console.print(make_table(task, split))
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


def make_table(task: Task, split: str | None) -> Table:
    """A row per combination of everything but the seed; the best of a column is marked with a star."""
    where = f"on the {split} split" if split else "on the validation images, of the best model where one is kept"
    table = Table(title=f"{task.label}{': ' * bool(task.label)}{where}", title_justify="left")
    keys = list(dict.fromkeys(key for summary in task.summaries for key in summary.values if key not in task.values))
    widest = max(len(short(summary, task)) for summary in task.summaries)
    table.add_column("\n".join(keys), overflow="fold", min_width=min(widest, 24))
    table.add_column("runs")
    for name in (*task.metrics, "minutes"):
        table.add_column(name, justify="right", no_wrap=True)
    best = {name: task.best(name) for name in task.metrics}
    for summary in task.summaries:
        cells = [Text(number_with_spread(summary, name)) for name in task.metrics]
        for name, cell in zip(task.metrics, cells, strict=True):
            if best[name] is summary:
                cell.append(" *")
                cell.stylize("bold green")
        minutes = "" if summary.minutes is None else f"{summary.minutes:.1f}"
        table.add_row(Text(short(summary, task)), Text(count_runs(summary)), *cells, Text(minutes))
    return table


def count_runs(summary: Summary) -> str:
    """How many runs have finished, and how the others ended: `2 of 3, diverged at step 40`."""
    done, total = len(summary.finished), len(summary.rows)
    if done == total:
        return str(done)
    ends = ", ".join(dict.fromkeys(summary.failures))
    return f"{done} of {total}, {ends}" if total > 1 or done else ends


def number_with_spread(summary: Summary, metric: str) -> str:
    """`0.0331 ± 0.0004`; without a spread for one run, and nothing for none."""
    mean, spread = summary.mean(metric), summary.spread(metric)
    if mean is None:
        return ""
    places = 4 if abs(mean) < 3 else 2
    return f"{mean:.{places}f}" if spread is None else f"{mean:.{places}f} ± {spread:.{places}f}"


def advise(task: Task, folder: Path) -> str | None:
    """The best by the first metric, those as near to it as seeds are to one another, and how to use its best run."""
    metric = task.metrics[0] if task.metrics else ""
    best = task.best(metric) if metric else None
    if best is None:
        return None
    higher = task.is_higher_better(metric)
    finished = [(row.value(metric, best.split), row) for row in best.finished]
    known = [(value, row) for value, row in finished if value is not None]
    _, run = (max if higher else min)(known, key=lambda found: found[0])
    of = f" of {task.label}" if task.label else ""
    line = f"Best {metric}{of}: {without(best, task)} ({number_with_spread(best, metric)})"
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
