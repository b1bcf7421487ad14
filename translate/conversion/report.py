"""What became of a folder: counts, and a line for every input that failed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED = 1000
"""Failures kept in memory; the file has all of them."""


@dataclass
class Report:
    """What became of a folder. Counts are of outputs: an image converted into three domains counts three times.

    Attributes:
        total: outputs that the input asks for, of this shard.
        converted: outputs written.
        skipped: outputs that were there and up to date.
        replaced: outputs written in place of those of another model or other options; part of `converted`.
        failed: how many failures there were; an input that cannot be read counts once.
        failures: (input, reason) of the first 1000; all stand in failures.jsonl.
        finished: outputs dealt with in one way or another, of `total`.
        within: how far a video is, in words; empty between videos.
        stopped: whether it was asked to stop before the end.
        comparison: the before/after picture, if one was asked for.
        seconds: how long it took, without loading the model.
        progress: called with the report after every output.
        file: where failures are written as they happen.
        begun: the time of `time.perf_counter` at the beginning.
    """

    total: int = 0
    converted: int = 0
    skipped: int = 0
    replaced: int = 0
    failed: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    finished: int = 0
    within: str = ""
    stopped: bool = False
    comparison: Path | None = None
    seconds: float = 0.0
    progress: Callable[["Report"], None] = field(default=lambda report: None, repr=False)
    file: Path | None = field(default=None, repr=False)
    begun: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def images_per_second(self) -> float:
        """Outputs written per second."""
        return self.converted / self.seconds if self.seconds else 0.0

    def add_converted(self, *, replaced: bool = False) -> None:
        """Take in an output that was written."""
        self.converted += 1
        self.replaced += replaced
        self.advance(1)

    def advance_video(self, done: int, total: int | None) -> None:
        """Take in how many frames of a video are done."""
        self.within = f"frame {done}" + (f" of {total}" if total else "")
        self.seconds = time.perf_counter() - self.begun
        self.progress(self)

    def add_skipped(self, count: int) -> None:
        """Take in outputs that need nothing."""
        self.skipped += count
        if count:
            self.advance(count)

    def add_failure(self, failed: Path, reason: str, *, outputs: int) -> None:
        """Take in an input that could not be converted into so many outputs. It stands in the file at once.

        Raises:
            OSError: the file cannot be written.
        """
        self.failed += 1
        if len(self.failures) < NAMED:
            self.failures.append((failed, reason))
        if self.file is not None:
            line = json.dumps({"input": str(failed), "reason": reason}, ensure_ascii=False) + "\n"
            with self.file.open("ab") as file:
                file.write(line.encode(errors="backslashreplace"))  # \udcff of a name that is no UTF-8 is JSON too
        self.advance(outputs)

    def as_dict(self) -> dict[str, Any]:
        """For `translate convert --json`."""
        return {
            "total": self.total,
            "converted": self.converted,
            "skipped": self.skipped,
            "replaced": self.replaced,
            "failed": self.failed,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
            "comparison": None if self.comparison is None else str(self.comparison),
            "failures": [{"input": str(path), "reason": reason} for path, reason in self.failures],
        }

    def advance(self, count: int) -> None:
        """Take in that so many outputs more are dealt with."""
        self.finished += count
        self.within = ""
        self.seconds = time.perf_counter() - self.begun
        self.progress(self)
