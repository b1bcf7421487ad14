"""Making the runs of a sweep, one after the other in this process, with a table after each.

One process is enough, and saves the seconds that each start takes: a run seeds every random draw from (seed, step) and
sets what torch keeps for the whole process, so it ends in the same weights as alone.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import Signals

import torch

from translate.data.source import Progress
from translate.errors import DivergenceError, UserError
from translate.run import run as train
from translate.signals import Interrupted, leave_on_signal
from translate.sweeps.plan import Planned
from translate.sweeps.plot import draw_sweep
from translate.sweeps.table import (
    DIVERGED,
    FAILED,
    FINISHED,
    REFUSED,
    STOPPED,
    WAITING,
    Row,
    read_table,
    summarize,
    write_table,
)
from translate.training.checkpoint import read_progress
from translate.training.log import METRICS
from translate.training.run import Outcome

DRAW_AFTER = 60
"""Seconds at least between two drawings of sweep.png."""


def make_runs(
    folder: Path,
    planned: Sequence[Planned],
    refused: Mapping[str, str],
    *,
    split: str | None = None,
    measure: Callable[[Planned], Mapping[str, float]] | None = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
    make: Callable[[Planned], Outcome] | None = None,
) -> Signals | None:
    """Make every run that is not finished, in the order given; returns the signal that stopped them, if one did.

    A signal ends a training after its step, and all else at once. A second one acts as it did before.

    What is `refused`, by name, becomes a row with its reason. sweep.csv is written after every run, and sweep.png if it
    was not just drawn. Runs of another command that are in the folder keep their rows. `measure` gives metrics of a
    finished run on a `split`, if one is named. What diverged is not tried again as long as its folder is there and its
    words are the same. `make` is how a run is made (default: trained).

    Raises:
        UserError: every run is refused; or the table there is none.
    """
    make = make or (lambda run: _train(run, folder, progress))
    if len(refused) == len(planned):
        raise UserError("every run is refused:\n" + "\n".join(f"  {name}: {why}" for name, why in refused.items()))
    rows = {row.name: row for row in read_table(folder)}
    for run in planned:
        before = rows.get(run.name)
        if before is None or before.words != run.words:
            rows[run.name] = Row(run.name, run.words, numbers=before.numbers if before else {})
        if run.name in refused:
            rows[run.name] = Row(run.name, run.words, f"{REFUSED}: {refused[run.name]}")
        elif rows[run.name].outcome.startswith(REFUSED):
            rows[run.name].outcome = WAITING

    write_table(folder, list(rows.values()))
    signal, drawn = None, time.monotonic()
    with leave_on_signal() as stop:
        for number, run in enumerate(planned, start=1):
            row = rows[run.name]
            head = f"Run {number} of {len(planned)}, {run.name}"
            if row.outcome.startswith((REFUSED, DIVERGED)):
                say(f"{head}: {row.outcome.partition(':')[0]}")
                continue
            say(f"{head}:")
            signal = _make(row, run, make, folder / run.name) or stop.signal
            if signal is None and split is not None and measure is not None and row.outcome == FINISHED:
                _measure(row, run, split, measure, say)
            say(f"{head}: {row.outcome}")
            write_table(folder, list(rows.values()))
            if signal is not None:
                break
            if time.monotonic() - drawn > DRAW_AFTER:
                draw_sweep(folder, summarize(list(rows.values()), split))
                drawn = time.monotonic()
    write_table(folder, list(rows.values()))
    draw_sweep(folder, summarize(list(rows.values()), split))
    return signal or stop.signal


def _make(row: Row, run: Planned, make: Callable[[Planned], Outcome], folder: Path) -> Signals | None:
    """Make a run, and say in its row what came of it; the signal that arrived meanwhile, if one did."""
    started, signal, before = time.perf_counter(), None, _last_change(folder)
    try:
        outcome = make(run)
    except DivergenceError as error:
        row.outcome = f"{DIVERGED}{f' at step {error.step}' * (error.step is not None)}: {error}"
    except UserError as error:
        row.outcome = f"{FAILED}: {error}"
    except Interrupted:
        if _last_change(folder) != before and (progress := read_progress(folder)) is not None:
            is_over = progress.step >= progress.total_steps
            row.outcome = FINISHED if is_over else f"{STOPPED} at step {progress.step}"
            row.numbers["step"] = progress.step
            row.read_validation(folder)
        raise
    else:
        signal = outcome.received
        row.outcome = FINISHED if outcome.stopped_by is None else f"{STOPPED} at step {outcome.steps}"
        row.numbers["step"] = outcome.steps
    if _last_change(folder) != before:  # a run that is finished already returns at once
        row.numbers["minutes"] = row.numbers.get("minutes", 0.0) + (time.perf_counter() - started) / 60
    row.read_validation(folder)
    return signal


def _last_change(folder: Path) -> int:
    """When a run last logged something; 0 for never."""
    return (folder / METRICS).stat().st_mtime_ns if (folder / METRICS).is_file() else 0


def _train(run: Planned, judges: Path, progress: Progress | None) -> Outcome:
    try:
        return train(run.composed, data_progress=progress, judges=judges)
    finally:
        gc.collect()  # networks and optimisers refer to one another
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _measure(
    row: Row,
    run: Planned,
    split: str,
    measure: Callable[[Planned], Mapping[str, float]],
    say: Callable[[str], None],
) -> None:
    """Put a finished run's metrics of a split into its row, unless they are there and of the same steps."""
    column = f"{split}_step"
    if row.numbers.get(column) == row.numbers["step"]:
        return
    try:
        found = measure(run)
    except UserError as error:
        say(f"{run.name} is not measured on the {split} split: {error}")
        return
    row.numbers[column] = row.numbers["step"]
    row.numbers |= {f"{split}_{name}": value for name, value in found.items()}
