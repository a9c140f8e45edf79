"""Events and orders of a job through files, for the process that started it."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from threading import Event as Flag
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

from napari_unet.cli.stopping import Stopped
from napari_unet.core.event_codec import GO, encode, to_line
from napari_unet.core.remote_messages import End
from napari_unet.core.text import reason

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.core.events import Event

# Seconds between two checks whether a pause is over.
_LOOK = 0.1
# Seconds between two signs of life.
_PULSE_S = 10.0


class Reporter:
    """Writes each event as a line of JSON, and obeys the orders in a file.

    Orders are those of `core.remote_messages`. The time of a third file, `pulse`, tells
    other computers that the job runs. Who removes it has put another process in this
    one's place, which then ends and writes nothing more. Without files nothing is done.
    """

    def __init__(
        self, events: Path | None, orders: Path | None, pulse: Path | None = None
    ) -> None:
        self._events, self._orders, self._pulse = events, orders, pulse

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Report the end of the job that runs in a context, and that it is alive."""
        with self._living(), self._ending():
            yield

    @contextmanager
    def _living(self) -> Iterator[None]:
        """Renew the time of the file of the pulse, and remove it at the end."""
        if self._pulse is None:
            yield
            return
        over = Flag()
        thread = Thread(target=self._beat, args=(self._pulse, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_LOOK)  # a disk may hang
            with suppress(OSError):
                self._pulse.unlink(missing_ok=True)

    def _beat(self, pulse: Path, over: Flag) -> None:
        waits = 0.0
        while not over.wait(waits):
            with suppress(OSError):
                os.utime(pulse)
            waits = _PULSE_S

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._write(End(ended="cancelled").model_dump())
            raise
        except Exception as error:
            sentence = str(error) or reason(error)
            end = End(ended="failed", error=type(error).__name__, sentence=sentence)
            self._write(end.model_dump())
            raise
        self._write(End(ended="done").model_dump())

    def watched(self, job: Iterator[Event]) -> Generator[Event, None, None]:
        """Pass events on; `Stopped` is raised if the order is to cancel."""
        try:
            for event in job:
                self.say(event)
                while (order := self.order()) == "pause":
                    sleep(_LOOK)
                if order == "cancel":
                    raise Stopped(signal.SIGINT)
                yield event
        finally:
            job.close()  # type: ignore[attr-defined]

    def say(self, event: Event) -> None:
        """Report an event, if it can leave this machine."""
        if type(event) in GO:
            self._write(encode(event))

    def order(self) -> str:
        """Return the current order."""
        if self._is_replaced:
            return "cancel"
        if self._orders is None:
            return ""
        try:
            return self._orders.read_text(encoding="ascii")
        except (OSError, ValueError):
            return ""

    def steer(self, course: Any) -> None:
        """End a training if that is the order."""
        if self.order() == "finish":
            course.finish()

    @property
    def _is_replaced(self) -> bool:
        """Whether another process has this one's place."""
        if self._pulse is None:
            return False
        try:
            return not self._pulse.exists() and self._pulse.parent.is_dir()
        except OSError:
            return False  # a disk that is away comes back

    def _write(self, record: Any) -> None:
        if self._events is not None and not self._is_replaced:
            with self._events.open("ab") as file:
                file.write(to_line(record))
