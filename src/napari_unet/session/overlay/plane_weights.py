"""Border weights of whole planes, by the worker: the latest request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import WeightsComputed
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.core.jobs import WeightsJob
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.messages import Failed
    from napari_unet.session.overlay.weighted_plane import WeightedPlane
    from napari_unet.session.worker.client import Handle, Worker

_log = logging.getLogger(__name__)


class PlaneWeights:
    """At most one running job, and one waiting: the latest request.

    What the worker computes is in the folder `scratch`.
    """

    computed = Signal(object, object)
    """The plane and its weights, an array that is valid during the call."""
    idle = Signal()
    """No job is running or waiting."""
    failed = Signal(str)
    """A sentence."""

    def __init__(self, worker: Worker, scratch: Path) -> None:
        self._worker = worker
        self._scratch = scratch
        self._file: ArrayReference | None = None
        self._job: tuple[Handle, WeightedPlane] | None = None
        self._next: (
            tuple[WeightedPlane, AnnotationReference, tuple[int, ...]] | None
        ) = None

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None

    @property
    def waiting(self) -> bool:
        """Whether a job waits that will see all edits made so far."""
        return self._next is not None

    def request(
        self,
        plane: WeightedPlane,
        annotation: AnnotationReference,
        shape: tuple[int, ...],
    ) -> None:
        """Compute a plane of a shape (y, x), once the running job is over.

        Results of the same plane with other settings are still shown: they are where a
        slider was a moment ago. Those of other planes are not.
        """
        if self._job is not None and self._job[1].place != plane.place:
            self._job[0].cancel()
        self._next = (plane, annotation, shape)
        self._begin()

    def cancel(self) -> None:
        """Cancel the jobs; results may still come."""
        self._next = None
        if self._job is not None:
            self._job[0].cancel()

    def close(self) -> None:
        """Stop, and remove the file."""
        self.cancel()
        self._job = None
        self._discard_file()

    def _begin(self) -> None:
        if self._job is not None or self._next is None:
            return
        (plane, annotation, shape), self._next = self._next, None
        try:
            file = self._file_of(shape)
        except OSError as error:
            self.failed.emit(f"No border weights: {error.strerror or error}.")
            return
        job = WeightsJob(
            annotation, plane.t, plane.z, plane.spacing, plane.settings, file
        )
        handle = self._worker.submit(job)
        self._job = (handle, plane)
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_end)
        handle.failed.connect(self._on_failed)

    # What comes after `close` finds no job.

    def _on_event(self, event: object) -> None:
        file = self._file
        if self._job and file is not None and isinstance(event, WeightsComputed):
            self.computed.emit(self._job[1], file.open())

    def _on_end(self, _: object = None) -> None:
        if self._job is not None:
            self._job = None
            self._begin()
            if self._job is None:
                self.idle.emit()

    def _on_failed(self, failure: Failed) -> None:
        if self._job is not None:
            _log.warning("border weights: %s", failure.traceback)
            if failure.error == WORKER_ENDED:
                # Not at once, as it might end again; the next edit requests it again.
                self._next = None
            self.failed.emit(f"No border weights: {failure.sentence}")
            self._on_end()

    def _file_of(self, shape: tuple[int, ...]) -> ArrayReference:
        """Return a file for the result, the last one if it fits."""
        if self._file is None or self._file.shape != shape:
            self._discard_file()
            self._file = ArrayReference.create_in(
                self._scratch, "weights", shape, "float32"
            )
        return self._file

    def _discard_file(self) -> None:
        if self._file is not None:
            self._file.remove()
            self._file = None
