"""Finds what holds napari's GUI thread, and whether that is code of the plugin."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread, get_ident
from time import perf_counter, sleep, thread_time
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_BEAT_MS, _LOOK_S = 2, 0.002
# Shorter turns of the event loop are not kept.
_WORTH_S = 0.02
_OURS = "napari_unet"


@dataclass(slots=True)
class Longest:
    """The longest turn of the event loop that ran code of ours, in milliseconds.

    Of a turn that ran other code as well only the share of ours counts.
    """

    wall: float = 0.0
    cpu: float = 0.0
    where: str = ""  # the innermost function of ours that was seen most
    turns: list[tuple[float, float, str]] = field(default_factory=list)


class Watchdog:
    """Looks at the main thread some hundred times a second, from another thread."""

    def __init__(self) -> None:
        self.longest: dict[str, Longest] = {}
        self._main = get_ident()
        self._seen: list[str] = []
        self._step = ""
        self._ended = Event()
        self._last = self._last_cpu = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        Thread(target=self._look, name="watchdog", daemon=True).start()

    @contextmanager
    def watching(self, step: str) -> Iterator[None]:
        """Watch while something is done and for as long as that lasts."""
        self.longest[step] = Longest()
        self._step = step
        self._turn()
        self._timer.start(_BEAT_MS)
        yield
        self._beat()
        self._timer.stop()
        self._step = ""

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    def _turn(self) -> None:
        self._seen.clear()
        self._last, self._last_cpu = perf_counter(), thread_time()

    def _beat(self) -> None:
        """Note a turn that is over, and how much of it was ours."""
        wall, cpu = perf_counter() - self._last, thread_time() - self._last_cpu
        if wall > _WORTH_S and self._seen:
            ours = [place for place in self._seen if place]
            share = 1000 * len(ours) / len(self._seen)
            where = Counter(ours).most_common(1)[0][0] if ours else ""
            turn = (share * wall, share * cpu, where)
            longest = self.longest[self._step]
            longest.turns.append(turn)
            if turn[0] > longest.wall:
                longest.wall, longest.cpu, longest.where = turn
        self._turn()

    def _look(self) -> None:
        while not self._ended.is_set():
            sleep(_LOOK_S)
            if self._step:
                self._seen.append(_ours(sys._current_frames().get(self._main)))


def _ours(frame: FrameType | None) -> str:
    """Return the innermost function of the plugin that runs; empty if none does."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS):
            return f"{module.removeprefix(_OURS + '.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return ""
