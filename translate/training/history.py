"""When a run began, went on and ended, and on what: history.jsonl, a line for each."""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from translate import __version__
from translate.errors import DivergenceError

HISTORY = "history.jsonl"


@contextmanager
def recorded(
    folder: Path,
    facts: Mapping[str, Any],
    *,
    step: Callable[[], int],
    stopped: Callable[[], bool],
    verdict: Callable[[], str | None],
    is_first: bool,
) -> Iterator[None]:
    """Inside, a run trains: a line when it begins, with `facts`, and one when it ends, with how.

    The event is `began` or `continued`, then `finished`, `stopped`, `broke down` (NaN) or `failed`; a killed run lacks
    the second. `verdict` is a sentence on how it went. Processes other than the first write nothing.
    """

    def note(event: str, **facts: Any) -> None:
        if is_first:
            line = {"event": event, "time": time.strftime("%Y-%m-%d %H:%M:%S"), "step": step(), **facts}
            with (folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    note("continued" if step() else "began", **facts)
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # the error itself is what matters
            event = "broke down" if isinstance(error, DivergenceError) else "failed"
            note(event, why=str(error) or type(error).__name__, verdict=verdict())
        raise
    note("stopped" if stopped() else "finished", verdict=verdict())


def environment(device: torch.device, processes: int, words: Sequence[str] | None = None) -> dict[str, Any]:
    """What a run runs on, and the words that begin it on the command line; None is those that were typed, if any."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    count = torch.get_num_threads()
    threads = "" if device.type == "cuda" else f", {count} thread{'s' * (count > 1)}"
    program = Path(sys.argv[0])
    is_ours = program.stem == "translate" or (program.stem == "__main__" and program.parent.name == "translate")
    return {
        "translate": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{processes} x {name}{threads}",
        "folder": str(Path.cwd()),
        "words": list(words) if words is not None else sys.argv[1:] if is_ours else [],
    }
