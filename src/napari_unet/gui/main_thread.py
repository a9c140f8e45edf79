"""The way back into the GUI's thread, for background threads."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, NoReturn, TypeVar

from qtpy.QtCore import QObject, Qt, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class MainThread(QObject):
    """Runs functions in the thread that made this object, from its event loop.

    What a function raises goes to `sys.excepthook`, which napari turns into a
    notification: a slot of Qt would end the process instead.
    """

    _posted = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open = True
        # queued also for calls from the GUI's own thread: `post` returns at once
        self._posted.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def post(self, call: Callable[[], None]) -> None:
        """Run a function soon, in the order of posting; from any thread."""
        if not self._open:
            return
        # at the end of the application Qt deletes this object before the threads end
        with suppress(RuntimeError):
            self._posted.emit(call)

    def close(self) -> None:
        """Drop all calls from now on, also those that wait."""
        self._open = False

    def _run(self, call: Callable[[], None]) -> None:
        if not self._open:
            return
        try:
            call()
        except Exception:
            sys.excepthook(*sys.exc_info())


def in_background(
    main_thread: MainThread,
    work: Callable[[], T],
    then: Callable[[Callable[[], T]], None],
) -> None:
    """Run a function in a thread of its own, and hand back the outcome.

    `then` is called in the main thread with a function that returns what `work`
    returned, or raises what it raised.
    """

    def run() -> None:
        try:
            found = work()
        except Exception as error:
            main_thread.post(partial(then, partial(_raise, error)))
        else:
            main_thread.post(partial(then, lambda: found))

    Thread(target=run, name="napari-unet", daemon=True).start()


def _raise(error: Exception) -> NoReturn:
    raise error
