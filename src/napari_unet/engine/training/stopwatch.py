"""The time that a run has used, without waiting."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stopwatch:
    """Runs from when it is made, beginning with the seconds given."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = perf_counter()

    def seconds(self) -> float:
        """Return the time it has run, in seconds."""
        running = 0.0 if self._since is None else perf_counter() - self._since
        return self._before + running

    def add(self, seconds: float) -> None:
        """Add seconds to the time."""
        self._before += seconds

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it in a context, while other jobs run."""
        self._before, self._since = self.seconds(), None
        try:
            yield
        finally:
            self._since = perf_counter()
