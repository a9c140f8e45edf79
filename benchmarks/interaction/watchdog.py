"""Finds what holds napari's GUI thread, and whether that is code of the plugin."""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread, get_ident
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_BEAT_MS, _LOOK_S = 2, 0.002
# Shorter turns of the event loop are not kept.
_WORTH_S = 0.02
_OURS = "napari_unet"
# What adds, removes and draws layers.
_NAPARIS = ("napari.", "vispy.")


@dataclass(slots=True)
class Longest:
    """What held the event loop longest in one turn, in milliseconds.

    Of a turn only what code of ours did counts, or what it called.
    """

    own: float = 0.0  # code of ours, with what it calls of Qt, numpy and the like
    where: str = ""  # of that turn: the innermost function of ours that took longest
    napari: float = 0.0  # code of napari that ours called
    both: float = 0.0


class Watchdog:
    """Looks at the main thread some hundred times a second, from another thread."""

    def __init__(self) -> None:
        self.longest: dict[str, Longest] = {}
        self._main = get_ident()
        # when it was looked at the main thread, and what was running
        self._seen: list[tuple[float, str, bool]] = []
        self._step = ""
        self._ended = Event()
        self._last = 0.0
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
        self._seen = []
        self._last = perf_counter()

    def _beat(self) -> None:
        """Note a turn that is over, and how much of it was ours."""
        if perf_counter() - self._last > _WORTH_S:
            self._note()
        self._turn()

    def _note(self) -> None:
        own: defaultdict[str, float] = defaultdict(float)
        last, napari = self._last, 0.0
        for now, place, in_napari in self._seen:
            # What does not let another thread run, as when garbage is collected, is
            # looked at once, when it is over: what was seen lasted until then.
            took, last = 1000 * (now - last), now
            if in_napari:
                napari += took
            elif place:
                own[place] += took
        longest, total = self.longest[self._step], sum(own.values())
        if total > longest.own:
            longest.own, longest.where = total, max(own, key=own.__getitem__)
        longest.napari = max(longest.napari, napari)
        longest.both = max(longest.both, total + napari)

    def _look(self) -> None:
        while not self._ended.is_set():
            sleep(_LOOK_S)
            if self._step:
                seen = self._seen
                place = running(sys._current_frames().get(self._main))
                seen.append((perf_counter(), *place))


def running(frame: FrameType | None) -> tuple[str, bool]:
    """Return the innermost function of the plugin, and whether napari runs within it.

    The name is empty if none of the plugin runs.
    """
    within = False
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS):
            name = f"{module.removeprefix(_OURS + '.')}.{frame.f_code.co_qualname}"
            return name, within
        within |= module.startswith(_NAPARIS)
        frame = frame.f_back
    return "", False
