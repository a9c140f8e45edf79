"""What napari loads and compiles for its first layers, done before they are there."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.gui.main_thread import MainThread


class WarmUp:
    """Makes layers for nobody in a background thread, and tells when they are made.

    The first Labels of a process take napari up to two seconds: it imports pandas, and
    compiles what brings 32-bit labels to the graphics card. The first shape takes a
    tenth of a second, or two seconds where nothing is compiled yet.
    """

    def __init__(self, main_thread: MainThread) -> None:
        self._main_thread = main_thread
        self._waiting: list[Callable[[], None]] = []
        self._begun = self._done = False

    def begin(self) -> None:
        """Start, once."""
        if not self._begun:
            self._begun = True
            Thread(target=self._work, name="napari-unet warm-up").start()

    def then(self, call: Callable[[], None]) -> None:
        """Run a function in the main thread when it is done; at once if it is."""
        if self._done:
            call()
        else:
            self._waiting.append(call)

    def _work(self) -> None:
        from napari.layers import Labels, Shapes

        try:
            Labels(np.zeros((2, 2), np.int32))
            Shapes(np.array([[0, 0], [0, 1], [1, 1]]), shape_type="polygon")
        finally:
            self._main_thread.post(self._on_done)

    def _on_done(self) -> None:
        self._done = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()
