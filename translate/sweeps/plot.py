"""A sweep as one PNG: what each run came to, and the way there."""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.files import write_atomically
from translate.sweeps.table import Summary, Task, plain, split_of
from translate.training.log import VALIDATION, read_metrics

FILE = "sweep.png"
ROW = 0.28
"""Inches that a row takes."""
COLORED = 6
"""Rows, the best, that get a colour of their own."""


def draw_sweep(folder: Path, tasks: Sequence[Task]) -> None:
    """Draw sweep.png: per task a dot for each seed and a line at their mean, the best on top; beside it the curves of
    the validation, means with a band of one standard deviation. Those without a number keep their row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = [task for task in tasks if task.metrics]
    if not tasks:
        return
    heights = [max(2.6, ROW * (len(task.summaries) + 3)) for task in tasks]
    figure, panels = pyplot.subplots(
        len(tasks), 2, figsize=(13, sum(heights) + 0.4), squeeze=False, height_ratios=heights, layout="constrained"
    )
    for task, (dots, curves) in zip(tasks, panels, strict=True):
        palette = [
            pyplot.get_cmap("tab10")(place) if place < COLORED else "0.75" for place in range(len(task.summaries))
        ]
        _draw_dots(dots, task, palette)
        _draw_curves(curves, folder, task, palette)
    write_atomically(folder / FILE, lambda partial: figure.savefig(partial, dpi=110, format="png"), durable=False)
    pyplot.close(figure)


def _draw_dots(panel: Any, task: Task, palette: Sequence[Any]) -> None:
    """Rows from top to bottom in the order of the task; hollow dots are the same metric on another split."""
    metric = task.metrics[0]
    beside = next((other for other in task.metrics[1:] if plain(other) == plain(metric)), None)
    labels = []
    for place, (summary, color) in enumerate(zip(task.summaries, palette, strict=True)):
        numbers = summary.numbers(metric)
        panel.plot(numbers, [place] * len(numbers), "o", color=color, markersize=6, alpha=0.8, markeredgewidth=0)
        if len(numbers) > 1:
            panel.plot([summary.mean(metric)] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.5)
        if beside is not None:
            others = summary.numbers(beside)
            panel.plot(others, [place] * len(others), "o", color=color, markersize=6, markerfacecolor="none")
        labels.append(mark(summary, task))
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    better = {True: "higher is better", False: "lower is better", None: ""}[task.is_higher_better(metric)]
    where = f"{split_of(metric) or 'validation'}: {plain(metric)}"
    hollow = f"; hollow: {split_of(beside)}" if beside is not None else ""
    panel.set_xlabel(f"{where}{f' ({better})' if better else ''}{hollow}")
    panel.set_title(task.label, fontsize=10, loc="left")
    panel.grid(alpha=0.3)


def _draw_curves(panel: Any, folder: Path, task: Task, palette: Sequence[Any]) -> None:
    """The metric of the dots, where the validation knows it; else what it knows first."""
    known = [read_curves(folder, summary) for summary in task.summaries]
    names = list(dict.fromkeys(name for curves in known for curve in curves for name in curve))
    panel.set_visible(bool(names))
    if not names:
        return
    metric = plain(task.metrics[0]) if plain(task.metrics[0]) in names else names[0]
    for place in reversed(range(len(known))):  # the best in front
        points = mean_curve([curve[metric] for curve in known[place] if metric in curve])
        if not points:
            continue
        steps, means, _ = zip(*points, strict=True)
        label = short(task.summaries[place], task) if place < COLORED else None
        panel.plot(
            steps, means, color=palette[place], linewidth=1.3, label=label, marker="." if len(steps) == 1 else ""
        )
        low, high = ([mean + sign * spread for _, mean, spread in points] for sign in (-1, 1))
        panel.fill_between(steps, low, high, color=palette[place], alpha=0.15, linewidth=0)
    panel.set(xlabel="step", ylabel=f"validation: {metric}")
    panel.grid(alpha=0.3)
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], fontsize=7)


def mark(summary: Summary, task: Task) -> str:
    """What makes a summary, and how those ended that are not finished: `hinge  (1 of 3 waiting)`."""
    total = len(summary.rows)
    counts = Counter(summary.failures)
    ends = ", ".join(end if count == total else f"{count} of {total} {end}" for end, count in counts.items())
    return short(summary, task) + (f"  ({ends})" if ends else "")


def short(summary: Summary, task: Task) -> str:
    """The same, without the keys of values that are words."""
    own = {key: value for key, value in summary.values.items() if key not in task.values}
    is_word = {key: value[:1].isalpha() and value not in ("true", "false", "null") for key, value in own.items()}
    return " ".join(value if is_word[key] else f"{key}={value}" for key, value in own.items()) or summary.label


def without(summary: Summary, task: Task) -> str:
    """What makes a summary within its task."""
    own = {key: value for key, value in summary.values.items() if key not in task.values}
    return " ".join(f"{key}={value}" for key, value in own.items()) or summary.label


Curve = dict[str, dict[int, float]]
"""By metric, the value at each step."""


def read_curves(folder: Path, summary: Summary) -> list[Curve]:
    """What the finished runs of a summary measured in training."""
    found: list[Curve] = []
    for row in summary.finished:
        curve: Curve = {}
        for line in read_metrics(folder / row.name / VALIDATION):
            for name, value in line["metrics"].items():
                curve.setdefault(name, {})[line["step"]] = value
        found.append(curve)
    return found


def mean_curve(curves: Sequence[dict[int, float]]) -> list[tuple[int, float, float]]:
    """(step, mean, standard deviation or 0) at the steps that all curves have."""
    if not curves:
        return []
    points = []
    for step in sorted(set.intersection(*(set(curve) for curve in curves))):
        values = [curve[step] for curve in curves]
        points.append((step, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0))
    return points
