"""Ctrl-C and SIGTERM ask a run to stop after its step, and end a sweep in good order, instead of killing them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


class Interrupted(KeyboardInterrupt):
    """Raised by a signal within `leave_on_signal`."""


_requests: list[StopRequest] = []
"""Those that are told of a signal, the outermost first."""


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Collect SIGINT and SIGTERM; a second one acts as it did before."""
    with _listen(interrupts=False) as request:
        yield request


@contextmanager
def leave_on_signal() -> Iterator[StopRequest]:
    """Leave the body at once on SIGINT or SIGTERM; a second one acts as it did before.

    One that a `stop_on_signal` within collects only notes itself here: the body goes on until it looks.
    """
    try:
        with _listen(interrupts=True) as request:
            yield request
    except Interrupted:
        pass


@contextmanager
def _listen(*, interrupts: bool) -> Iterator[StopRequest]:
    request = StopRequest()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        for asked in _requests:
            asked.signal = signal.Signals(number)
        restore()
        if interrupts:
            raise Interrupted

    _requests.append(request)
    try:
        for number in previous:
            signal.signal(number, note)
        yield request
    finally:
        restore()
        _requests.remove(request)


def ignore_signals() -> None:
    """For worker processes: a terminal sends Ctrl-C to the whole group, but only the main process decides to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
