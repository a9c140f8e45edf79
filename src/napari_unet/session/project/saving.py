"""Saving in the background: due writes, in order, and failed ones."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from napari_unet.session.throttle import Debounce, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.session.project.annotation_file import AnnotationFile

# Seconds from a change of the record to its file.
_RECORD_S = 0.5


class Saving:
    """Writes a project's record and annotations, one after the other, in one thread.

    `writer` returns a function that writes the present record, `dirty` the annotations
    that have something to flush.
    """

    def __init__(
        self,
        writer: Callable[[], Callable[[], None]],
        dirty: Callable[[], list[AnnotationFile]],
    ) -> None:
        self._writer = writer
        self._dirty = dirty
        # One thread: a record never gets ahead of the annotation it names.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-unet-save")
        # Saving waits for no copy of the whole project.
        self._copies = ThreadPoolExecutor(1, thread_name_prefix="napari-unet-copy")
        self._running: list[Future[None]] = []
        # Both count from the first change, so that further work does not delay saving.
        self._record = Debounce(_RECORD_S)
        self._strokes = Throttle(_RECORD_S)
        self._painted = False
        self._last_error = ""

    def record_changed(self) -> None:
        """Have the record written within a second."""
        if not self._record.pending:
            self._record.note()

    def later(self, tidy: Callable[[], None]) -> None:
        """Run a function in the background, with no hurry."""
        self._thread.submit(tidy)

    def copy(self, write: Callable[[], Path]) -> Future[Path]:
        """Run a function that copies the project, after other such copies."""
        return self._copies.submit(write)

    def now(self, write: Callable[[], None]) -> None:
        """Write a record after all pending writes, and wait; OSError if it fails."""
        self._thread.submit(write).result()
        self._record.pending = False

    def tick(self, longest: float) -> str:
        """Begin due writes, and return why one failed, once.

        It is tried again. `longest` are the seconds from a stroke to the disk.
        """
        done = [future for future in self._running if future.done()]
        self._running = [future for future in self._running if future not in done]
        sentence = str(self._failure(done) or "")
        is_news = sentence != self._last_error
        if done:
            self._last_error = sentence
        if not self._running:
            self._begin(longest)
        return sentence if is_news else ""

    def flush(self) -> None:
        """Write all, and wait until it is on the disk; OSError if it cannot be."""
        if self._record.pending:
            self._record.pending = False
            self._submit(self._writer())
        for file in self._dirty():
            self._submit(file.flush)
        waiting, self._running = self._running, []
        if failure := self._failure(waiting):
            raise failure

    def close(self) -> None:
        """Wait for all, and end the threads."""
        self._thread.shutdown()
        self._copies.shutdown()

    def _begin(self, longest: float) -> None:
        if self._record.take():
            self._submit(self._writer())
        dirty = self._dirty()
        if dirty and not self._painted:
            self._painted = True
            self._strokes.restart()
        # The other half of the time is for the disk.
        self._strokes.seconds = longest / 2
        if self._painted and self._strokes.due:
            self._painted = False
            for file in dirty:
                self._submit(file.flush)

    def _submit(self, write: Callable[[], None]) -> None:
        self._running.append(self._thread.submit(write))

    def _failure(self, writes: list[Future[None]]) -> BaseException | None:
        """Wait for some writes; return the first failure, after which all is due again.

        Files that could not be flushed stay dirty.
        """
        failures = [failure for write in writes if (failure := write.exception())]
        if failures:
            self.record_changed()
        return failures[0] if failures else None
