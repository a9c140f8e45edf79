"""Saving in the background: what is due, in order, and what could not be written."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.session.project.annotation_file import AnnotationFile

# Seconds from a change of the record to its file.
_RECORD_S = 0.5


class Saving:
    """Writes a project's record and annotations, one after the other, in one thread.

    Parameters
    ----------
    writer : callable
        Returns what writes the record as it is now.
    dirty : callable
        Returns the annotations that have something to flush.
    """

    def __init__(
        self,
        writer: Callable[[], Callable[[], None]],
        dirty: Callable[[], list[AnnotationFile]],
    ) -> None:
        self._writer = writer
        self._dirty = dirty
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-unet-save")
        self._running: list[Future[None]] = []
        self._changed_at: float | None = None
        self._painted_at: float | None = None
        self._told = ""

    def record_changed(self, *, soon: bool = False) -> None:
        """The record is to be written: within a second, or as soon as possible."""
        if soon:
            self._submit(self._writer())
        elif self._changed_at is None:
            self._changed_at = monotonic()

    def later(self, tidy: Callable[[], None]) -> None:
        """Do something in the background that nothing waits for."""
        self._thread.submit(tidy)

    def now(self, write: Callable[[], None]) -> None:
        """Write a record after all that is under way, and wait; OSError if it fails."""
        self._thread.submit(write).result()
        self._changed_at = None

    def tick(self, longest: float) -> str:
        """Begin what is due.

        Parameters
        ----------
        longest : float
            Seconds from a stroke to the disk.

        Returns
        -------
        str
            Why something could not be written, once; it is tried again.
        """
        sentence = self._look()
        if self._running:
            return sentence
        now = monotonic()
        if self._changed_at is not None and now - self._changed_at >= _RECORD_S:
            self._changed_at = None
            self._submit(self._writer())
        dirty = self._dirty()
        if dirty and self._painted_at is None:
            self._painted_at = now
        # The other half of the time is for the disk.
        if self._painted_at is not None and now - self._painted_at >= longest / 2:
            self._painted_at = None
            for file in dirty:
                self._submit(file.flush)
        return sentence

    def flush(self) -> None:
        """Write all, and wait until it is on the disk; OSError if it cannot be."""
        if self._changed_at is not None:
            self._changed_at = None
            self._submit(self._writer())
        for file in self._dirty():
            self._submit(file.flush)
        waiting, self._running = self._running, []
        errors = [error for future in waiting if (error := future.exception())]
        if errors:
            self.record_changed()
            raise errors[0]

    def close(self) -> None:
        """Wait for all, and end the thread."""
        self._thread.shutdown()

    def _submit(self, write: Callable[[], None]) -> None:
        self._running.append(self._thread.submit(write))

    def _look(self) -> str:
        """See what has ended; have what failed tried again, and say why, once."""
        done = [future for future in self._running if future.done()]
        self._running = [future for future in self._running if future not in done]
        errors = [error for future in done if (error := future.exception())]
        if errors:
            self.record_changed()
        sentence = str(errors[0]) if errors else ""
        is_news = sentence != self._told
        if done:
            self._told = sentence
        return sentence if is_news else ""
