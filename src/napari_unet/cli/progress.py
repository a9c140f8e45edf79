"""Progress on the terminal: tqdm's bar there, plain lines in a log file."""

from __future__ import annotations

import shutil
import sys
from contextlib import closing, contextmanager, suppress
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_unet.cli.stopping import Stopped, on_stop_request
from napari_unet.core.text import duration, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.core.events import Event

_LOG_SECONDS, _SHOWN_AFTER = 10.0, 0.1
# Longest text before the bar; a line that wraps could not be rewritten.
_LONGEST = 60


class _Bar(tqdm):  # type: ignore[misc]
    monitor_interval = 0  # no thread that redraws it while nothing happens


# tqdm's own lock is also one between processes, for which some systems start one.
_Bar.set_lock(RLock())


class ProgressLine:
    """Shows the progress of a job on standard error, as long as that is open.

    Of several processes of a job only one is `heard`.
    """

    def __init__(self, *, heard: bool = True) -> None:
        self._heard = heard
        self._logged = float("-inf")
        self._bar = _Bar(
            total=1.0,
            bar_format="{desc}  {percentage:3.0f} %{postfix} {bar:20}",
            file=sys.stderr,
            leave=False,
            miniters=0,
            nrows=20,  # some terminals say that they have none
            delay=_SHOWN_AFTER,
            disable=None if heard else True,  # None: where there is no terminal
        )

    def show(
        self, text: str, progress: float, seconds_left: float | None = None
    ) -> None:
        """Show a line, unless one was shown just before; `progress` is 0 to 1."""
        left = "" if seconds_left is None else f"{duration(seconds_left)} left"
        if not self._bar.disable:
            self._bar.ncols = shutil.get_terminal_size().columns - 1
            text = printable(text)
            short = text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
            self._bar.set_description_str(short, refresh=False)
            self._bar.set_postfix_str(left, refresh=False)
            with suppress(OSError):
                self._bar.update(progress - self._bar.n)
        elif monotonic() - self._logged >= _LOG_SECONDS:
            self._logged = monotonic()
            self.say(f"{text}  {100 * progress:3.0f} %{left and ', '}{left}")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if not self._heard:
            return
        # a closed terminal must not end the job
        with suppress(OSError):
            self._bar.clear()
            print(printable(text), file=sys.stderr, flush=True)

    def fail(self, problems: Sequence[str]) -> int:
        """Say why something was not done, a sentence each; return the exit status."""
        for problem in problems:
            self.say(f"napari-unet: {problem}")
        return 1 if problems else 0


class Countdown:
    """Estimates the duration of a job that may have begun in another process."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._before: float | None = None

    def seconds(self, progress: float) -> float | None:
        """Return the seconds left; None while nothing is known.

        The `progress`, 0 to 1, of the first call was made before this process.
        """
        if self._before is None:
            self._began, self._before = monotonic(), progress
        made = progress - self._before
        passed = monotonic() - self._began
        return passed * (1 - progress) / made if made > 0 else None


@contextmanager
def interruptible(job: Iterator[Event]) -> Iterator[Iterator[Event]]:
    """Let a request to stop end a job between two events, where it can clean up.

    The events that are yielded raise `Stopped` once it was asked for; before the first
    event, and when it is asked for again, at once.
    """
    asked: list[int] = []
    begun = False

    def stop(number: int) -> None:
        asked.append(number)
        if len(asked) > 1 or not begun:
            raise Stopped(number)

    def events() -> Iterator[Event]:
        nonlocal begun
        for event in job:
            begun = True
            if asked:
                raise Stopped(asked[0])
            yield event
        if asked:
            raise Stopped(asked[0])

    with on_stop_request(stop), closing(job):  # type: ignore[type-var]
        yield events()
