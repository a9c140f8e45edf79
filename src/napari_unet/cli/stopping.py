"""Requests to stop: Ctrl-C, the end of the terminal, the time limit of a cluster."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# Windows has no SIGHUP, but SIGBREAK where a terminal closes or Ctrl-Break is pressed.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
# Shells add this to the number of a signal that ended a program.
_SIGNALLED = 128


class Stopped(KeyboardInterrupt):
    """A request to stop this process.

    `reported` is whether a message about it was shown.
    """

    def __init__(self, number: int = signal.SIGINT, *, reported: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.reported = reported

    @classmethod
    def after(cls, interrupt: KeyboardInterrupt) -> Stopped:
        """Return the same request, after a message about it."""
        return cls(getattr(interrupt, "number", signal.SIGINT), reported=True)

    @property
    def status(self) -> int:
        """Exit status of the process."""
        return _SIGNALLED + self.number


@contextmanager
def on_stop_request(react: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the signal's number at each request to stop.

    Only in the main thread. A signal that the process was started to ignore, as by
    nohup, stays ignored.
    """

    def call(number: int, _frame: FrameType | None) -> None:
        react(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, call)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
