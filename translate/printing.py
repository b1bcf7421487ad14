"""What commands show: settings, data, plans, progress and results, as tables and lines."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from translate.errors import DivergenceError, UserError

if TYPE_CHECKING:
    from translate.conversion.folder import Prepared
    from translate.conversion.report import Report
    from translate.data.check import Inspection
    from translate.data.source import DataSource
    from translate.training.settings import Settings

Item = TypeVar("Item")


def print_settings(
    usage: str,
    words: list[str],
    config_dir: Path | None,
    first: Iterable[tuple[str, str, str]] = (),
    options: str = "",
) -> None:
    """Every setting with its default and meaning, under the components that `words` choose, after the rows `first`;
    `options` tells of further ones."""
    from translate.config import choices, explain_settings, groups

    console = Console(markup=False)
    console.print(f"Usage: {usage}")
    table = Table("component", "choices", title="Components", title_justify="left", expand=True)
    for group in groups(config_dir):
        table.add_row(f"{group}=", ", ".join(choices(group, config_dir)))
    console.print(table)
    table = Table(title="Settings", title_justify="left", expand=True)
    table.add_column("setting", overflow="fold", width=34)
    table.add_column("default", overflow="fold", max_width=12)
    table.add_column("meaning", overflow="fold")
    for key, default, meaning in [*first, *explain_settings(words, config_dir)]:
        table.add_row(key, default, meaning)
    console.print(table)
    console.print(
        f"Options: {options}--config-dir FOLDER of your own yaml files; --help. Give components before --help to see "
        "theirs."
    )


def print_inspection(inspection: "Inspection") -> None:
    """What was found in a data set."""
    table = Table("what", "found")
    for what, count in inspection.counts.items():
        table.add_row(what, str(count))
    for name, side in inspection.sides.items():
        if side is not None:
            kind = "label map, " if side.labels else ""
            table.add_row(
                f"side {name}" if len(inspection.sides) > 1 else name,
                f"{kind}{side.channels} channels, {side.dtype}, range {side.low:g} to {side.high:g}",
            )
    for (height, width), count in inspection.sizes.most_common(5):
        table.add_row("size", f"{width}x{height}: {count}")
    Console(markup=False).print(table)


def print_learning(taken: list[str], parts: list[tuple[str, int, str]]) -> None:
    """What a fine-tuning takes over, and which parts learn."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for line in taken:
        console.print(line)
    table = Table("part", "parameters", "")
    for part, size, how in parts:
        table.add_row(part, f"{size:,}", how)
    Console().print(table)


def print_warnings(inspection: "Inspection") -> None:
    """What may go badly, although nothing is wrong."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), markup=False)
    for number, warning in enumerate(inspection.warnings, start=1):
        console.print(printable(f"Warning {number} of {len(inspection.warnings)}: {warning}."))


def print_estimate(settings: "Settings", data: "DataSource", allowed: tuple[str, ...]) -> None:
    """What the run would take, from a few steps; why not, where that cannot be measured here."""
    from translate.training.estimate import estimate

    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print("Trying a few training steps (--no-estimate leaves that out) ...")
    try:
        lines = estimate(settings, data, allowed).describe()
    except (UserError, DivergenceError) as error:
        lines = [f"No estimate: {error}."]
    for line in lines:
        console.print(line)


def progress_bar(what: str) -> Callable[[Iterable[Item], int], Iterable[Item]]:
    """A wrapper around an iteration that shows how far it is, on a terminal."""

    def wrap(items: Iterable[Item], length: int) -> Iterable[Item]:
        from rich.progress import track

        return track(items, what, total=length, transient=True, disable=not sys.stdout.isatty())

    return wrap


@contextmanager
def conversion_progress(*, plain: bool) -> Iterator[Callable[["Report"], None]]:
    """How far a conversion is, on the standard error: a bar on a terminal, else with `plain` a line in 30 seconds."""
    from time import perf_counter

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    is_terminal = sys.stderr.isatty()
    console = Console(stderr=True, highlight=False, soft_wrap=not is_terminal, markup=False)
    columns = (TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    last = perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as bar:
        task = bar.add_task("", total=None)

        def advance(report: "Report") -> None:
            nonlocal last
            if perf_counter() - last < (0.1 if is_terminal else 30):
                return
            last = perf_counter()
            if is_terminal:
                bar.update(task, total=report.total, completed=report.finished, description=describe(report))
            elif plain:
                console.print(f"{report.finished} of {report.total} {describe(report)}")

        yield advance


def describe(report: "Report") -> str:
    """Speed or how far a video is, what was skipped and failed, and the time left."""
    parts = [report.within or speed(report)]
    parts += [f"{count} {name}" for count, name in ((report.skipped, "skipped"), (report.failed, "failed")) if count]
    if made := report.finished - report.skipped:
        left = round((report.total - report.finished) * report.seconds / made)
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return ", ".join(parts)


def speed(report: "Report") -> str:
    """Images per second, or seconds per image."""
    per_second = report.images_per_second
    return f"{per_second:.1f} images/s" if per_second >= 1 or not per_second else f"{1 / per_second:.1f} s/image"


def print_dry_run(prepared: "Prepared", *, as_json: bool) -> None:
    """What would be converted, and counts by reason."""
    import json

    plan, found = prepared.plan, prepared.survey
    counts = {"new": found.new, "changed": found.changed, "done": found.done, "foreign": len(found.foreign)}
    if as_json:
        typer.echo(json.dumps({"dry_run": True, "to_convert": found.pending, **counts}))
        return
    for job in found.jobs:
        for domain in job.domains:
            typer.echo(printable(f"{plan.folder / job.name} -> {plan.output / plan.output_of(job.name, domain)}"))
    for name, reason in plan.problems:
        typer.echo(printable(f"{plan.folder / name}: {reason}"))
    typer.echo(f"{found.pending} to convert ({found.new} new, {found.changed} changed), {found.done} in OUTPUT already")
    if found.foreign:
        typer.echo(f"{len(found.foreign)} in OUTPUT already were made by something else: --overwrite replaces them")


def print_conversion(report: "Report", output: Path, *, as_json: bool) -> None:
    """What became of a folder."""
    import json

    if as_json:
        typer.echo(json.dumps({"output": str(output), **report.as_dict()}))
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(
        printable(f"{report.converted} converted, {report.skipped} skipped, {report.failed} failed: {output}")
    )
    if report.converted:
        console.print(f"{report.seconds:.1f} seconds, {speed(report)}")
    if report.replaced:
        console.print(f"{report.replaced} of them replaced results of another model or other options.")
    if report.skipped:
        console.print("Skipped images were in OUTPUT already; --overwrite converts them again.")
    if report.comparison:
        console.print(printable(f"Before and after: {report.comparison}"))
    for failed, reason in report.failures[:20]:
        console.print(printable(f"  {failed}: {reason}"))
    if report.failed > 20:
        console.print(printable(f"  and {report.failed - 20} more, see {report.file}"))
    if report.stopped:
        console.print("Stopped before the end. The same command goes on.")


def printable(text: str) -> str:
    """`text` with escapes for what a name may hold and no terminal can show."""
    return text.encode(errors="backslashreplace").decode()
