"""Progress on the terminal: one line that is rewritten, plain lines in a log file."""

from __future__ import annotations

import shutil
import signal
import sys
from contextlib import closing, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_unet.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from napari_unet.core.events import Event

_TERMINAL_SECONDS, _LOG_SECONDS = 0.1, 10.0


class ProgressLine:
    """Shows how far a job is, on standard error."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = float("-inf")
        self._width = 0

    def show(
        self, text: str, progress: float, seconds_left: float | None = None
    ) -> None:
        """Show a line, unless one was shown just before.

        Parameters
        ----------
        text : str
        progress : float
            0 to 1.
        seconds_left : float, optional
        """
        now = monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            return
        self._shown = now
        left = "" if seconds_left is None else f", {clock(seconds_left)} left"
        self._write(f"{text}  {100 * progress:3.0f} %{left}")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()

    def _write(self, line: str) -> None:
        if self._terminal:
            # a line that wraps could not be rewritten
            columns = shutil.get_terminal_size().columns - 1
            line = printable(line)
            if len(line) > columns:
                line = "…" + line[1 - columns :]
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
            sys.stderr.flush()
        else:
            self.say(line)


class Countdown:
    """Estimates how long a job takes that may have begun in another process."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._before: float | None = None

    def seconds(self, progress: float) -> float | None:
        """Return the seconds left; None while nothing is known.

        Parameters
        ----------
        progress : float
            0 to 1; what is done at the first call was done before this process.
        """
        if self._before is None:
            self._began, self._before = monotonic(), progress
        made = progress - self._before
        passed = monotonic() - self._began
        return passed * (1 - progress) / made if made > 0 else None


def clock(seconds: float) -> str:
    """Write a time as people read it."""
    whole = round(max(seconds, 0))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


@contextmanager
def interruptible(job: Iterator[Event]) -> Iterator[Iterator[Event]]:
    """Let Ctrl-C end a job between two events, where it can clean up after itself.

    Parameters
    ----------
    job : generator of Event

    Yields
    ------
    iterator of Event
        Raises KeyboardInterrupt between events once Ctrl-C was pressed. A second
        Ctrl-C ends at once.
    """
    pressed = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def events() -> Iterator[Event]:
        for event in job:
            if pressed:
                raise KeyboardInterrupt
            yield event

    before: Any = signal.signal(signal.SIGINT, on_interrupt)
    try:
        with closing(job):  # type: ignore[type-var]
            yield events()
    finally:
        signal.signal(signal.SIGINT, before)
