"""What a folder of results remembers of how each of them was made: a log that survives being killed at any moment."""

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from translate.conversion.plan import LOGS, Shard
from translate.files import write_atomically

LOG = re.compile(r"done(-\d+-of-\d+)?\.jsonl")
IDLE = 3600
"""Seconds after which nobody is taken to write to a log any more, on this machine or another."""
SHORT = 1000
"""Lines that are never worth shortening."""


class Stamp(NamedTuple):
    """What tells whether an input is the file it was: its size in bytes, and when it was changed, in nanoseconds."""

    size: int
    modified: int

    @classmethod
    def of(cls, path: str) -> "Stamp":
        """That of a file."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)


class Record(NamedTuple):
    """The last that the logs say of an output.

    Attributes:
        time: when it was said, in seconds.
        key: of the model and options, see `result_key`; None while the output is being written.
        stamp: of the input that it was made from.
        written: the output's size in bytes.
        source: the INPUT it was made from.
    """

    time: float
    key: str | None = None
    stamp: Stamp = Stamp(0, 0)
    written: int = 0
    source: str = ""


def result_key(**options: Any) -> str:
    """A short name for the model and options that decide what becomes of an image."""
    return hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=8).hexdigest()


class Manifest:
    """The logs in OUTPUT/.translate, one per shard: a line before an output is written, another when it is there.

    Lines are appended whole, so that a kill can cost the last one at most; a torn line is ignored. An output that no
    line mentions was made by somebody else.

    Attributes:
        source: the INPUT that is converted now.
        records: by output, below OUTPUT with forward slashes; as read at the start.
    """

    def __init__(self, output: Path, source: Path) -> None:
        self.folder = output / LOGS
        self.source = str(source.resolve())
        self.records: dict[str, Record] = {}
        self._lines = 0
        self._clock = 0.0
        self._file: int | None = None
        keys: dict[str, str] = {}
        for path in self._logs():
            with path.open("rb") as file:
                for line in file:
                    self._lines += 1
                    if (parsed := _parse(line)) is None:
                        continue
                    name, record = parsed
                    if record.key is not None:
                        record = record._replace(key=keys.setdefault(record.key, record.key))
                    record = record._replace(source=keys.setdefault(record.source, record.source))
                    if name not in self.records or record.time >= self.records[name].time:
                        self.records[name] = record
                    self._clock = max(self._clock, record.time)

    def open(self, shard: Shard | None) -> None:
        """Begin to append, to the log of `shard`.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if shard is None:
            self._shorten()
        name = "done.jsonl" if shard is None else f"done-{shard.index}-of-{shard.count}.jsonl"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.open(self.folder / name, flags, 0o666)
        if (size := os.fstat(self._file).st_size) and _byte_at(self._file, size - 1) != b"\n":
            self._write(b"\n")  # what was torn off must not join the next line

    def close(self) -> None:
        """End appending; what was said is on the disk then."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def begin(self, output: str) -> None:
        """Say that `output` is about to be written. Safe to call from several threads."""
        self._append(_begun(output, Record(self._now(), source=self.source)))

    def finish(self, output: str, *, key: str, stamp: Stamp, written: int) -> None:
        """Say that `output` is there. Safe to call from several threads."""
        self._append(_finished(output, Record(self._now(), key, stamp, written, self.source)))

    def _logs(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if LOG.fullmatch(path.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _now(self) -> float:
        # Never before what was said earlier, though clocks of machines differ.
        self._clock = max(self._clock, time.time())
        return self._clock

    def _append(self, line: Mapping[str, Any]) -> None:
        self._write(_encoded(line))

    def _write(self, line: bytes) -> None:
        assert self._file is not None, "open() comes first"
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def _shorten(self) -> None:
        """Leave one line per output, where there are many more and no log is in use."""
        logs = self._logs()
        if self._lines <= max(SHORT, 4 * len(self.records)):
            return
        if any(time.time() - path.stat().st_mtime < IDLE for path in logs):
            return
        whole = self.folder / "done.jsonl"

        def write(partial: Path) -> None:
            with partial.open("wb") as file:
                for output, record in self.records.items():
                    file.write(_encoded((_begun if record.key is None else _finished)(output, record)))

        write_atomically(whole, write)
        for path in logs:
            if path != whole:
                path.unlink()


def _begun(output: str, record: Record) -> dict[str, Any]:
    return {"begun": output, "time": record.time, "from": record.source}


def _finished(output: str, record: Record) -> dict[str, Any]:
    (size, modified), written = record.stamp, record.written
    return {
        "done": output,
        "time": record.time,
        "key": record.key,
        "size": size,
        "modified": modified,
        "written": written,
        "from": record.source,
    }


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> tuple[str, Record] | None:
    """What a line says; None if it is torn."""
    try:
        said = json.loads(line)
        if "begun" in said:
            return str(said["begun"]), Record(float(said["time"]), source=str(said["from"]))
        stamp = Stamp(int(said["size"]), int(said["modified"]))
        written, source = int(said["written"]), str(said["from"])
        return str(said["done"]), Record(float(said["time"]), str(said["key"]), stamp, written, source)
    except (ValueError, KeyError, TypeError):
        return None


def _byte_at(file: int, place: int) -> bytes:
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, 1)
