"""Converting a folder: every image, the tree mirrored, a bad file never stops the others."""

import errno
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from translate import memory
from translate.conversion.formats import fit_format
from translate.conversion.manifest import Manifest, result_key
from translate.conversion.plan import FAILURES, Format, Plan, Shard, make_plan
from translate.conversion.reading import AHEAD, Picture, Special, Unreadable, load, read_ahead, reason_of
from translate.conversion.report import Report
from translate.conversion.samples import Sampler
from translate.conversion.special import Specials, Stopped
from translate.conversion.survey import Survey, remove_leftovers, survey
from translate.conversion.translator import Translator
from translate.data.image import write_image
from translate.errors import UserError

if TYPE_CHECKING:
    from translate.conversion.sheet import Sheet

COMPARISON = "comparison.png"
RESULTS = 1
"""Raised when the same model and options make other results than before, so that these are made again."""
MEMORY_SHARE = 0.25
"""Of the available memory, what images take that are read ahead or wait to be written, or one large image."""
NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors after which nothing more can be written."""


def convert_folder(
    translator: Translator,
    input_path: Path,
    output: Path,
    *,
    to: str | Sequence[str] = (),
    samples: int | None = None,
    seed: int = 0,
    format: Format = "keep",
    batch_size: int | None = None,
    overwrite: bool = False,
    compare: bool = False,
    shard: str | tuple[int, int] | Shard | None = None,
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Convert every image and video below `input_path` into the same place below `output`, or a single one.

    Names: the tree is mirrored and names are kept. Hidden files and `__MACOSX` are left out. With `format` `keep` the
    extension stays, except where files of it cannot hold as many channels as the model makes: `.pgm` and `.ppm` are
    exchanged, others become `.tif`. A single image goes into the folder `output`, or into the file `output` if that
    has the extension of an image.

    Pixels: type, size and transparency stay; EXIF orientation is applied; ICC profile and resolution are kept. Where
    `format` is given, or a single output is named with another extension, what the format cannot hold is changed: 16
    bits become 8 over their full range; floats in the range that the model knows become 16 bits in `.png` and 8 in
    `.jpg` and `.webp`; `.jpg` drops transparency. With `keep` an image that its own extension cannot hold (16-bit
    PNG data in `a.jpg`) is a failure. All pages of a TIFF are converted. An uncompressed or tiled TIFF that is large
    beside the memory is read, translated and written in strips. Videos stay videos.

    Going on: `output/.translate` remembers how each output was made. An output is left alone if input (by size and
    time of change), model, domain, code, `resize`, `format` and its own size are as they were, and made again
    otherwise. Files there that this function did not make are never overwritten without `overwrite`, and reported as
    failures. Every output appears under its name when it is complete; a killed run goes on where it was. A single image
    keeps no such record: an existing output is a failure unless `overwrite`.

    Failures: an input that fails for whatever reason stops no other; all stand in `output/failures.jsonl`, at once.

    Args:
        translator: what to convert with, see `translate.load`.
        input_path: an image, a video, or a folder of them.
        output: a folder, or a file for a single input.
        to: domains of a multi-domain model, as `Domains.requests` takes them; several get a folder each.
        samples: translations of each image, for a model with a latent code: with so many codes from N(0, 1), the same
            for every image. Several get a folder each, `sample_1`, ...; None is one with the code of zeros.
        seed: of the codes of samples.
        format: `keep`, `png`, `jpeg`, `webp` or `tiff`.
        batch_size: images of one size, type and domain run together; None is 1 on the CPU and 8 on a GPU.
        overwrite: convert everything again, over whatever is there.
        compare: also write `comparison.png` with the first 12 images beside their results.
        shard: `"I/N"` or `(I, N)`: only part I (from 1) of N, chosen by a hash of each name. Runs of different parts
            may share `output`; each has its own `failures-I-of-N.jsonl`.
        progress: called with the report after every output.
        stop: asked between batches; when true, what is finished is written and the report says that it stopped.

    Raises:
        UserError: there is nothing to convert, inputs would share an output, an option is wrong; or nothing more can
            be written (disk full, no permission). Finished outputs stay.
    """
    prepared = prepare(
        translator,
        input_path,
        output,
        to=to,
        samples=samples,
        seed=seed,
        format=format,
        overwrite=overwrite,
        shard=shard,
    )
    report = Report() if progress is None else Report(progress=progress)
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch-size {batch_size} is not at least 1")
    conversion = _Conversion(
        prepared, report, batch_size or translator.engine.default_batch_size, overwrite, compare, stop
    )
    try:
        conversion.run()
    except OSError as error:
        conversion.save_the_rest()
        raise UserError(
            f"OUTPUT {output} cannot be written: {error.strerror or error}. {report.converted} images are done and "
            "stay; the same command goes on with the others"
        ) from error
    finally:
        conversion.close()
        report.seconds = time.perf_counter() - report.begun
    return report


@dataclass
class Prepared:
    """What is to be done, before anything is.

    Attributes:
        translator: what to convert with.
        plan: what becomes what.
        manifest: what OUTPUT remembers; None for a single input.
        keys: of model and options, by domain.
        survey: what is left to do.
        shard: the part that this run is of.
    """

    translator: Translator
    plan: Plan
    manifest: Manifest | None
    keys: dict[str | None, str]
    survey: Survey
    shard: Shard | None


def prepare(
    translator: Translator,
    input_path: Path,
    output: Path,
    *,
    to: str | Sequence[str] = (),
    samples: int | None = None,
    seed: int = 0,
    format: Format = "keep",
    overwrite: bool = False,
    shard: str | tuple[int, int] | Shard | None = None,
) -> Prepared:
    """Find out what there is to do, and write nothing; arguments and errors of `convert_folder`."""
    part = Shard.parse(shard)
    if samples is not None:
        translator = Sampler(translator, samples, seed)
    domains = translator.requests(to)
    plan = make_plan(input_path, output, format=format, channels=translator.target.channels, domains=domains)
    options = {"version": RESULTS, "resize": translator.resize, "format": format}
    keys = {
        domain: result_key(model=translator.fingerprint(domain), domain=domain, **options) for domain in plan.places
    }
    try:
        manifest = Manifest(plan.output, plan.folder) if plan.is_folder else None
        found = survey(plan, manifest, keys, shard=part, overwrite=overwrite)
    except OSError as error:
        raise UserError(f"OUTPUT {output} cannot be read: {error.strerror or error}") from error
    return Prepared(translator, plan, manifest, keys, found, part)


class _Conversion:
    """A run: reading in threads, the network in this one, writing in threads."""

    def __init__(
        self,
        prepared: Prepared,
        report: Report,
        batch_size: int,
        overwrite: bool,
        compare: bool,
        stop: Callable[[], bool],
    ) -> None:
        self.translator, self.report, self.batch_size, self.stop = prepared.translator, report, batch_size, stop
        self.plan, self.manifest, self.keys = prepared.plan, prepared.manifest, prepared.keys
        self.survey, self.shard, self.overwrite = prepared.survey, prepared.shard, overwrite
        self.sheet: Sheet | None = _new_sheet() if compare else None
        self.specials = Specials(
            self.translator,
            fit=self._fitted,
            is_stopped=self._is_stopped,
            batch_size=batch_size,
            progress=report.advance_video,
        )
        self.budget = int(MEMORY_SHARE * memory.available_memory())
        workers = max(2, min(8, _cores()))
        self.readers = ThreadPoolExecutor(workers, "read")
        self.writers = ThreadPoolExecutor(workers, "write")
        self.writing: deque[tuple[Picture, Future[bool]]] = deque()
        self.made: set[Path] = set()

    def run(self) -> None:
        """Convert everything.

        Raises:
            OSError: nothing more can be written.
        """
        self._begin()
        most_bytes = self.budget // (3 * self.batch_size + 2 * AHEAD)
        inputs = read_ahead(self.readers, self.plan.folder, self.survey.jobs, most_bytes)
        for group in self._batches(inputs):
            if self._is_stopped():
                break
            self._run(group)
        self._collect(0)
        if self.sheet:
            self.report.comparison = self._write_sheet(self.sheet)

    def save_the_rest(self) -> None:
        """Count what could still be written after an error."""
        for _, written in self.writing:
            try:
                self.report.add_converted(replaced=written.result())
            except Exception:  # the first error is the one to tell
                continue

    def close(self) -> None:
        """Give back threads and files."""
        self.readers.shutdown(wait=False, cancel_futures=True)
        self.writers.shutdown(wait=True, cancel_futures=True)  # they write to the manifest
        if self.manifest is not None:
            self.manifest.close()

    def _begin(self) -> None:
        plan, report, found, shard = self.plan, self.report, self.survey, self.shard
        plan.output.mkdir(parents=True, exist_ok=True)
        if self.manifest is not None:
            part = "" if shard is None else f"-{shard.index}-of-{shard.count}"
            report.file = plan.output / FAILURES.replace(".", f"{part}.")
            if report.file.exists() and not self.manifest.folder.exists():
                raise UserError(f"{report.file} is there already and was not made by this tool: move it away")
            self.manifest.open(shard)
            report.file.unlink(missing_ok=True)
        remove_leftovers(found.leftovers)
        report.total = found.done + found.pending + len(found.foreign)
        report.add_skipped(found.done)
        for name, reason in plan.problems:
            if shard is None or name in shard:
                report.add_failure(plan.folder / name, reason, outputs=0)
        for name, reason in found.foreign:
            report.add_failure(plan.folder / name, reason, outputs=1)

    def _batches(self, inputs: Iterable[Picture | Special | Unreadable]) -> Iterator[list[Picture]]:
        """Group images of one shape, type and domains; what waits for company is bounded."""
        groups: dict[tuple[object, ...], list[Picture]] = defaultdict(list)
        for item in inputs:
            if isinstance(item, Picture):
                key = item.image.shape, str(item.image.dtype), item.job.domains
                groups[key].append(item)
                if len(groups[key]) == self.batch_size:
                    yield groups.pop(key)
                elif sum(map(len, groups.values())) > 2 * self.batch_size:
                    yield groups.pop(max(groups, key=lambda other: len(groups[other])))
            elif isinstance(item, Unreadable):
                self.report.add_failure(self._path(item.job.name), item.reason, outputs=len(item.job.domains))
            else:
                if self._is_stopped():
                    return
                self._convert_special(item)
        yield from groups.values()

    def _run(self, group: list[Picture]) -> None:
        for domain in group[0].job.domains:
            if self._is_stopped():
                return
            for picture, result in self._translate(group, domain):
                if self.sheet is not None and self.sheet.takes(picture.job.name):
                    self.sheet.add(picture.job.name, "", picture.image, self.translator.source)
                    self.sheet.add(picture.job.name, domain or "output", result, self.translator.target)
                self.writing.append((picture, self.writers.submit(self._write, picture, domain, result)))
            self._collect(max(AHEAD, self.batch_size))

    def _translate(self, group: Sequence[Picture], domain: str | None) -> Iterator[tuple[Picture, np.ndarray]]:
        """Translate a group; if one of its images fails, each on its own."""
        try:
            results = self.translator.translate_batch([picture.image for picture in group], domain)
        except Exception as error:  # no image may stop the others
            if len(group) == 1:
                self._fail(group[0], error)
            else:
                for picture in group:
                    yield from self._translate([picture], domain)
            return
        yield from zip(group, results, strict=True)

    def _collect(self, most: int) -> None:
        """Wait until at most so many results are still to be written."""
        while len(self.writing) > most:
            picture, written = self.writing[0]
            try:
                replaced = written.result()
            except Exception as error:
                self._raise_if_all_fail(error)
                self._fail(picture, error)
            else:
                self.report.add_converted(replaced=replaced)
            self.writing.popleft()

    def _write(self, picture: Picture, domain: str | None, result: np.ndarray) -> bool:
        def write(path: Path) -> None:
            write_image(path, self._fitted(result, path), picture.metadata)

        return self._make(picture, domain, write)

    def _make(self, source: Picture | Special, domain: str | None, write: Callable[[Path], object]) -> bool:
        """Let `write` make an output, and remember it; whether it took the place of one of another model."""
        output = self.plan.output_of(source.job.name, domain)
        path = self.plan.output / output
        if path.parent not in self.made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(path.parent)
        if self.manifest is None:
            write(path)
            return False
        self.manifest.begin(output)
        write(path)
        key, before = self.keys[domain], self.manifest.records.get(output)
        self.manifest.finish(output, key=key, stamp=source.stamp, written=path.stat().st_size)
        return before is not None and before.key not in (None, key)

    def _fitted(self, image: np.ndarray, path: Path) -> np.ndarray:
        return fit_format(image, path.suffix.lower(), self.translator.target, adapt=self.plan.adapts)

    def _convert_special(self, item: Special) -> None:
        path = self._path(item.job.name)
        if self.specials.is_ordinary(item, path, self.plan.written_as(path.name), self.budget):
            self._collect(0)
            try:
                picture = load(path, item.job, item.stamp)
            except Exception as error:
                self.report.add_failure(path, reason_of(error), outputs=len(item.job.domains))
                return
            self._run([picture])
            self._collect(0)
            return
        for domain in item.job.domains:
            if self._is_stopped():
                return
            try:
                replaced = self._make(item, domain, self.specials.writer(item, path, domain))
            except Stopped:
                return
            except Exception as error:
                self._raise_if_all_fail(error)
                self._fail(item, error)
            else:
                self.report.add_converted(replaced=replaced)

    def _is_stopped(self) -> bool:
        self.report.stopped = self.report.stopped or self.stop()
        return self.report.stopped

    # --- what goes wrong ---

    def _fail(self, source: Picture | Special, error: Exception) -> None:
        """Report an output that cannot be made; an input that fails for every domain alike is told once."""
        reason = f"cannot be written: {error.strerror or error}" if isinstance(error, OSError) else reason_of(error)
        if reason in source.reasons:
            self.report.advance(1)
            return
        source.reasons.add(reason)
        self.report.add_failure(self._path(source.job.name), reason, outputs=1)

    def _raise_if_all_fail(self, error: Exception) -> None:
        """Go no further where every other output would fail too."""
        if isinstance(error, OSError) and (error.errno in NO_MORE or not os.access(self.plan.output, os.W_OK)):
            raise error

    def _path(self, name: str) -> Path:
        return self.plan.folder / name

    def _write_sheet(self, sheet: "Sheet") -> Path:
        plan = self.plan
        taken = {plan.written_as(file) for file in plan.tree.get("", [])} | {key.split("/")[0] for key in plan.tree}
        known = {} if self.manifest is None else self.manifest.records
        path = plan.output / COMPARISON
        while path.name in taken or (path.exists() and path.name not in known and not self.overwrite):
            path = path.with_stem(f"{path.stem}_sheet")
        if self.manifest is not None:
            self.manifest.begin(path.name)
        sheet.write(path)
        return path


def _new_sheet() -> "Sheet":
    from translate.conversion.sheet import Sheet  # imports what converting alone does not need

    return Sheet()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
