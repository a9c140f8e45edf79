"""How often something is done at most: the clock that the session's controls share.

Qt has timers for this (superqt's `QSignalThrottler`, `QSignalDebouncer`); the session
knows no Qt, and is ticked.
"""

from __future__ import annotations

from time import monotonic


class Throttle:
    """Lets something through once in some seconds: the first at once.

    `seconds` may be changed at any time.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # not 0: the clock may have begun with the machine, a moment ago
        self._last = float("-inf")

    @property
    def due(self) -> bool:
        """Whether it is time again."""
        return monotonic() - self._last >= self.seconds

    def restart(self) -> None:
        """Count the seconds from now."""
        self._last = monotonic()

    def take(self) -> bool:
        """Return whether it is time, and if so count the seconds from now."""
        if not self.due:
            return False
        self.restart()
        return True


class Debounce:
    """Lets something through once after it has been quiet for some seconds.

    `pending` is whether something waits to be let through.
    """

    def __init__(self, seconds: float) -> None:
        self.pending = False
        self._rest = Throttle(seconds)

    def note(self) -> None:
        """Something happened: wait from now."""
        self.pending = True
        self._rest.restart()

    def take(self) -> bool:
        """Return whether something happened and it has been quiet since long enough."""
        if not (self.pending and self._rest.due):
            return False
        self.pending = False
        return True
