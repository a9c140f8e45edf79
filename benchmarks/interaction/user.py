"""A scripted user who scrolls and paints, and a watch on the event loop."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer

if TYPE_CHECKING:
    import napari

    from benchmarks.interaction.hand import Hand

# A hand moves the mouse about this often.
_ACT_MS = 33
# Finer than any gap that a person would notice.
_BEAT_MS = 4
_MOVES_PER_SLICE = 12


class Heartbeat:
    """Measures the gaps between two turns of the event loop, in seconds."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last: float | None = None
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        """Begin anew."""
        self.gaps = []
        self._last = None
        self._timer.start(_BEAT_MS)

    def stop(self) -> dict[str, float]:
        """Stop, and return percentiles of the gaps in milliseconds."""
        self._timer.stop()
        gaps = 1000 * np.array(self.gaps)
        return {
            "p50": float(np.percentile(gaps, 50)),
            "p99": float(np.percentile(gaps, 99)),
            "p99.9": float(np.percentile(gaps, 99.9)),
            "max": float(gaps.max()),
            "beats": float(len(gaps)),
        }

    def _beat(self) -> None:
        now = perf_counter()
        if self._last is not None:
            self.gaps.append(now - self._last)
        self._last = now


class User:
    """Paints short strokes with the mouse and goes to the next slice after each.

    Parameters
    ----------
    viewer : napari.Viewer
    hand : Hand
    layer : Labels
        Painted on; the same places again and again, in ids of its own.
    """

    def __init__(self, viewer: napari.Viewer, hand: Hand, layer: Any) -> None:
        self._viewer, self._hand, self._layer = viewer, hand, layer
        self._count = 0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._act)

    def start(self) -> None:
        """Begin to scroll and paint."""
        self._layer.mode = "paint"
        self._viewer.layers.selection.active = self._layer
        self._timer.start(_ACT_MS)

    def stop(self) -> None:
        """Let go of the mouse."""
        self._timer.stop()

    def _act(self) -> None:
        move = self._count % (_MOVES_PER_SLICE + 2)
        self._count += 1
        height = self._layer.data.shape[-2]
        place = (height // 2 + 30, 100 + 4 * move)
        if move == 0:
            self._hand.press(place, self._layer)
        elif move <= _MOVES_PER_SLICE:
            self._hand.move(place, self._layer)
        else:
            self._hand.release(place, self._layer)
            slices = int(self._viewer.dims.nsteps[0])
            step = (int(self._viewer.dims.current_step[0]) + 1) % slices
            self._viewer.dims.set_current_step(0, step)
