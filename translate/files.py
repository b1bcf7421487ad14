"""Files that are never seen half written."""

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

NO_ROOM = 2**20
"""A disk with fewer free bytes than this is full."""
PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial-(\d+)-\d+")
"""Temporary names of `write_atomically`, with the process that gave them."""


def write_atomically(path: Path, write: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, then give it its name; readers see the old or the new file.

    `durable` flushes to the disk before renaming, so that a power cut cannot leave an empty file under the name.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    # Hashed, so that a name as long as the file system allows still has room for what makes it temporary.
    short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    partial = path.with_name(f".{short}.partial-{os.getpid()}-{threading.get_ident()}")
    try:
        write(partial)
        if durable:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        # Libraries report a full disk in words of their own.
        is_full = not isinstance(error, OSError) and shutil.disk_usage(path.parent).free < NO_ROOM
        partial.unlink(missing_ok=True)
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` atomically."""
    write_atomically(path, lambda partial: partial.write_bytes(content), durable=durable)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, in UTF-8."""
    write_bytes(path, content.encode())
