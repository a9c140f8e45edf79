"""Loads and compiles what napari needs for its first layers beforehand."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.session.future import Future

if TYPE_CHECKING:
    from napari_unet.gui.main_thread import MainThread


# One viewer after the other: napari's first imports are not safe in two threads.
_ONE_AT_A_TIME = Lock()


class WarmUp:
    """Makes throw-away layers in a background thread.

    The first Labels of a process take napari up to two seconds: it imports pandas, and
    compiles what brings 32-bit labels to the graphics card. The first shape takes a
    tenth of a second, or two seconds where nothing is compiled yet.

    `made` is done when they are, also if that failed.
    """

    def __init__(self, main_thread: MainThread) -> None:
        self.made = Future(main_thread.post)
        self._main_thread = main_thread
        self._thread = Thread(target=self._work, name="napari-unet warm-up")

    def begin(self) -> None:
        """Start, once."""
        if self._thread.ident is None:
            self._thread.start()

    def _work(self) -> None:
        # What fails here fails again where it is needed, and is told there. Or it does
        # not: numba stops where another thread changes the environment meanwhile.
        with suppress(Exception), _ONE_AT_A_TIME:
            from napari.layers import Labels, Shapes

            Labels(np.zeros((2, 2), np.int32))
            Shapes(np.array([[0, 0], [0, 1], [1, 1]]), shape_type="polygon")
        self._main_thread.post(self.made.finish)
