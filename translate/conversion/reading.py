"""Reading inputs ahead of the network, in threads, with bounded memory."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from translate.conversion.manifest import Stamp
from translate.conversion.plan import Job
from translate.conversion.video import EXTENSIONS as VIDEOS
from translate.data.image import Header, Metadata, decode_image, read_file, read_header, read_metadata
from translate.errors import UserError

AHEAD = 8
"""Images read before they are needed, and results waiting to be written."""


@dataclass
class Picture:
    """An input in memory.

    Attributes:
        job: what is to become of it.
        stamp: of the file that was read.
        image: (H, W, C).
        metadata: its ICC profile and resolution.
        reasons: why it failed so far.
    """

    job: Job
    stamp: Stamp
    image: np.ndarray
    metadata: Metadata
    reasons: set[str] = field(default_factory=set)


@dataclass
class Special:
    """An input that is converted on its own: a video, several pages, or an image too large to read ahead.

    Attributes:
        job: what is to become of it.
        stamp: of the file that was looked at.
        header: of the image; None for a video.
        reasons: why it failed so far.
    """

    job: Job
    stamp: Stamp
    header: Header | None
    reasons: set[str] = field(default_factory=set)


@dataclass
class Unreadable:
    """An input that cannot be converted, and why."""

    job: Job
    reason: str


def read_ahead(
    pool: ThreadPoolExecutor, folder: Path, jobs: Iterable[Job], most_bytes: int
) -> Iterator[Picture | Special | Unreadable]:
    """The inputs in order; at most `AHEAD` images of at most `most_bytes` each are read before they are asked for."""
    waiting: deque[Future[Picture | Special | Unreadable]] = deque()
    for job in jobs:
        waiting.append(pool.submit(_read, folder, job, most_bytes))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(folder: Path, job: Job, most_bytes: int) -> Picture | Special | Unreadable:
    path = folder / job.name
    try:
        stamp = Stamp.of(os.fspath(path))
        if path.suffix.lower() in VIDEOS:
            return Special(job, stamp, None)
        header = read_header(path)
        is_large = max(decoded_bytes(header), stamp.size) > most_bytes
        return Special(job, stamp, header) if is_large or header.pages > 1 else load(path, job, stamp)
    except Exception as error:  # no file may stop the others
        return Unreadable(job, reason_of(error))


def load(path: Path, job: Job, stamp: Stamp) -> Picture:
    """Read an image as a whole.

    Raises:
        ImageError: it cannot be read.
    """
    data = read_file(path)
    return Picture(job, stamp, decode_image(data, path.suffix.lower()), read_metadata(data))


def decoded_bytes(header: Header) -> int:
    """Memory that the pixels take; 0 where only decoding tells."""
    if header.height is None or header.width is None:
        return 0
    itemsize = {"uint8": 1, "uint16": 2}.get(header.dtype or "", 4)
    return math.prod((header.height, header.width, header.channels or 4, itemsize))


def reason_of(error: BaseException) -> str:
    """What to say of an input that failed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"cannot be opened: {error.strerror or error}"
    return f"{type(error).__name__}: {error}"
