"""Inputs that are converted on their own: videos, files of several pages, images too large for memory."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from translate.conversion.reading import Special
from translate.conversion.translator import Translator
from translate.data.containers import FileBytes
from translate.data.image import TIFF, ImageError, iterate_pages, read_metadata, write_pages
from translate.data.tiff import TiffReader, write_tiff_strips


class Stopped(BaseException):
    """Somebody asked to stop within a video or a large image."""


class Specials:
    """Makes the outputs of special inputs.

    Attributes:
        translator: what they are converted with.
        fit: brings an image into what a file of a name can hold.
        is_stopped: asked between frames, pages and strips.
        batch_size: frames that are run together.
        progress: called with the frames done, and how many there are if that is known.
    """

    def __init__(
        self,
        translator: Translator,
        *,
        fit: Callable[[np.ndarray, Path], np.ndarray],
        is_stopped: Callable[[], bool],
        batch_size: int,
        progress: Callable[[int, int | None], None],
    ) -> None:
        self.translator, self.fit, self.is_stopped = translator, fit, is_stopped
        self.batch_size, self.progress = batch_size, progress

    def is_ordinary(self, item: Special, path: Path, written: str, budget: int) -> bool:
        """Whether an image that is large is converted as a whole all the same.

        In strips goes what takes more than `budget` bytes with its floats, and can be read and written by region.
        """
        header = item.header
        if header is None or header.pages > 1:
            return False
        suffixes = {path.suffix.lower(), Path(written).suffix.lower()}
        if header.height is None or header.width is None or not suffixes <= TIFF:
            return True
        channels = (header.channels or 4) + self.translator.target.channels
        itemsize = {"uint8": 1, "uint16": 2}.get(header.dtype or "", 4)
        if header.height * header.width * channels * (itemsize + 4) <= budget:
            return True
        try:
            with TiffReader(path) as reader:
                return not reader.is_random_access
        except ImageError:  # a palette, say
            return True

    def writer(self, item: Special, path: Path, domain: str | None) -> Callable[[Path], object]:
        """What writes the output of an input that is not ordinary; it raises Stopped, and what a failure raises."""
        header = item.header
        if header is None:
            return lambda output: self._write_video(path, output, domain)
        if header.pages > 1:
            return lambda output: self._write_pages(path, output, domain, header.pages)
        return lambda output: self._write_strips(path, output, domain)

    def _write_video(self, path: Path, output: Path, domain: str | None) -> None:
        from translate.conversion.video import convert_video

        convert_video(
            lambda frames: self._translate(frames, domain),
            path,
            output,
            batch_size=self.batch_size,
            progress=self.progress,
        )

    def _write_pages(self, path: Path, output: Path, domain: str | None, count: int) -> None:
        if output.suffix.lower() not in TIFF:
            raise ImageError(f"has {count} pages, which {output.suffix} files cannot hold: use --format tiff")
        pages = (self.fit(self._translate([page], domain)[0], output) for page in iterate_pages(path))
        with FileBytes(path) as data:
            metadata = read_metadata(data)
        write_pages(output, pages, metadata, count=count)

    def _write_strips(self, path: Path, output: Path, domain: str | None) -> None:
        with TiffReader(path) as reader:
            strips = self._stoppable(self.translator.translate_strips(reader, domain))
            first = next(strips)
            height, width, _ = reader.shape
            shape = height, width, first.shape[2]
            write_tiff_strips(output, chain([first], strips), shape, str(first.dtype), reader.metadata)

    def _translate(self, images: list[np.ndarray], domain: str | None) -> list[np.ndarray]:
        if self.is_stopped():
            raise Stopped
        return self.translator.translate_batch(images, domain)

    def _stoppable(self, strips: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for strip in strips:
            if self.is_stopped():
                raise Stopped
            yield strip
