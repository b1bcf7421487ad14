"""Files that are never seen half written."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, then give it its name; readers see the old or the new file.

    `durable` flushes to the disk before renaming, so that a power cut cannot leave an empty file under the name.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    # Hashed, so that a name as long as the file system allows still has room for what makes it temporary.
    short = hashlib.sha256(path.name.encode()).hexdigest()[:16]
    partial = path.with_name(f".{short}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        write(partial)
        if durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` atomically."""
    write_atomically(path, lambda partial: partial.write_bytes(content), durable=durable)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, in UTF-8."""
    write_bytes(path, content.encode())
