"""Converting a folder: every image, the tree mirrored, a bad file never stops the others."""

import json
import re
import unicodedata
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from translate.conversion.translator import Translator
from translate.data.image import EXTENSIONS, TYPES, ImageError, can_hold, list_images, read_image, write_image
from translate.errors import UserError
from translate.files import write_text
from translate.picture import title_row, to_display
from translate.pixels import Side

Format = Literal["keep", "png", "jpeg", "webp", "tiff"]
FORMATS: dict[str, str | None] = {"keep": None, "png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
FAILURES = "failures.jsonl"
COMPARISON = "comparison.png"
COMPARED = 12
AHEAD = 8
"""Images read before they are needed, and results waiting to be written."""


@dataclass
class Report:
    """What became of a folder.

    Attributes:
        converted: outputs written.
        skipped: outputs that were there already.
        failures: (input, reason) of every image that could not be converted.
        comparison: the before/after picture, if one was asked for.
        progress: called with the report after every image.
    """

    converted: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[tuple[Path, str]] = field(default_factory=list)
    comparison: Path | None = None
    progress: Callable[["Report"], None] = field(default=lambda report: None, repr=False)

    def add_converted(self, output: Path) -> None:
        """Take in an output that was written."""
        self.converted.append(output)
        self.progress(self)

    def add_skipped(self, output: Path) -> None:
        """Take in an output that was there already."""
        self.skipped.append(output)
        self.progress(self)

    def add_failure(self, failed: Path, reason: object) -> None:
        """Take in an input that could not be converted."""
        self.failures.append((failed, str(reason)))
        self.progress(self)


@dataclass(frozen=True)
class Task:
    """One image to convert. `output` has the extension that was asked for, or the input's."""

    input: Path
    output: Path
    domain: str | None = None


def plan(
    input_path: Path,
    output: Path,
    *,
    format: Format = "keep",
    channels: int | None = None,
    domains: Sequence[str] = (),
) -> list[Task]:
    """What would be converted into what: the images of a folder, or one image into a file or a folder.

    Several `domains` become a folder each in `output`. `channels` of the results, where known, settle the extension
    of those that the input's format cannot hold.

    Raises:
        UserError: there is nothing to convert, output lies in input, or two inputs would become one output, or two
            domains one folder.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format} is not one of {', '.join(FORMATS)}")
    suffix = FORMATS[format]
    if not input_path.exists():
        raise UserError(f"INPUT {input_path} does not exist: give an image or a folder of images")
    if len(domains) > 1:
        if output.suffix.lower() in EXTENSIONS:
            raise UserError(f"OUTPUT {output} is one image, but {len(domains)} domains were asked for: give a folder")
        return [
            task
            for domain, place in _places(domains, output).items()
            for task in plan(input_path, place, format=format, channels=channels, domains=[domain])
        ]
    domain = domains[0] if domains else None
    if input_path.is_file():
        is_named = output.suffix.lower() in EXTENSIONS
        target = output if is_named else output / input_path.name
        named = target if is_named or suffix is None else target.with_suffix(suffix)
        return [Task(input_path, _settled(named, channels), domain)]
    if output.is_file():
        raise UserError(f"OUTPUT {output} is a file, but INPUT {input_path} is a folder: give a folder")
    inside = output.resolve()
    if inside == input_path.resolve() or input_path.resolve() in inside.parents:
        raise UserError(
            f"OUTPUT {output} lies in INPUT {input_path}, where outputs would become inputs: use another folder"
        )
    names = list_images(input_path)
    if not names:
        raise UserError(f"INPUT {input_path} holds no images (looked for {', '.join(sorted(EXTENSIONS))})")
    tasks = [
        Task(input_path / name, _settled(output / (name.with_suffix(suffix) if suffix else name), channels), domain)
        for name in names
    ]
    inputs: dict[Path, Path] = {}
    for task in tasks:
        if task.output in inputs:
            raise UserError(
                f"{inputs[task.output]} and {task.input} would both become {task.output}: use --format keep"
            )
        inputs[task.output] = task.input
    return tasks


def _places(domains: Sequence[str], output: Path) -> dict[str, Path]:
    """The folder of each domain in `output`: its name, with `_` for what no folder can be called everywhere."""
    places: dict[str, Path] = {}
    takers: dict[str, str] = {}
    for domain in domains:
        name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", domain)
        if not name.strip(".") or name == FAILURES or Path(name).suffix.lower() in EXTENSIONS:
            name += "_"  # neither `..` nor what looks like a file
        taker = takers.setdefault(unicodedata.normalize("NFC", name).casefold(), domain)  # as disks compare names
        if taker != domain:
            raise UserError(
                f"the domains {taker!r} and {domain!r} would both become the folder {output / name}: ask for one at a "
                "time, each with its own OUTPUT"
            )
        places[domain] = output / name
    return places


def _settled(path: Path, channels: int | None) -> Path:
    """`path`, with another extension where its own holds results of `channels` in no pixel type."""
    suffix = path.suffix.lower()
    if channels is None or suffix not in EXTENSIONS:
        return path
    with_alpha = (channels, 4) if channels == 3 else (channels,)
    if any(can_hold(suffix, dtype, count) for dtype in TYPES for count in with_alpha):
        return path
    return path.with_suffix(".png" if can_hold(".png", "uint8", channels) else ".tif")


def convert_folder(
    translator: Translator,
    input_path: Path,
    output: Path,
    *,
    to: str | Sequence[str] = (),
    format: Format = "keep",
    batch_size: int | None = None,
    overwrite: bool = False,
    compare: bool = False,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Convert every image below `input_path` into the same place below `output`; see `plan` for the names.

    `to` names the domains of a multi-domain model, as `Domains.requests` takes them; several get a folder each.
    Images of one size are run together. Pixel type and transparency stay; a result that the input's format cannot
    hold (RGB from a `.pgm`, say) is written as `.png`, or else as `.tif`. Images whose output exists are left alone
    unless `overwrite`. `progress` is called after every image.

    Raises:
        UserError: see `plan`; or nothing more can be written (disk full, no permission). Finished outputs stay.
    """
    domains = translator.requests(to)
    tasks = plan(input_path, output, format=format, channels=translator.target.channels, domains=domains)
    report = Report() if progress is None else Report(progress=progress)
    folder = output if input_path.is_dir() or len(domains) > 1 else tasks[0].output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sheet: dict[Path, dict[str, np.ndarray]] = {}
        with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
            writing: deque[tuple[Task, Future[Path]]] = deque()
            for group in _batches(
                _read_ahead(readers, _unfinished(tasks, overwrite, report)),
                batch_size or (1 if translator.device.type == "cpu" else 8),
                report,
            ):
                for task, image, result in _run(translator, group, report):
                    if compare and (len(sheet) < COMPARED or task.input in sheet):
                        row = sheet.setdefault(task.input, {"": _displayed(image, translator.source)})
                        row[task.domain or "output"] = _displayed(result, translator.target)
                    writing.append((task, writers.submit(_write, task, result)))
                while len(writing) > AHEAD:
                    _collect(writing.popleft(), report)
            for written in writing:
                _collect(written, report)
        report.failures = list(dict.fromkeys(report.failures))  # an image fails for every domain alike
        comparison = folder / COMPARISON
        while comparison in {task.output for task in tasks}:
            comparison = comparison.with_stem(f"{comparison.stem}_sheet")
        report.comparison = _write_comparison(comparison, list(sheet.values())) if sheet else None
        if report.failures or input_path.is_dir():
            _write_failures(folder / FAILURES, report)
    except OSError as error:
        raise UserError(
            f"OUTPUT {output} cannot be written: {error.strerror or error}. {len(report.converted)} images are done "
            "and stay; the same command goes on with the others"
        ) from error
    return report


def _unfinished(tasks: Iterable[Task], overwrite: bool, report: Report) -> Iterator[Task]:
    for task in tasks:
        if not overwrite and task.output.exists():
            report.add_skipped(task.output)
        else:
            yield task


def _read_ahead(readers: ThreadPoolExecutor, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray | ImageError]]:
    def read(task: Task) -> np.ndarray | ImageError:
        try:
            return read_image(task.input)
        except ImageError as error:
            return error

    waiting: deque[tuple[Task, Future[np.ndarray | ImageError]]] = deque()
    for task in tasks:
        waiting.append((task, readers.submit(read, task)))
        if len(waiting) > AHEAD:
            first, image = waiting.popleft()
            yield first, image.result()
    for first, image in waiting:
        yield first, image.result()


def _batches(
    images: Iterable[tuple[Task, np.ndarray | ImageError]], batch_size: int, report: Report
) -> Iterator[list[tuple[Task, np.ndarray]]]:
    """Group images of one shape, type and domain; what waits for company is bounded."""
    groups: dict[tuple[object, ...], list[tuple[Task, np.ndarray]]] = defaultdict(list)
    for task, image in images:
        if isinstance(image, ImageError):
            report.add_failure(task.input, image)
            continue
        key = image.shape, str(image.dtype), task.domain
        groups[key].append((task, image))
        if len(groups[key]) == batch_size:
            yield groups.pop(key)
        elif sum(map(len, groups.values())) > 2 * batch_size:
            yield groups.pop(max(groups, key=lambda other: len(groups[other])))
    yield from groups.values()


def _run(
    translator: Translator, group: Sequence[tuple[Task, np.ndarray]], report: Report
) -> Iterator[tuple[Task, np.ndarray, np.ndarray]]:
    """Translate a group; if one of its images does not suit the model, each on its own."""
    try:
        results = translator.translate_batch([image for _, image in group], group[0][0].domain)
    except ImageError as error:
        if len(group) == 1:
            report.add_failure(group[0][0].input, error)
        else:
            for member in group:
                yield from _run(translator, [member], report)
        return
    for (task, image), result in zip(group, results, strict=True):
        yield task, image, result


def _write(task: Task, result: np.ndarray) -> Path:
    path = task.output
    dtype, channels = str(result.dtype), result.shape[2]
    if not can_hold(path.suffix.lower(), dtype, channels):
        path = path.with_suffix(".png" if can_hold(".png", dtype, channels) else ".tif")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, result)
    return path


def _collect(written: tuple[Task, Future[Path]], report: Report) -> None:
    task, path = written
    try:
        report.add_converted(path.result())
    except ImageError as error:
        report.add_failure(task.input, error)


def _write_failures(path: Path, report: Report) -> None:
    if not report.failures:
        path.unlink(missing_ok=True)
        return
    lines = (
        json.dumps({"input": str(failed), "reason": reason}, ensure_ascii=False) for failed, reason in report.failures
    )
    write_text(path, "\n".join(lines) + "\n")


def _displayed(image: np.ndarray, side: Side) -> np.ndarray:
    return to_display(image, *side.range_for(str(image.dtype)))


def _write_comparison(path: Path, rows: Sequence[Mapping[str, np.ndarray]]) -> Path:
    """A sheet of inputs and what became of them, each fitted into a square of at most 256 pixels."""
    side = min(256, max(max(image.shape[:2]) for row in rows for image in row.values()))
    titles = list(dict.fromkeys(title for row in rows for title in row))  # "" is the input: no domain is called so
    per_line = min(max((6 if side > 128 else 8) // len(titles), 1), len(rows))
    blank = np.full((side + 4, side + 4, 3), 255, np.uint8)
    cells = [
        np.concatenate([_fit(row[title], side) if title in row else blank for title in titles], axis=1) for row in rows
    ]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % per_line)
    lines = [np.concatenate(cells[start : start + per_line], axis=1) for start in range(0, len(cells), per_line)]
    headings = [title or "input" for title in titles] * per_line
    write_image(path, np.concatenate([title_row(headings, lines[0].shape[1]), *lines]))
    return path


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    """The picture, scaled to touch a square of `side` pixels from inside, on white with a small margin."""
    from translate.data.augmentation import resize_image

    height, width = (max(1, round(length * side / max(image.shape[:2]))) for length in image.shape[:2])
    cell = np.full((side + 4, side + 4, 3), 255, np.uint8)
    top, left = 2 + (side - height) // 2, 2 + (side - width) // 2
    cell[top : top + height, left : left + width] = resize_image(image, height, width)
    return cell
